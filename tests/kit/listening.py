"""Subscriptions of tests: a queue that hands on what is delivered, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realtime.delivery.frames import Frames, StompEncoder
from realtime.hub.subscription import Subscription


def stomp_frames(frames: Frames) -> list[bytes]:
    """Return the STOMP frames without their WebSocket heads."""
    return [
        event["text"].encode() if "text" in event else event["bytes"] for event in frames.events()
    ]


class FunctionQueue:
    """Stands between a subscription and the test."""

    def __init__(self, deliver: Callable[[Frames], None]) -> None:
        self.deliver = deliver

    def discard(self) -> None:
        """Do nothing: nothing waits."""


def subscription(
    destination: str,
    id: str | None,
    version: str,
    deliver: Callable[[Frames], None],
    **options: Any,
) -> Subscription:
    """Return a subscription whose frames a function takes, one by one."""

    def one_by_one(frames: Frames) -> None:
        for each in frames.one_by_one():
            deliver(each)

    return Subscription(
        destination, StompEncoder(version, id), FunctionQueue(one_by_one), **options
    )
