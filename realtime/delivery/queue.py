"""Queue: what stands between a subscription and the outbox of its session."""

from __future__ import annotations

from typing import Protocol

from .frames import Frames


class Queue(Protocol):
    """Take the MESSAGE frames of one subscription, and hand them to the outbox in time."""

    @property
    def waiting(self) -> int:
        """How many messages wait here: for the client to read, or to acknowledge others."""

    def deliver(self, frames: Frames) -> None:
        """Take MESSAGE frames; never block, never raise."""

    def discard(self) -> None:
        """Forget what waits: the subscription ended."""
