"""Chat: rooms in which everybody sees who said what, and what was said before they came."""

from __future__ import annotations

from realtime.routes import allow, authenticated, topic

routes = [
    topic("/topic/examples/chat/*", history=50, ttl=24 * 3600),
    # Browsers SEND to the room itself; the header `sender`, which none of them writes, says who.
    allow("/topic/examples/chat/*", subscribe=authenticated, send=authenticated, sender=True),
]
