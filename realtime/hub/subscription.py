"""Subscription: what one client hears, and the queue that its messages go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from realtime.concurrency import nothing
from realtime.delivery.frames import Encoder, Frames, SharedFrames
from realtime.delivery.outbox import Direct
from realtime.delivery.queue import Queue
from realtime.delivery.replay import Replay
from realtime.delivery.slow_clients import LossyQueue
from realtime.delivery.telling import Telling
from realtime.history.positions import Position, Reason

_NOTHING: Final[Mapping[str, str]] = {}


def _has_begun(start: Start) -> Mapping[str, str]:
    """Tell nothing, in the place of what was called when a subscription began."""
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Start:
    """
    Where a subscription starts.

    Args:
        position: After which its messages come; None where there is no history.
        recovered: Whether all that it missed comes first; None where it did not ask.
        reason: Why not.
    """

    position: Position | None = None
    recovered: bool | None = None
    reason: Reason | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the client is told."""
        headers = {} if self.position is None else {"position": str(self.position)}
        if self.recovered is not None:
            headers["recovered"] = "true" if self.recovered else "false"
        if self.reason is not None:
            headers["reason"] = self.reason
        return headers


class Subscription:
    """
    What one client hears; nothing that it is called with may block or raise.

    Args:
        destination: A destination, or a pattern of topics.
        encoder: Makes its frames; those with equal ones share them.
        queue: What they go through.
        resume: After which position it wants what it missed.
        replay: How many of the newest messages it wants first.
        user: Whose it is, for topics that say who is on them; "" for nobody's.
        began: Called once it is certain, with where it starts; returns the headers with which
            its first message has to say so, if it is not told otherwise.
        lost: Called where messages are lost for good, with it, where it goes on, and why.
    """

    __slots__ = (
        "_began",
        "_lost",
        "deliver",
        "destination",
        "encoder",
        "queue",
        "replay",
        "resume",
        "user",
    )

    #: Takes MESSAGE frames: the queue's, without a step in between.
    deliver: Callable[[Frames], None]

    def __init__(
        self,
        destination: str,
        encoder: Encoder,
        queue: Queue,
        *,
        resume: Position | None = None,
        replay: int = 0,
        user: str = "",
        began: Callable[[Start], Mapping[str, str]] = _has_begun,
        lost: Callable[[Subscription, Position, Reason], Any] = nothing,
    ) -> None:
        self.destination = destination
        self.encoder = encoder
        self.resume = resume
        self.replay = replay
        self.user = user
        self._began = began
        self._lost = lost
        self._use(queue)

    @property
    def wants_history(self) -> bool:
        """Whether it wants messages from before it began."""
        return self.resume is not None or self.replay > 0

    def begin(self, start: Start, missed: Sequence[SharedFrames]) -> None:
        """Say where it starts, and deliver what it missed."""
        told, self._began = self._began(start), _has_begun
        if missed and isinstance(self.queue, Direct):
            self._replay(self.queue, missed, told)
            return
        if told:
            self._tell(told)
        for shared in missed:
            self.deliver(shared.frames_for(self.encoder))

    def lost(self, position: Position, reason: Reason) -> None:
        """Take note that messages are lost for good; that outdates what was to be told."""
        if isinstance(self.queue, Telling):
            self._use(self.queue.behind)
        elif isinstance(self.queue, LossyQueue):
            self.queue.tell(_NOTHING)
        self._lost(self, position, reason)

    def end(self) -> None:
        """Forget what waits for the client."""
        self.queue.discard()

    def _use(self, queue: Queue) -> None:
        self.queue = queue
        self.deliver = queue.deliver

    def _replay(
        self, direct: Direct, missed: Sequence[SharedFrames], told: Mapping[str, str]
    ) -> None:
        self._use(Replay(direct.outbox, missed, self.encoder, told, done=lambda: self._use(direct)))

    def _tell(self, told: Mapping[str, str]) -> None:
        queue = self.queue
        if isinstance(queue, LossyQueue):  # it may drop the first
            queue.tell(told)
        else:
            self._use(Telling(queue, told, done=lambda: self._use(queue)))
