"""The links of an event loop to one Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .history import SCRIPTS
from .link import Pipeline
from .redis import create_pool
from .subscriber import Subscriber

#: Takes the Redis channel, or the pattern, and what came; what it returns is awaited.
ReceiveData = Callable[[str, bytes], Awaitable[object] | None]


class Shard:
    """
    A pipeline to publish with, and one :class:`.Subscriber`.

    Args:
        host: What :func:`.create_pool` takes.
        receive: Called with all that comes.
        renewed: Called when a lost connection was replaced: messages may be missing.
    """

    def __init__(self, host: Any, receive: ReceiveData, renewed: Callable[[], None]) -> None:
        self._host = host
        self._receive_data = receive
        self._renewed = renewed
        self._open()

    def _open(self) -> None:
        self._pool = create_pool(self._host)
        self.pipeline = Pipeline(self._pool, SCRIPTS)
        self.subscriber = Subscriber(self._pool, self._receive, self._renewed)

    def _receive(self, name: bytes, data: bytes) -> Awaitable[object] | None:
        return self._receive_data(name.decode(), data)

    # What the inherited layer calls

    async def subscribe(self, channel: str) -> None:
        await self.subscriber.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        self.subscriber.unsubscribe(channel)

    async def flush(self) -> None:
        await self.subscriber.aclose()
        await self.pipeline.aclose()
        await self._pool.aclose()
        self._open()
