"""Topics of the routing table: what of them is kept, and what becomes of slow clients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from realtime.destinations.patterns import pattern_of

from .table import load_routes

#: What becomes of live subscribers when messages are lost for good.
OnGap = Literal["tell", "close"]


@dataclass(frozen=True)
class History:
    """
    An entry of the routing table: how much of some destinations is kept.

    Args:
        pattern: A destination, or a pattern of them.
        size: How many messages are kept; 0 for none.
        ttl: For how many seconds.
        on_gap: What becomes of subscribers when messages for them are lost for good: they are
            told with a MESSAGE, or closed with a code that says "reconnect".
    """

    pattern: str
    size: int = 100
    ttl: int = 300
    on_gap: OnGap = "tell"


_DEFAULT: Final = History("/topic/**")


@lru_cache(maxsize=65536)
def history_of(destination: str) -> History | None:
    """Return how much of a destination is kept, or None; the first entry that covers it counts."""
    routes = (route for route in load_routes() if isinstance(route, History))
    for route in (*routes, _DEFAULT):
        if pattern_of(route.pattern).covers(destination):
            return route if route.size > 0 else None
    return None


POLICIES: Final = ("close", "latest", "drop-oldest")


@dataclass(frozen=True)
class SlowClientRoute:
    """An entry of the routing table: the policy of the topics that a pattern stands for."""

    pattern: str
    policy: str


def on_slow_client(pattern: str, policy: str) -> SlowClientRoute:
    """
    Say what becomes of messages of a topic, or of a pattern of topics, for slow clients.

    The first entry that covers what a client subscribed to counts. It is for ack mode ``auto``:
    in the others what is not acknowledged in time closes the session.
    """
    if policy not in POLICIES:
        raise ValueError(f"the policy {policy!r} is none of {', '.join(POLICIES)}")
    pattern_of(pattern)
    return SlowClientRoute(pattern, policy)


def policy_of(destination: str) -> str:
    """Return the policy of what a client subscribed to: a destination or a pattern."""
    for route in load_routes():
        if isinstance(route, SlowClientRoute) and pattern_of(route.pattern).covers(destination):
            return route.policy
    return "close"
