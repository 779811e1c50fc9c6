"""Budget: how many small WebSocket frames a client may send."""

from __future__ import annotations

from typing import Final

from realtime.conf import conf

#: A frame counts only as far as there are more than one for so many bytes: it is the many and
#: small ones that cost more than what they carry.
BYTES_PER_FRAME: Final = 32

#: Seconds for which a client that sends too many is only read more slowly.
PATIENCE_SECONDS: Final = 5.0


class Budget:
    """
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
