"""
Slow clients: what becomes of messages that come faster than a client reads; the routing table says.

With ``close`` they wait in the outbox, until that is full and the client is closed; with ``latest``
and ``drop-oldest`` a :class:`LossyQueue` in front of it keeps the newest.
"""

from __future__ import annotations

from collections.abc import Mapping

from realtime.counters import counters

from .frames import Frames
from .outbox import Outbox


class LossyQueue:
    """
    Deliver to a subscription of policy ``latest`` or ``drop-oldest``.

    While the client can be written to, messages pass through. Otherwise they wait here, and the
    outbox takes them when it may.
    """

    def __init__(self, outbox: Outbox, *, latest: bool) -> None:
        self._outbox = outbox
        self._latest = latest
        self._waiting: dict[str, Frames] = {}
        self._dropped = 0
        self._told: Mapping[str, str] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def tell(self, headers: Mapping[str, str]) -> None:
        """Say this in headers of the next MESSAGE that is sent, whichever that is."""
        self._told = headers

    def deliver(self, frames: Frames) -> None:
        """Send each MESSAGE now, or keep it, or drop an older one for it."""
        if not self._passes(frames.size):
            wanted = frames.one_by_one()
            if self._latest:  # those that come together have one destination
                wanted = wanted[-1:]
                self._count(frames.count - 1)
            for each in wanted:
                self._deliver(each)
        else:
            self._outbox.deliver(self._annotated(frames))

    def _passes(self, size: int) -> bool:
        outbox = self._outbox
        return not outbox.blocked and not self._waiting and outbox.fits(size, 0.5)

    def _deliver(self, frames: Frames) -> None:
        outbox = self._outbox
        if self._passes(frames.size):
            outbox.deliver(self._annotated(frames))
            return
        message = frames.messages[0]
        key = message.destination if self._latest else message.id
        if key in self._waiting:
            self._drop(key)
        while self._waiting and not outbox.fits(frames.size):
            self._drop(next(iter(self._waiting)))
        if not outbox.fits(frames.size):
            self._count(1)
            return
        outbox.hold(frames)
        self._waiting[key] = frames
        outbox.add_source(self)

    def take(self) -> Frames | None:
        """Return the next MESSAGE to write, or None if there is none."""
        if not self._waiting:
            return None
        frames = self._waiting.pop(next(iter(self._waiting)))
        self._outbox.release(frames)
        self._outbox.messages += 1
        return self._annotated(frames)

    def discard(self) -> None:
        """Forget what waits: the subscription ended."""
        for frames in self._waiting.values():
            self._outbox.release(frames)
        self._waiting.clear()
        self._outbox.remove_source(self)

    def _annotated(self, frames: Frames) -> Frames:
        """Return frames with what their client has to be told; a loss outdates what was before."""
        if not (self._told or self._dropped):
            return frames
        told, dropped, self._told, self._dropped = self._told, self._dropped, {}, 0
        if "recovered" in frames.messages[0].headers:
            told = {}
        return frames.telling({**told, **({"dropped": str(dropped)} if dropped else {})})

    def _drop(self, key: str) -> None:
        self._outbox.release(self._waiting.pop(key))
        self._count(1)

    def _count(self, dropped: int) -> None:
        self._dropped += dropped
        counters.dropped += dropped
