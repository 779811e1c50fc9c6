"""What is delivered: a subscription as the hub knows it, and the frames that it shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from realtime.delivery.frames import Burst, Encode, FrameKey, MessageFrames, Payload
from realtime.history.positions import Position, Reason


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


@dataclass(eq=False, slots=True)
class Subscription:
    """
    A client's SUBSCRIBE, as the hub knows it; nothing that it is called with may block or raise.

    Args:
        destination: What it hears: a destination, or a pattern of topics.
        id: The ``subscription`` header of its MESSAGE frames; None in STOMP 1.0 without id.
        version: The STOMP version of its session.
        deliver: Takes MESSAGE frames.
        acknowledged: Whether its MESSAGE frames are to be acknowledged.
        resume: After which position it wants what it missed.
        replay: How many of the newest messages it wants first.
        begin: Called once it is certain, with where it starts and what comes first.
        lost: Called where messages are lost for good, with where it goes on and why.
        encode: Makes what ``deliver`` takes, where that is no MESSAGE frame.
    """

    destination: str
    id: str | None
    version: str
    deliver: Callable[[Payload | Burst], None]
    acknowledged: bool = False
    resume: Position | None = None
    replay: int = 0
    begin: Callable[[Start, Sequence[MessageFrames]], None] = lambda start, missed: None
    lost: Callable[[Position, Reason], None] = lambda position, reason: None
    encode: Encode | None = None

    @property
    def key(self) -> FrameKey:
        """Who has the same key shares the frames of each message."""
        return self.encode or (self.version, self.id, self.acknowledged)
