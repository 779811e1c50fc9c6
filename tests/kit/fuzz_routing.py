"""A routing table that allows a client who is not logged in one topic, and answers it."""

from __future__ import annotations

from realtime.messages.message import Message
from realtime.routes import allow, anyone, on_send, on_subscribe, staff
from realtime.sessions.session import Session


async def take(message: Message, session: Session) -> str:
    return "taken"


async def answer(session: Session) -> str:
    return "answered"


routes = [
    allow("/topic/a", subscribe=anyone, send=anyone, sender=True),
    allow("/topic/b", subscribe=anyone, history=staff),
    allow("/app/a", subscribe=anyone, send=anyone),
    on_send("/app/a", take),
    on_subscribe("/app/a", answer),
]
