"""PlainLayer: any other channel layer, behind the face of :class:`.TopicLayer`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import BaseChannelLayer

from realtime.destinations.groups import group_name
from realtime.destinations.names import DestinationError, is_pattern

from .layer import TopicLayer
from .loop import Sink
from .publishing import Publication

logger = logging.getLogger(__name__)

#: Seconds until a channel layer that failed is asked again.
RETRY_SECONDS = 0.05


class PlainLayer:
    """
    What a channel layer without history, patterns and confirmations can do.

    Args:
        layer: The in-memory layer, or one of channels_redis.
    """

    #: Nothing is kept, so there is nothing to read.
    reader = None
    #: Nothing piles up here: each message is handed on at once.
    busy = False

    def __init__(self, layer: BaseChannelLayer) -> None:
        self._layer = layer
        self._polling: set[asyncio.Task[None]] = set()

    @property
    def publisher(self) -> PlainLayer:
        """What publishes: itself."""
        return self

    def publish(self, publications: Sequence[Publication]) -> asyncio.Future[list[Any]]:
        """Send messages to their groups; the future gets None for each, or its error."""
        send = self._layer.group_send
        sent = [send(publication.group, publication.message) for publication in publications]
        return asyncio.gather(*sent, return_exceptions=True)

    def publish_sync(self, publications: Sequence[Publication]) -> list[Any]:
        """Send messages to their groups, one by one."""
        send = async_to_sync(self._layer.group_send)
        return [send(publication.group, publication.message) for publication in publications]

    async def ready(self) -> None:
        """Return: there is nothing to wait for."""

    async def join(self, destination: str, channel: str) -> None:
        """
        Hear a destination on a channel.

        Raises:
            DestinationError: If it is a pattern.
        """
        if is_pattern(destination):
            raise DestinationError("this channel layer hears no patterns", code="bad-pattern")
        await self._layer.group_add(group_name(destination), channel)

    async def leave(self, destination: str, channel: str) -> None:
        """Undo :meth:`join`."""
        if not is_pattern(destination):
            await self._layer.group_discard(group_name(destination), channel)

    async def listen(self, sink: Sink, renewed: Callable[[], None] = lambda: None) -> str:
        """Return a new channel whose messages go to a function; ``renewed`` is never called."""
        channel: str = await self._layer.new_channel()
        task = asyncio.create_task(self._poll(channel, sink), name="realtime-polling")
        self._polling.add(task)
        task.add_done_callback(self._polling.discard)
        return channel

    def close(self) -> None:
        """Stop handing over what comes."""
        for task in self._polling:
            task.cancel()

    async def _poll(self, channel: str, sink: Sink) -> None:
        while True:
            try:
                wait = sink([await self._layer.receive(channel)], "", None)
            except Exception:
                logger.exception("the channel layer failed")
                wait = asyncio.sleep(RETRY_SECONDS)
            if wait is not None:
                await wait


@lru_cache(maxsize=16)
def face_of(layer: Any) -> TopicLayer | PlainLayer:
    """Return the one face that every channel layer has here."""
    return layer if isinstance(layer, TopicLayer) else PlainLayer(layer)
