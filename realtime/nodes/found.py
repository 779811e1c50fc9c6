"""Found: what all nodes answer, as one; for the admin, the API and commands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from realtime.presence import users_on
from realtime.routes.table import topic_options

from .answers import ORDERS
from .inquiry import PATIENCE_SECONDS, ask

Row = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """
    What was found on all nodes.

    Args:
        count: How many there are.
        rows: The first of them.
        missing: Nodes that did not answer; what they have is not counted.
        nodes: How many answered.
    """

    count: int
    rows: list[Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    nodes: int = 0


def find_sessions(*, order: str = "newest", limit: int = 100, **wanted: Any) -> Found:
    """
    Return sessions of all nodes, each row with its ``node``; see :func:`.answers.sessions`.

    Raises:
        redis.RedisError: If Redis is away.
    """
    answers = ask("sessions", order=order, limit=limit, **wanted)
    column = ORDERS[order].column
    rows = sorted(answers.rows("sessions"), key=lambda row: row[column], reverse=True)
    count = answers.total("count")
    return Found(count, rows[:limit], answers.missing, len(answers.by_node))


def find_session(id: str) -> Row | None:
    """
    Return all there is to say of one session, wherever it is, or None.

    Raises:
        redis.RedisError: If Redis is away.
    """
    rows = ask("session", id=id).rows("sessions")
    return rows[0] if rows else None


def find_topics(*, text: str = "", order: str = "subscribers", limit: int = 100) -> Found:
    """
    Return topics that are heard anywhere: ``subscribers`` of all nodes, ``nodes`` that hear it, and
    ``messages``, ``per_second`` and ``position`` of the node that heard the most.

    Raises:
        redis.RedisError: If Redis is away.
    """
    answers = ask("topics", text=text, order=order, limit=limit)
    by_topic: dict[str, Row] = {}
    for row in answers.rows("topics"):
        known = by_topic.setdefault(row["topic"], {**row, "subscribers": 0, "nodes": 0})
        if row["messages"] > known["messages"]:
            known.update(messages=row["messages"], position=row["position"])
        known["per_second"] = max(known["per_second"], row["per_second"])
        known["subscribers"] += row["subscribers"]
        known["nodes"] += 1
        known.pop("node", None)
    rows = sorted(by_topic.values(), key=lambda row: row[order], reverse=True)
    return Found(len(rows), rows[:limit], answers.missing, len(answers.by_node))


def find_presence(topic: str) -> Row:
    """
    Return who hears a topic, over all nodes::

        count       sessions
        anonymous   of them, those without a user
        users       user, sessions, since (Unix seconds), by name; where the routing table gives the
                    topic presence, also who has left a moment ago, with 0 sessions
        missing     nodes that did not answer

    Raises:
        redis.RedisError: If Redis is away.
    """
    answers = ask("presence", topic=topic)
    users: dict[str, Row] = {}
    for row in answers.rows("users"):
        known = users.setdefault(row["user"], {"user": row["user"], "sessions": 0, "since": None})
        known["sessions"] += row["sessions"]
        known["since"] = _earliest(known["since"], row["since"])
    if topic_options(topic).presence:
        for user in users_on(topic):
            users.setdefault(user, {"user": user, "sessions": 0, "since": None})
    return {
        "topic": topic,
        "count": answers.total("count"),
        "anonymous": answers.total("anonymous"),
        "users": [users[name] for name in sorted(users)],
        "missing": answers.missing,
    }


def find_delivery(topic: str, message_id: str, seconds: float) -> Row:
    """
    Return what became of a message that was published just now, over all nodes: how many sessions
    ``matched``, have ``taken`` it, and were too ``slow``, in so many seconds; and nodes that are
    ``missing``.

    Raises:
        redis.RedisError: If Redis is away.
    """
    patience = seconds + PATIENCE_SECONDS
    answers = ask("delivery", topic=topic, position=message_id, wait=seconds, seconds=patience)
    sums = {name: answers.total(name) for name in ("matched", "taken", "slow")}
    return {**sums, "missing": answers.missing}


def act(what: str, ids: Iterable[str], **arguments: Any) -> Found:
    """
    Let nodes do something with sessions: ``disconnect``, ``unsubscribe`` or ``message``, see
    :mod:`.answers`. The rows are the sessions with which it was done: each has an ``id``.

    Raises:
        redis.RedisError: If Redis is away.
    """
    answers = ask(what, ids=list(ids), **arguments)
    done = sorted(id for answer in answers.by_node.values() for id in answer["done"])
    return Found(len(done), [{"id": id} for id in done], answers.missing, len(answers.by_node))


def _earliest(known: float | None, since: float) -> float:
    return since if known is None else min(known, since)
