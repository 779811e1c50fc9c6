"""Bounds: what all clients of a process may have together, or all of one address."""

from __future__ import annotations

from collections import Counter

from realtime.access.addresses import is_trusted_proxy, neighbourhood
from realtime.conf import conf


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
