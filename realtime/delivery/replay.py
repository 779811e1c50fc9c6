"""Replay: deliver what a client missed before what comes now, as fast as the client reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from .frames import Encoder, Frames, SharedFrames
from .outbox import Outbox


class Replay:
    """
    Deliver old messages first; the outbox takes them one by one, so that they use up no budget.

    What comes meanwhile waits behind them, within the budget.

    Args:
        outbox: Where they go.
        missed: The old messages, the oldest first.
        encoder: Makes their frames.
        told: Headers for the first of them.
        done: Called when nothing waits any more: from then on this is not needed.
    """

    def __init__(
        self,
        outbox: Outbox,
        missed: Sequence[SharedFrames],
        encoder: Encoder,
        told: Mapping[str, str],
        done: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._missed = deque(missed)
        self._encoder = encoder
        self._told = told
        self._done = done
        self._waiting: deque[Frames] = deque()
        outbox.add_source(self)

    @property
    def waiting(self) -> int:
        return len(self._missed) + sum([frames.count for frames in self._waiting])

    def deliver(self, frames: Frames) -> None:
        """Keep MESSAGE frames until the old ones are delivered."""
        if self._outbox.hold(frames):
            self._waiting.append(frames)

    def take(self) -> Frames | None:
        """Return what to write next, or None if there is nothing."""
        if self._missed:
            frames = self._missed.popleft().frames_for(self._encoder).telling(self._told)
            self._told = {}
        elif self._waiting:
            frames = self._waiting.popleft()
            self._outbox.release(frames)
        else:
            self._done()
            return None
        self._outbox.messages += frames.count
        return frames

    def discard(self) -> None:
        """Forget what waits: the subscription ended."""
        for frames in self._waiting:
            self._outbox.release(frames)
        self._waiting.clear()
        self._missed.clear()
        self._outbox.remove_source(self)
