"""Bounds: what a client may have, all of one address, and all of a process together."""

from __future__ import annotations

from collections import Counter
from typing import Final

from realtime.access.addresses import is_trusted_proxy, neighbourhood
from realtime.conf import conf

#: A frame counts only as far as there are more than one for so many bytes: it is the many and
#: small ones that cost more than what they carry.
BYTES_PER_FRAME: Final = 32

#: Seconds for which a client that sends too many is only read more slowly.
PATIENCE_SECONDS: Final = 5.0


class Counted:
    """A connection or a request, which counts against bounds."""

    counted_as: str | None = None  # in Connections
    counted_bytes = 0  # in Bodies


class Connections:
    """How many connections each address has; see ``STOMP_CONNECTIONS_PER_ADDRESS``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def enter(self, connection: Counted, address: str) -> bool:
        """Count a connection, unless it is one too many; return whether it is not."""
        key = neighbourhood(address)
        most = conf.STOMP_CONNECTIONS_PER_ADDRESS
        if 0 < most <= self._counts[key] and not is_trusted_proxy(address):
            return False
        self._counts[key] += 1
        connection.counted_as = key
        return True

    def leave(self, connection: Counted) -> None:
        """Count a connection no more, if it was."""
        key, connection.counted_as = connection.counted_as, None
        if key is not None:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]


class Bodies:
    """How many bytes the bodies of all requests under way have: ``STOMP_MAX_REQUESTS_BYTES``."""

    def __init__(self) -> None:
        self.size = 0

    def fits(self, size: int) -> bool:
        """Return whether so many bytes more are within the bound."""
        most = conf.STOMP_MAX_REQUESTS_BYTES
        return most <= 0 or self.size + size <= most

    def add(self, request: Counted, size: int) -> None:
        """Count what has come of a body."""
        request.counted_bytes += size
        self.size += size

    def give_back(self, request: Counted) -> None:
        """Count a body no more."""
        self.size -= request.counted_bytes
        request.counted_bytes = 0


class Budget:
    """
    How many small WebSocket frames a client may send.

    A bucket of ``STOMP_FRAMES_BURST`` frames, into which ``STOMP_FRAMES_PER_SECOND`` flow.

    It is kept as the time at which it will be full again.
    """

    __slots__ = ("_full_at", "_strained_at")

    def __init__(self) -> None:
        self._full_at = 0.0
        self._strained_at: float | None = None

    def spend(self, frames: int, now: float) -> float:
        """Take frames out; return for how many seconds to read no more, 0 while some are left."""
        rate = conf.STOMP_FRAMES_PER_SECOND
        if rate <= 0:
            return 0.0
        reserve = conf.STOMP_FRAMES_BURST / rate
        self._full_at = max(self._full_at, now) + frames / rate
        missing = self._full_at - now
        if missing > reserve and self._strained_at is None:
            self._strained_at = now
        elif missing <= reserve / 2:
            self._strained_at = None
        return max(0.0, missing - reserve)

    def is_out_of_patience(self, now: float) -> bool:
        """Return whether the client has sent too many for too long."""
        return self._strained_at is not None and now - self._strained_at >= PATIENCE_SECONDS
