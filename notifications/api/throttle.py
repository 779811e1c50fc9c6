"""Throttle: how many requests a minute a user may make, counted over all processes."""

from __future__ import annotations

import logging
import threading
import time
from hashlib import sha256
from typing import Any, Final

from channels.layers import get_channel_layer
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from realtime.access.addresses import neighbourhood
from realtime.access.limits import refusals
from realtime.conf import conf
from realtime.layer.layer import TopicLayer
from realtime.redis import REDIS_ERRORS, execute_all

from .access import address_of

logger = logging.getLogger(__name__)

MINUTE: Final = 60

#: A process tells Redis of its requests when they are one in so many of the limit.
SHARE: Final = 100

#: Seconds for which Redis is not asked again after it was away.
AWAY_SECONDS: Final = 5.0

#: So many accounts are counted at most.
MAX_ACCOUNTS: Final = 10_000


class RequestCounts:
    """
    The requests of this minute, of each account.

    Each process counts by itself, and now and then adds what it has counted to a number in Redis,
    which tells it of the others: a request hardly ever costs a round trip, and a limit is passed by
    one part in :data:`SHARE` for each process at most. While Redis is away each counts for itself.
    """

    def __init__(self) -> None:
        self._minute = 0
        #: By account: how many are known, and how many of them Redis does not know of.
        self._counts: dict[str, tuple[int, int]] = {}
        self._ask_from = 0.0
        self._lock = threading.Lock()

    def take(self, account: str, most: int) -> float:
        """Count a request; return 0.0, or in how many seconds there may be one, if not now."""
        now = time.time()
        with self._lock:
            self._begin(int(now // MINUTE))
            known, untold = self._counts.get(account, (0, 0))
            if known >= most:
                return MINUTE - now % MINUTE
            known, untold = known + 1, untold + 1
            tell = self._is_due(untold, most)
            self._counts[account] = known, 0 if tell else untold
            minute = self._minute
        if tell and (total := self._tell(account, minute, untold)) is not None:
            with self._lock:
                if minute == self._minute:
                    known, later = self._counts.get(account, (0, 0))
                    self._counts[account] = max(known, total + later), later
            if total > most:
                return MINUTE - now % MINUTE
        return 0.0

    def take_at_once(self, account: str, most: int) -> bool:
        """Count a request as :meth:`take` does, unless that refuses it or has to ask Redis."""
        with self._lock:
            self._begin(int(time.time() // MINUTE))
            known, untold = self._counts.get(account, (0, 0))
            if known >= most or self._is_due(untold + 1, most):
                return False
            self._counts[account] = known + 1, untold + 1
        return True

    def _is_due(self, untold: int, most: int) -> bool:
        return untold * SHARE >= most and time.monotonic() >= self._ask_from

    def _begin(self, minute: int) -> None:
        if minute != self._minute or len(self._counts) >= MAX_ACCOUNTS:
            self._minute = minute
            self._counts.clear()

    def _tell(self, account: str, minute: int, count: int) -> int | None:
        """Add to the number in Redis; return it, or None if Redis is away."""
        layer = get_channel_layer()
        if not isinstance(layer, TopicLayer):
            return None
        name = sha256(account.encode()).hexdigest()[:32]
        key = f"{layer.prefix}:requests:{name}:{minute}"
        client = layer.client(layer.shard_of(key))
        try:
            total, _ = execute_all(client, [("INCRBY", key, count), ("EXPIRE", key, 2 * MINUTE)])
        except REDIS_ERRORS as error:
            logger.debug("Redis does not count requests: %s", error)
            self._ask_from = time.monotonic() + AWAY_SECONDS
            return None
        return int(total)


#: Those of this process.
counts: Final = RequestCounts()


class RequestThrottle(BaseThrottle):
    """``STOMP_API_REQUESTS_PER_MINUTE``: over it 429, and in ``Retry-After`` when to come again."""

    _seconds = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        most = conf.STOMP_API_REQUESTS_PER_MINUTE
        if most <= 0:
            return True
        self._seconds = counts.take(account_of(request), most)
        if self._seconds:
            text = f"more than {most} requests a minute"
            refusals.note("too-many-requests", (address_of(request),), text)
        return not self._seconds

    def wait(self) -> float:
        return self._seconds


def account_of(request: Request) -> str:
    """Return who pays for what a request uses: its user, or its address."""
    return request.user.get_username() or neighbourhood(address_of(request))
