"""Notices: what nodes tell each other, at destinations that no client can name."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from channels.layers import get_channel_layer

from realtime.delivery.frames import Frames, SharedFrames
from realtime.destinations.groups import group_name
from realtime.layer.plain import face_of
from realtime.layer.publishing import Publication
from realtime.messages.message import ENVELOPE_TYPE, ENVELOPE_VERSION, new_id

from .hub import Hub
from .subscription import Subscription

logger = logging.getLogger(__name__)


async def hear_notices(hub: Hub, destination: str, take: Callable[[Any], None]) -> None:
    """
    Call a function with each notice at a destination, from now on: what :func:`tell` was given.

    Returns when that has begun; without Redis it tries again and again.
    """
    subscription = Subscription(destination, _Contents(), _Handed(take))
    while True:
        try:
            await hub.subscribe(subscription)
            return
        except Exception as error:
            logger.debug("can't hear %s: %s", destination, error)
            await asyncio.sleep(1)


def tell(destination: str, content: Any) -> None:
    """
    Tell all nodes something that JSON can say, from synchronous code.

    Raises:
        redis.RedisError: If Redis is away.
    """
    envelope = {
        "type": ENVELOPE_TYPE,
        "v": ENVELOPE_VERSION,
        "destination": destination,
        "headers": {"message-id": new_id()},
        "body": json.dumps(content).encode(),
    }
    publisher = face_of(get_channel_layer()).publisher
    publisher.publish_sync([Publication(group_name(destination), envelope)])


class _Contents:
    """Makes no frames: what is told is for the node."""

    def encode(self, shared: SharedFrames, told: Mapping[str, str] | None = None) -> Frames:
        return Frames((b"",) * len(shared.messages), shared.messages)


class _Handed:
    """Hands over what a node is told."""

    waiting = 0

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take

    def deliver(self, frames: Frames) -> None:
        for message in frames.messages:
            self._take(json.loads(message.body))

    def discard(self) -> None:
        """Do nothing: nothing waits here."""
