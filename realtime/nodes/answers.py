"""
Answers: what a node says when it is asked, and what it does when it is told to.

Each question of :data:`ANSWERS` is a coroutine function of the node and what was asked with it; the
answer is a dict that JSON can say. Those that look at all sessions let others have their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from realtime.delivery.ack_window import AckWindow
from realtime.delivery.outbox import this_flusher
from realtime.destinations.names import is_pattern
from realtime.destinations.patterns import pattern_of
from realtime.history.positions import Position
from realtime.hub.subscription import Subscription
from realtime.messages.message import Message
from realtime.sessions.node import Member, Node
from realtime.stomp import AccessDenied, Disconnected, Dismissed

from .rates import rates_of

#: After so many sessions the event loop has its turn.
SESSIONS_PER_TURN: Final = 500

#: So many rows a node returns at most.
MAX_ROWS: Final = 1000

#: Seconds between two looks whether clients have taken something.
_POLL_SECONDS: Final = 0.01

#: So many of a session's destinations are in its row.
MAX_DESTINATIONS: Final = 20


class Order(NamedTuple):
    """By which column of a row sessions are ordered, and what is in it."""

    column: str
    key: Callable[[Member], float]


#: By what sessions are ordered: the newest first, or those with the most of something.
ORDERS: Final = {
    "newest": Order("connected_at", lambda member: member.session.connected_at),
    "waiting": Order("waiting_bytes", lambda member: _unsent(member)),
    "sent": Order("messages_out", lambda member: member.session.messages_out),
    "received": Order("messages_in", lambda member: member.session.messages_in),
}


async def sessions(
    node: Node, *, order: str = "newest", limit: int = 100, **wanted: Any
) -> dict[str, Any]:
    """
    Return how many sessions are as wanted, and the first of them.

    Args:
        order: One of :data:`ORDERS`.
        limit: How many rows.
        wanted: As :func:`_is_wanted` takes it.
    """
    await rates_of(node).look(node.members)
    found = [each async for each in _members(node) if _is_wanted(each, node, **wanted)]
    found.sort(key=ORDERS[order].key, reverse=True)
    return {"count": len(found), "sessions": [_row(each, node) for each in found[: _most(limit)]]}


async def session(node: Node, *, id: str) -> dict[str, Any]:
    """Return all there is to say of a session: a list of one row, or of none if it is not here."""
    await rates_of(node).look(node.members)
    return {"sessions": [_details(each, node) async for each in _members(node, [id])]}


async def topics(
    node: Node, *, text: str = "", order: str = "subscribers", limit: int = 100
) -> dict[str, Any]:
    """
    Return the topics, patterns and users' destinations that are heard here.

    Args:
        text: A part of their names.
        order: ``subscribers`` or ``per_second``, the most first.
    """
    found = [each for each in node.hub.heard() if text in each["topic"]]
    found.sort(key=itemgetter(order), reverse=True)
    return {"count": len(found), "topics": found[: _most(limit)]}


async def presence(node: Node, *, topic: str, limit: int = MAX_ROWS) -> dict[str, Any]:
    """Return who hears a topic here, also by patterns: users with their sessions, and how many."""
    names = {each for each in node.hub.destinations if _hears(each, topic)}
    users: dict[str, dict[str, Any]] = {}
    anonymous = count = 0
    async for member in _members(node):
        if names.isdisjoint(member.session.destinations):
            continue
        count += 1
        if not (name := member.session.user_name):
            anonymous += 1
        elif name in users or len(users) < _most(limit):
            since = member.session.connected_at
            known = users.setdefault(name, {"user": name, "sessions": 0, "since": since})
            known["sessions"] += 1
            known["since"] = min(known["since"], since)
    return {"count": count, "anonymous": anonymous, "users": list(users.values())}


async def delivery(
    node: Node, *, topic: str, position: str = "", wait: float = 1.0
) -> dict[str, Any]:
    """
    Return to how many sessions a message went that was published just now: ``matched`` hear its
    topic, also by patterns, ``taken`` of them have it on their sockets, ``slow`` ones have not.

    Whoever asks after publishing is heard here after the message: both came through one Redis. With
    several, the position tells.

    Args:
        position: The message's id, which is its position where its topic has a history.
        wait: How many seconds the message, and clients that take it, are waited for.
    """
    until = node.loop.time() + wait
    while not _is_delivered(node, topic, position) and node.loop.time() < until:
        await asyncio.sleep(_POLL_SECONDS)
    names = {each for each in node.hub.destinations if _hears(each, topic)}
    outboxes = [
        outbox
        async for member in _members(node)
        if (outbox := member.session.outbox) is not None
        and not names.isdisjoint(member.session.destinations)
    ]
    await this_flusher().flushed()
    while any(outbox.blocked for outbox in outboxes) and node.loop.time() < until:
        await asyncio.sleep(_POLL_SECONDS)
    slow = sum(outbox.blocked for outbox in outboxes)
    return {"matched": len(outboxes), "taken": len(outboxes) - slow, "slow": slow}


async def disconnect(
    node: Node, *, ids: Sequence[str], reason: str, reconnect: bool = False
) -> dict[str, Any]:
    """End sessions with a reason, and let them come again, or ask them to stay away."""
    done = []
    async for member in _members(node, ids):
        if reconnect:
            member.fail(Disconnected(reason, code="disconnected"))
        else:
            member.fail(Dismissed(reason, code="dismissed"))
        done.append(member.session.id)
    return {"done": done}


async def unsubscribe(node: Node, *, ids: Sequence[str], topic: str, reason: str) -> dict[str, Any]:
    """End what sessions hear of a destination, with a reason."""
    done = []
    async for member in _members(node, ids):
        for key, _ in _subscriptions_to(member, topic):
            member.unsubscribe(key, AccessDenied(reason, code="unsubscribed"))
            done.append(member.session.id)
    return {"done": sorted(set(done))}


async def message(
    node: Node, *, ids: Sequence[str], topic: str, text: str, headers: Mapping[str, str]
) -> dict[str, Any]:
    """Send a text to sessions alone, on what they hear of a destination."""
    done = []
    async for member in _members(node, ids):
        for key, _ in _subscriptions_to(member, topic):
            member.tell(key, Message.of(topic, text, headers))
            done.append(member.session.id)
    return {"done": sorted(set(done))}


Answer = Callable[..., Coroutine[Any, Any, dict[str, Any]]]

#: The questions that a node answers, by their names.
ANSWERS: Final[dict[str, Answer]] = {
    answer.__name__: answer
    for answer in (
        sessions,
        session,
        topics,
        presence,
        delivery,
        disconnect,
        unsubscribe,
        message,
    )  # fmt: skip
}


async def _members(node: Node, ids: Sequence[str] | None = None) -> AsyncIterator[Member]:
    """Return the sessions that live here, or those with these ids, with turns for others."""
    wanted = None if ids is None else frozenset(ids)
    for number, member in enumerate(node.members, start=1):
        if wanted is None or member.session.id in wanted:
            yield member
        if number % SESSIONS_PER_TURN == 0:
            await asyncio.sleep(0)


def _is_wanted(
    member: Member,
    node: Node,
    *,
    text: str = "",
    user: str | None = None,
    address: str | None = None,
    topic: str | None = None,
    version: str | None = None,
    slow: bool | None = None,
    ids: Sequence[str] | None = None,
) -> bool:
    """
    Return whether a session is as wanted.

    Args:
        text: A part of its id, user, address, user agent, or of a destination that it hears.
        user, address, topic, version: What it has to be, or to hear, exactly.
        slow: Whether it reads more slowly than messages come for it.
        ids: It has to be one of these.
    """
    session = member.session
    return (
        (user is None or session.user_name == user)
        and (address is None or session.address == address)
        and (version is None or session.version == version)
        and (ids is None or session.id in ids)
        and (topic is None or topic in session.destinations)
        and (slow is None or _is_slow(member, node) == slow)
        and (not text or any(text.lower() in each.lower() for each in _texts(member)))
    )


def _texts(member: Member) -> Sequence[str]:
    session = member.session
    return (
        session.id, session.user_name, session.address, session.user_agent, *session.destinations,
    )  # fmt: skip


def _row(member: Member, node: Node) -> dict[str, Any]:
    """Return what is shown of a session in a list; times are Unix seconds."""
    session = member.session
    rate = rates_of(node).of(session)
    return {
        "id": session.id,
        "user": session.user_name,
        "address": session.address,
        "user_agent": session.user_agent,
        "version": session.version,
        "connected_at": session.connected_at,
        "heard_at": session.heard_at,
        "subscriptions": session.subscriptions,
        "topics": sorted(session.destinations)[:MAX_DESTINATIONS],
        "messages_in": session.messages_in,
        "messages_out": session.messages_out,
        "in_per_second": rate.messages_in,
        "out_per_second": rate.messages_out,
        "waiting_bytes": _unsent(member),
        "slow": _is_slow(member, node),
    }


def _details(member: Member, node: Node) -> dict[str, Any]:
    session = member.session
    heard = session.heard.items()
    return {
        **_row(member, node),
        "login": session.login.how if session.login is not None else None,
        "heard": [_heard(node, key, subscription) for key, subscription in heard],
    }


def _heard(node: Node, key: str, subscription: Subscription) -> dict[str, Any]:
    """Return what is shown of a subscription; its position is that of the node."""
    queue = subscription.queue
    return {
        "id": key,
        "topic": subscription.destination,
        "position": node.hub.position(subscription.destination),
        "kind": type(queue).__name__,
        "waiting": queue.waiting,
        "unacknowledged": queue.unacknowledged if isinstance(queue, AckWindow) else 0,
    }


def _subscriptions_to(member: Member, topic: str) -> list[tuple[str, Subscription]]:
    return [each for each in member.session.heard.items() if each[1].destination == topic]


def _hears(heard: str, topic: str) -> bool:
    return heard == topic or (is_pattern(heard) and pattern_of(heard).matches(topic))


def _is_delivered(node: Node, topic: str, position: str) -> bool:
    """Return whether what stands at a position is delivered here, if the topic is heard."""
    here, wanted = (Position.parse(each or "") for each in (node.hub.position(topic), position))
    if here is None or wanted is None:
        return True
    return here.epoch != wanted.epoch or here.offset >= wanted.offset


def _unsent(member: Member) -> int:
    outbox = member.session.outbox
    return outbox.unsent_bytes if outbox is not None else 0


def _is_slow(member: Member, node: Node) -> bool:
    outbox = member.session.outbox
    return outbox is not None and outbox.is_slow(node.loop.time())


def _most(limit: int) -> int:
    return max(0, min(limit, MAX_ROWS))
