"""Pace: how fast a session is read; one that sends more than it may is read more slowly."""

from __future__ import annotations

from typing import Final

from realtime.access.limits import Bucket, refusals
from realtime.conf import conf

#: So much is read before it is looked at the clock, if few requests are in it.
LOOK_BYTES: Final = 256 * 1024


class Pace:
    """
    What a session has sent, and how long it has to wait for that; nobody is closed for it.

    The session counts, which costs nothing, and asks now and then.

    Args:
        address: Where the client comes from, for the log.
    """

    __slots__ = ("_address", "_buckets", "bytes", "frames", "subscribes")

    def __init__(self, address: str) -> None:
        self._address = address
        self._buckets: tuple[Bucket, ...] = ()  # made for who sends enough to be looked at
        #: What was not asked for yet: STOMP frames, bytes, and SUBSCRIBE and UNSUBSCRIBE.
        self.frames = self.bytes = self.subscribes = 0

    def wait(self, now: float) -> float:
        """Return for how many seconds to read no more, 0 for not at all; begin to count anew."""
        sent = (self.frames, self.bytes, self.subscribes)
        self.frames = self.bytes = self.subscribes = 0
        self._buckets = self._buckets or (Bucket(), Bucket(), Bucket())
        longest = 0.0
        for bucket, amount, (reason, rate, burst) in zip(
            self._buckets, sent, _limits(), strict=True
        ):
            if amount and rate > 0 and (seconds := bucket.spend(amount, now, rate, burst)):
                longest = max(longest, seconds)
                text = f"more than {rate} a second"
                refusals.note(reason, (self._address or "somebody",), text, "slowed down")
        return longest


def _limits() -> tuple[tuple[str, int, int], ...]:
    """Return reason, rate and burst of each."""
    most = max(conf.STOMP_SUBSCRIBES_BURST, conf.STOMP_MAX_SUBSCRIPTIONS)
    return (
        ("commands", conf.STOMP_COMMANDS_PER_SECOND, conf.STOMP_COMMANDS_BURST),
        ("bytes", conf.STOMP_BYTES_PER_SECOND, conf.STOMP_BYTES_BURST),
        ("subscribes", conf.STOMP_SUBSCRIBES_PER_SECOND, most),
    )
