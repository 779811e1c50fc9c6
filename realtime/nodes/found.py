"""Found: what all nodes answer, as one; for the admin, the API and commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from realtime.history.positions import Position
from realtime.presence import users_on
from realtime.routes.table import topic_options

from .answers import ORDERS
from .inquiry import ask

Row = dict[str, Any]

#: Seconds that nodes have to answer, once they have waited as long as they were asked to.
ANSWER_SECONDS: Final = 0.5


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
    Return topics that are heard anywhere: ``subscribers`` of all nodes, ``nodes`` that hear it,
    ``messages`` and ``per_second`` of the node that heard the most, and the ``position`` that is
    furthest: the others are on their way there.

    Raises:
        redis.RedisError: If Redis is away.
    """
    answers = ask("topics", text=text, order=order, limit=limit)
    by_topic: dict[str, Row] = {}
    for row in answers.rows("topics"):
        known = by_topic.setdefault(row["topic"], {**row, "subscribers": 0, "nodes": 0})
        known["messages"] = max(known["messages"], row["messages"])
        known["per_second"] = max(known["per_second"], row["per_second"])
        known["position"] = _furthest(known["position"], row["position"])
        known["subscribers"] += row["subscribers"]
        known["nodes"] += 1
        known.pop("node", None)
    rows = sorted(by_topic.values(), key=lambda row: (-row[order], row["topic"]))
    count = max([len(rows), *(answer["count"] for answer in answers.by_node.values())])
    return Found(count, rows[:limit], answers.missing, len(answers.by_node))


@dataclass(frozen=True)
class Audience:
    """
    Who hears a topic, over all nodes.

    Args:
        count: Sessions that hear it, also by patterns.
        anonymous: Of them, those without a user.
        users: ``user``, ``sessions``, ``since`` (Unix seconds) of each, by name; where the routing
            table gives the topic presence, also who has left a moment ago, with 0 sessions.
        nodes: How many sessions each node has of them, by its id.
        missing: Nodes that did not answer.
    """

    topic: str
    count: int = 0
    anonymous: int = 0
    users: list[Row] = field(default_factory=list)
    nodes: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def find_presence(topic: str) -> Audience:
    """
    Return who hears a topic.

    Raises:
        redis.RedisError: If Redis is away.
    """
    answers = ask("presence", topic=topic)
    users: dict[str, Row] = {}
    for row in answers.rows("users"):
        known = users.setdefault(row["user"], _absent(row["user"]))
        known["sessions"] += row["sessions"]
        known["since"] = min(known["since"] or row["since"], row["since"])
    if topic_options(topic).presence:
        for user in users_on(topic):
            users.setdefault(user, _absent(user))
    return Audience(
        topic,
        answers.total("count"),
        answers.total("anonymous"),
        [users[name] for name in sorted(users)],
        {node: answer["count"] for node, answer in answers.by_node.items()},
        answers.missing,
    )


def find_delivery(topic: str, message_id: str, seconds: float) -> Row:
    """
    Return what became of a message that was published just now, over all nodes: how many sessions
    ``matched``, have ``taken`` it, and were too ``slow``, in so many seconds; and nodes that are
    ``missing``.

    Raises:
        redis.RedisError: If Redis is away.
    """
    patience = seconds + ANSWER_SECONDS
    answers = ask("delivery", topic=topic, position=message_id, wait=seconds, seconds=patience)
    sums = {name: answers.total(name) for name in ("matched", "taken", "slow")}
    return {**sums, "missing": answers.missing}


def _absent(user: str) -> Row:
    return {"user": user, "sessions": 0, "since": None}


def _furthest(*texts: str | None) -> str | None:
    """Return the position with the greatest offset."""
    positions = [each for text in texts if text and (each := Position.parse(text)) is not None]
    return str(max(positions, key=lambda each: each.offset)) if positions else None
