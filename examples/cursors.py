"""Cursors: where everybody points at; each sends to a topic of their own, and hears all of them."""

from __future__ import annotations

from realtime.routes import allow, authenticated, owner, topic

routes = [
    # Only where somebody points now is of use: nothing is kept, and slow pages leave out the rest.
    topic("/topic/examples/cursors/*", history=None, slow_clients="latest"),
    allow("/topic/examples/cursors/{username}", subscribe=authenticated, send=owner),
]
