"""
Messages: what is published, and how it travels.

``message``      Message: a body and headers for a destination; ``check`` makes it fit to publish
``body``         what its bytes say: text, JSON, data that a serializer takes
``envelope``     the same between nodes: envelopes, and bundles of them
``json``         the same for people and services
``headers``      which of them a client or a service may choose
``idempotency``  keys by which a message that is sent again is published once

A message is checked once, where what is wrong with it can be told to whom it belongs; what
publishes takes the result, :class:`.Checked`, so that nobody can forget it.

May import ``destinations``, ``conf`` and ``stomp``.
"""

from .body import BadBody
from .message import Checked, Message, MessageTooLarge, check

__all__ = ["BadBody", "Checked", "Message", "MessageTooLarge", "check"]
