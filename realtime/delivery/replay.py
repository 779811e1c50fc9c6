"""What a client missed, delivered before what comes now, as fast as the client reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from .frames import Burst, FrameKey, MessageFrames, Payload
from .outbox import Outbox


class Replay:
    """
    Deliver old messages first; the outbox takes them one by one, so that they use up no budget.

    What comes meanwhile waits behind them, within the budget.

    Args:
        outbox: Where they go.
        missed: The old messages, the oldest first.
        key: Whose frames they are.
        told: Headers for the first of them.
        done: Called when nothing waits any more: from then on this is not needed.
    """

    def __init__(
        self,
        outbox: Outbox,
        missed: Sequence[MessageFrames],
        key: FrameKey,
        told: Mapping[str, str],
        done: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._missed = deque(missed)
        self._key = key
        self._told = told
        self._done = done
        self._waiting: deque[Payload | Burst] = deque()
        outbox.add_source(self)

    def deliver(self, payload: Payload | Burst) -> None:
        """Keep MESSAGE frames until the old ones are delivered."""
        if self._outbox.hold(payload):
            self._waiting.append(payload)

    def take(self) -> Payload | Burst | None:
        """Return what to write next, or None if there is nothing."""
        if self._missed:
            payload = self._missed.popleft().frame_for(self._key).with_headers(self._told)
            self._told = {}
        elif self._waiting:
            payload = self._waiting.popleft()
            self._outbox.release(payload)
        else:
            self._done()
            return None
        self._outbox.messages += payload.count
        return payload

    def discard(self) -> None:
        """Forget what waits: the subscription ended."""
        for payload in self._waiting:
            self._outbox.release(payload)
        self._waiting.clear()
        self._missed.clear()
        self._outbox.remove_source(self)
