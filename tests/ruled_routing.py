"""A routing table with a rule of each kind, for the tests of who may do what."""

from __future__ import annotations

from typing import Any

from realtime.messages.message import Message
from realtime.routes import (
    allow,
    anyone,
    authenticated,
    group,
    on_send,
    on_subscribe,
    owner,
    permission,
    service,
    staff,
)
from realtime.routes.rules import requirement
from realtime.sessions.session import Session


def is_charlie(who: Any, destination: str, variables: Any) -> bool:
    return who.user is not None and who.user.get_username() == "charlie"


async def will_be_charlie(who: Any, destination: str, variables: Any) -> bool:
    return is_charlie(who, destination, variables)


#: The kinds of rules.
KINDS: dict[str, Any] = {
    "anyone": anyone,
    "authenticated": authenticated,
    "staff": staff,
    "group": group("team"),
    "permission": permission("auth.view_user"),
    "owner": owner,
    "service": service,
    "function": is_charlie,
    "coroutine": will_be_charlie,
    "group-or-owner": group("team") | owner,
    "group-or-coroutine": group("team") | will_be_charlie,
    "at-once-or-function": staff | requirement(is_charlie),
    "none": None,
}


async def take(message: Message, session: Session, **variables: str) -> str:
    return "taken"


async def answer(session: Session, **variables: str) -> str:
    return "answered"


def of_kind(kind: str, asked: Any) -> list[Any]:
    return [
        allow(f"/topic/{kind}/{{username}}/**", subscribe=asked, send=asked, publish=asked),
        allow(f"/app/{kind}/{{username}}", subscribe=asked, send=asked),
        on_send(f"/app/{kind}/{{username}}", take),
        on_subscribe(f"/app/{kind}/{{username}}", answer),
    ]


routes = [
    allow("/topic/secret/**"),
    allow("/topic/half/open", subscribe=anyone, send=anyone),
    allow("/topic/half/secret"),
    allow("/topic/half/staff", subscribe=staff),
    allow("/topic/half/**", subscribe=anyone),
    allow("/topic/signed/**", publish=service),
    allow("/topic/past/**", subscribe=anyone, history=staff),
    allow("/topic/said/**", subscribe=anyone, send=anyone, sender=True),
    allow("/user/admin/queue/**"),
    allow("/user/{username}/queue/**", send=anyone, publish=service),
    allow("/temp-queue/**", send=anyone),
    *[route for kind, asked in KINDS.items() for route in of_kind(kind, asked)],
]
