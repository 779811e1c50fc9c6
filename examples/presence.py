"""Presence: who is in a room, and who comes and goes."""

from __future__ import annotations

from typing import Any

from realtime.presence import users_on
from realtime.routes import allow, authenticated, on_subscribe, topic


def who_is_here(session: Any, room: str) -> list[str]:
    return users_on(f"/topic/examples/rooms/{room}")


routes = [
    # Whoever hears a room is in it; who comes and goes is told on its `/$presence`.
    topic("/topic/examples/rooms/*", presence=True),
    allow("/topic/examples/rooms/*", subscribe=authenticated),
    # Who was there before: answered once to each SUBSCRIBE.
    on_subscribe("/app/examples/rooms/<slug:room>", who_is_here),
    allow("/app/examples/rooms/*", subscribe=authenticated),
]
