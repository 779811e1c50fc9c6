"""
Admin: the pages on which operators see sessions, topics and nodes, and act on them.

::

    the database ── which sessions there are, to search ──┐
                                                          ├──> a page
    ask(...) ── what only nodes know of those it shows ───┘

A page asks the nodes once, for what it shows. Where they can't be asked, as while Redis is away, it
says so and shows the rest.

``sessions``  the list of sessions, to search and to filter, and the page of one
``listing``   how that list is made of both
``acts``      what is done to sessions: how it is asked for, done, told, and written to the log
``topics``    what is heard, by whom; the history of a topic, to look at and to publish again
``nodes``     the processes
``live``      what these pages share: they ask nodes, and change nothing in the database
``shown``     sessions and times as these pages show them

May import ``nodes`` and all below. Templates are in ``templates/admin/realtime/``.
"""

from .nodes import NodeAdmin
from .sessions import SessionAdmin
from .topics import TopicAdmin

__all__ = ["NodeAdmin", "SessionAdmin", "TopicAdmin"]
