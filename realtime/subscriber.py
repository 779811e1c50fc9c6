"""Hearing Redis channels: one connection, one owner, as many subscriptions as wanted."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Final

import redis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from .redis import REDIS_ERRORS

logger = logging.getLogger(__name__)

#: Seconds between PINGs, and of silence that end a connection.
PING_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 15.0

#: Seconds between attempts to connect: doubled from the first to the last, with jitter.
FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 2.0

#: How many names go into one SUBSCRIBE.
SUBSCRIBE_CHUNK: Final = 1000

#: Takes the name of a Redis channel and a payload; what it returns is awaited before the next.
Receive = Callable[[bytes, bytes], Awaitable[object] | None]


class Subscriber:
    """
    The subscribing connection to one Redis, owned by one task.

    A connection that fails, or falls silent, is thrown away, and the next one starts from
    what is wanted; what was published in between is lost, as ever with Redis channels.

    Args:
        pool: Where connections come from.
        receive: Called with each message, in order.
    """

    def __init__(self, pool: ConnectionPool, receive: Receive) -> None:
        self._pool = pool
        self._receive = receive
        self._wanted: set[str] = set()
        self._established: set[str] = set()  # wanted, and confirmed at least once
        self._confirmed: set[str] = set()  # confirmed on the present connection
        self._unconfirmed: dict[str, _Confirmation] = {}
        self._commands: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self._owner: asyncio.Task[None] | None = None
        self._heard = 0.0
        self._failed = False  # the last attempt to connect failed

    async def subscribe(self, channel: str) -> None:
        """
        Return when Redis has confirmed that the channel is heard.

        Raises:
            redis.ConnectionError: If Redis is away. A new channel is then not wanted.
        """
        if channel in self._confirmed:
            return
        if self._failed:
            raise redis.ConnectionError("Redis is away")
        confirmation = self._unconfirmed.get(channel)
        if confirmation is None or channel not in self._wanted:
            confirmation = self._request(channel)
        await asyncio.shield(confirmation.future)

    def unsubscribe(self, channel: str) -> None:
        """Stop hearing the channel; nothing to wait for."""
        if channel in self._wanted:
            self._wanted.discard(channel)
            self._established.discard(channel)
            self._confirmed.discard(channel)
            self._commands.put_nowait(("UNSUBSCRIBE", channel))

    async def aclose(self) -> None:
        """End the owner and its connection."""
        self._wanted.clear()
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait([self._owner])
        for confirmation in self._unconfirmed.values():
            confirmation.fail(redis.ConnectionError("closed"))

    def _request(self, channel: str) -> _Confirmation:
        self._wanted.add(channel)
        confirmation = self._unconfirmed.setdefault(channel, _Confirmation())
        confirmation.answers_due += 1
        self._commands.put_nowait(("SUBSCRIBE", channel))
        if self._owner is None:
            self._owner = asyncio.create_task(self._own(), name="realtime-subscriber")
        return confirmation

    async def _own(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._serve()
            except* Exception as group:
                error: BaseException = group
                while isinstance(error, BaseExceptionGroup):
                    error = error.exceptions[0]
                if not isinstance(error, REDIS_ERRORS):
                    logger.error("the subscriptions to Redis failed", exc_info=error)
                self._fail(error)
            if asyncio.get_running_loop().time() - started > SILENCE_SECONDS:
                delay = FIRST_RETRY_SECONDS
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(delay * 2, LAST_RETRY_SECONDS)

    async def _serve(self) -> None:
        """Connect, subscribe, and serve until the connection fails."""
        connection: AbstractConnection = self._pool.make_connection()
        try:
            await connection.connect()
            # With one, redis-py sends through asyncio.wait_for, which before Python 3.12 swallows
            # a cancellation (cpython#86296). The watch notices a link that takes nothing.
            connection.socket_timeout = None
            if self._failed:
                logger.warning("Redis is back, %d subscriptions renewed", len(self._wanted))
            self._failed = False
            self._heard = asyncio.get_running_loop().time()
            self._renew()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(connection))
                tasks.create_task(self._write(connection))
                tasks.create_task(self._watch())
        finally:
            await connection.disconnect(nowait=True)

    def _renew(self) -> None:
        """Start from ``_wanted``, whatever was under way."""
        self._commands = asyncio.Queue()
        for channel in [name for name in self._unconfirmed if name not in self._wanted]:
            self._unconfirmed.pop(channel).succeed()
        for channel in self._wanted:
            confirmation = self._unconfirmed.setdefault(channel, _Confirmation())
            confirmation.answers_due = 1
            self._commands.put_nowait(("SUBSCRIBE", channel))

    def _fail(self, error: BaseException) -> None:
        if not self._failed:
            logger.warning("lost the subscriptions to Redis: %s; reconnecting", error)
        self._failed = True
        for confirmation in self._unconfirmed.values():
            confirmation.fail(error)
        self._unconfirmed.clear()
        self._confirmed.clear()
        self._wanted &= self._established

    async def _read(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            self._heard = loop.time()
            if answer[0] == b"message":
                wait = self._receive(answer[1], answer[2])
                if wait is not None:
                    await wait
            elif answer[0] == b"subscribe":
                self._confirm(answer[1].decode())

    def _confirm(self, channel: str) -> None:
        confirmation = self._unconfirmed.get(channel)
        if confirmation is None:
            return
        confirmation.answers_due -= 1
        if confirmation.answers_due == 0:
            del self._unconfirmed[channel]
            if channel in self._wanted:
                self._established.add(channel)
                self._confirmed.add(channel)
            confirmation.succeed()

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            requests = [await self._commands.get()]
            while len(requests) < SUBSCRIBE_CHUNK and not self._commands.empty():
                requests.append(self._commands.get_nowait())
            for command, group in itertools.groupby(requests, key=itemgetter(0)):
                names = itertools.chain.from_iterable(request[1:] for request in group)
                await connection.send_command(command, *names)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() - self._heard < SILENCE_SECONDS:
            await asyncio.sleep(PING_SECONDS)
            self._commands.put_nowait(("PING",))
        raise redis.ConnectionError(f"silent for {SILENCE_SECONDS:.0f} s")


class _Confirmation:
    """What waits for Redis to answer the SUBSCRIBEs of one channel."""

    def __init__(self) -> None:
        self.answers_due = 0
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.future.add_done_callback(lambda future: future.exception())  # may wait for nobody

    def succeed(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(redis.ConnectionError(f"Redis is away: {error}"))
