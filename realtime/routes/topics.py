"""
Topics of the routing table: how much of them is kept, and what becomes of their slow clients.

By default a topic keeps what ``STOMP_HISTORY_MESSAGES`` and ``STOMP_HISTORY_SECONDS`` say, and a
client that reads slower than messages come is closed with a code that says "reconnect".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import EllipsisType
from typing import Literal, get_args

from realtime.conf import conf
from realtime.destinations.patterns import pattern_of

#: What becomes of live subscribers when messages are lost for good.
OnGap = Literal["tell", "close"]

#: What becomes of messages for a client that reads slower than they come: its session is closed;
#: only the newest message of each destination is kept; or as many as fit in its send budget.
SlowClients = Literal["close", "latest", "drop-oldest"]


@dataclass(frozen=True)
class History:
    """
    An entry of the routing table: how much of some destinations is kept.

    Args:
        pattern: A destination, or a pattern of them.
        size: How many messages are kept; 0 for none. By default ``STOMP_HISTORY_MESSAGES``.
        ttl: For how many seconds. By default ``STOMP_HISTORY_SECONDS``.
        on_gap: What becomes of subscribers when messages for them are lost for good: they are
            told with a MESSAGE, or closed with a code that says "reconnect".

    Raises:
        DestinationError: If the pattern is not one.
        ValueError: If anything else is wrong.
    """

    pattern: str
    size: int = field(default_factory=lambda: conf.STOMP_HISTORY_MESSAGES)
    ttl: int = field(default_factory=lambda: conf.STOMP_HISTORY_SECONDS)
    on_gap: OnGap = "tell"

    def __post_init__(self) -> None:
        pattern_of(self.pattern)
        _check_one_of("on_gap", self.on_gap, OnGap)
        if self.size < 0 or self.ttl <= 0:
            raise ValueError(f"the history of {self.pattern} needs a size from 0 and a ttl from 1")


@dataclass(frozen=True)
class TopicRoute:
    """An entry of the routing table: the options of topics; None where it leaves one to others."""

    pattern: str
    history: History | None = None
    slow_clients: SlowClients | None = None
    presence: bool | None = None

    def __post_init__(self) -> None:
        pattern_of(self.pattern)
        if self.slow_clients is not None:
            _check_one_of("slow_clients", self.slow_clients, SlowClients)


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """What the routing table says of one destination, or of a pattern; no history is None."""

    history: History | None
    slow_clients: SlowClients
    presence: bool = False


def topic(
    pattern: str,
    *,
    history: int | EllipsisType | None = ...,
    ttl: int | EllipsisType = ...,
    on_gap: OnGap = "tell",
    slow_clients: SlowClients = "close",
    presence: bool = False,
) -> TopicRoute:
    """
    Say all that can be said of a topic, or of a pattern of topics.

    Args:
        history: How many messages are kept; None for none, left out for the default.
        ttl, on_gap: As in :class:`History`.
        slow_clients: As in :func:`on_slow_client`.
        presence: Whether it is said on ``TOPIC/$presence`` which users join and leave.

    Raises:
        ValueError: If any of it is wrong.
    """
    size = conf.STOMP_HISTORY_MESSAGES if history is ... else history or 0
    seconds = conf.STOMP_HISTORY_SECONDS if ttl is ... else ttl
    return TopicRoute(pattern, History(pattern, size, seconds, on_gap), slow_clients, presence)


def on_slow_client(pattern: str, policy: SlowClients) -> TopicRoute:
    """
    Say what becomes of messages of a topic, or of a pattern of topics, for slow clients.

    ``latest`` keeps only the newest message of each destination, ``drop-oldest`` as many as fit in
    the session's send budget; the next MESSAGE says in its header ``dropped`` how many are missing
    before it. It is for ack mode ``auto``: in the others what is not acknowledged in time closes
    the session.

    Raises:
        ValueError: If any of it is wrong.
    """
    return TopicRoute(pattern, slow_clients=policy)


def _check_one_of(name: str, value: str, choices: object) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} is {value!r}: it has to be one of {', '.join(get_args(choices))}")
