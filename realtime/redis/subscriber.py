"""Hearing Redis channels: one connection, one owner, as many subscriptions as wanted."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Any, Final

import hiredis
import redis
from redis.exceptions import NoPermissionError

from .commands import REDIS_ERRORS
from .link import Link, Pool

logger = logging.getLogger(__name__)

#: Seconds between PINGs, and of silence that end a connection.
PING_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 15.0

#: Seconds between attempts to connect: doubled from the first to the last, with jitter.
FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 2.0

#: Seconds that a publisher waits at most for a process that is behind.
BEHIND_SECONDS: Final = 0.1

#: How many names go into one SUBSCRIBE.
SUBSCRIBE_CHUNK: Final = 1000

#: A subscription: the command that makes it and the channel, or the pattern of channels.
Key = tuple[str, str]

_MESSAGES: Final = frozenset({b"message", b"pmessage"})
_CONFIRMATIONS: Final = {b"subscribe": "SUBSCRIBE", b"psubscribe": "PSUBSCRIBE"}
_ENDS: Final = frozenset({b"unsubscribe", b"punsubscribe"})

#: Takes the name under which was subscribed (a Redis channel, or a pattern), the Redis channel and
#: a payload; what it returns is awaited before the next.
Receive = Callable[[bytes, bytes, bytes], Awaitable[object] | None]


class Subscriber:
    """
    The subscribing connection to one Redis, owned by one task.

    A connection that fails, or falls silent, is thrown away, and the next one starts from
    what is wanted; what was published in between is lost, as ever with Redis channels.

    Args:
        pool: Where connections come from.
        receive: Called with each message, in order.
        renewed: Called when a lost connection was replaced and everything is heard again.
    """

    def __init__(
        self,
        pool: Pool,
        receive: Receive,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._receive = receive
        self._renewed = renewed
        self._renewing = False
        self._wanted: set[Key] = set()
        self._established: set[Key] = set()  # wanted, and confirmed at least once
        self._confirmed: set[Key] = set()  # confirmed on the present connection
        self._unconfirmed: dict[Key, _Confirmation] = {}
        self._unsent: list[Key] = []
        self._unanswered: deque[_Sent] = deque()
        self.link: Link | None = None
        self._owner: asyncio.Task[None] | None = None
        self._failed = False  # the last attempt to connect failed
        self._failure: BaseException | None = None  # why not all is heard that was

    async def subscribe(self, name: str, *, pattern: bool = False) -> None:
        """
        Return when Redis has confirmed that the channel, or the glob-style pattern of
        channels, is heard.

        Raises:
            redis.RedisError: If Redis is away, or refuses. A new subscription is then not wanted.
        """
        key = ("PSUBSCRIBE" if pattern else "SUBSCRIBE", name)
        if key in self._confirmed:
            return
        if self._failed:
            raise redis.ConnectionError(f"Redis is away: {self._failure}") from self._failure
        confirmation = self._unconfirmed.get(key)
        if confirmation is None or key not in self._wanted:
            confirmation = self._request(key)
        await asyncio.shield(confirmation.future)

    def unsubscribe(self, name: str, *, pattern: bool = False) -> None:
        """Stop hearing a channel or a pattern; nothing to wait for."""
        key = ("PSUBSCRIBE" if pattern else "SUBSCRIBE", name)
        if key in self._wanted:
            self._wanted.discard(key)
            self._established.discard(key)
            self._confirmed.discard(key)
            self._send("PUNSUBSCRIBE" if pattern else "UNSUBSCRIBE", name)

    async def caught_up(self) -> None:
        """
        Return when ``receive`` does not have to be waited for any more, or after a while.

        Who publishes waits for it: otherwise what this process hears would pile up in Redis.
        """
        deadline = asyncio.get_running_loop().time() + BEHIND_SECONDS
        while self.link is not None and self.link.held is not None:
            rest = deadline - asyncio.get_running_loop().time()
            if rest <= 0:
                return
            await asyncio.wait([self.link.held], timeout=rest)

    async def aclose(self) -> None:
        """End the owner and its connection."""
        self._wanted.clear()
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait([self._owner])
        for confirmation in self._unconfirmed.values():
            confirmation.fail(redis.ConnectionError("closed"))

    def _request(self, key: Key) -> _Confirmation:
        self._wanted.add(key)
        confirmation = self._unconfirmed.setdefault(key, _Confirmation())
        confirmation.answers_due += 1
        self._send(*key)
        if self._owner is None:
            self._owner = asyncio.create_task(self._own(), name="realtime-subscriber")
        return confirmation

    def _send(self, command: str, name: str) -> None:
        """Send the commands of one turn together."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send_all)
        self._unsent.append((command, name))

    def _send_all(self) -> None:
        requests, self._unsent = self._unsent, []
        if self.link is None:
            return  # the next connection starts from what is wanted
        for command, group in itertools.groupby(requests, key=itemgetter(0)):
            names = [name for _, name in group]
            for start in range(0, len(names), SUBSCRIBE_CHUNK):
                self._write(self.link, command, names[start : start + SUBSCRIBE_CHUNK])

    def _write(self, link: Link, command: str, names: list[str]) -> None:
        self._unanswered.append(_Sent(command, names))
        whole: tuple[Any, ...] = (command, *names)
        link.write(hiredis.pack_command(whole))

    async def _own(self) -> None:
        delay = FIRST_RETRY_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                self._fail(await self._serve())
            except REDIS_ERRORS as error:
                self._fail(error)
            except Exception as error:
                logger.exception("the subscriptions to Redis failed")
                self._fail(error)
            if loop.time() - started > SILENCE_SECONDS:
                delay = FIRST_RETRY_SECONDS
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(delay * 2, LAST_RETRY_SECONDS)

    async def _serve(self) -> BaseException:
        """Connect, subscribe, and serve; return why the connection ended."""
        link = await Link.connect(self._pool, self._answered, purpose="subscriber")
        try:
            self._renewing, self._failed = self._failed, False
            self.link = link
            self._renew()
            reason = await self._watch(link)
            if link.held is not None:  # what comes by the next connection is newer
                await asyncio.wait([link.held])
            return reason
        finally:
            self.link = None
            link.close()

    def _renew(self) -> None:
        """Start from ``_wanted``, whatever was under way."""
        self._unsent.clear()
        self._unanswered.clear()
        for key in [key for key in self._unconfirmed if key not in self._wanted]:
            self._unconfirmed.pop(key).succeed()
        for key in sorted(self._wanted):
            confirmation = self._unconfirmed.setdefault(key, _Confirmation())
            confirmation.answers_due = 1
            self._send(*key)
        if not self._wanted:
            self._failure = None

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            logger.warning("lost the subscriptions to Redis: %s; reconnecting", error)
        self._failed, self._failure = True, error
        away = redis.ConnectionError(f"Redis is away: {error}")
        away.__cause__ = error
        for confirmation in self._unconfirmed.values():
            confirmation.fail(away)
        self._unconfirmed.clear()
        self._confirmed.clear()
        self._wanted &= self._established

    def _answered(self, answer: Any) -> Awaitable[object] | None:
        if isinstance(answer, Exception):
            self._refused(answer)
            return None
        kind = answer[0]
        if kind in _MESSAGES:
            return self._receive(answer[1], answer[-2], answer[-1])
        if kind in _CONFIRMATIONS or kind in _ENDS:
            self._unanswered[0].answers_due -= 1
            if self._unanswered[0].answers_due == 0:
                self._unanswered.popleft()
        if kind in _CONFIRMATIONS:
            self._confirm((_CONFIRMATIONS[kind], answer[1].decode()))
        return None

    def _refused(self, error: Exception) -> None:
        """
        Give up what may not be heard, alone.

        Raises:
            redis.ConnectionError: If nothing else will do than to connect anew: for another reason,
                or where it was allowed before, and may be again.
        """
        command, names = "", []
        if self._unanswered:
            refused = self._unanswered.popleft()
            command, names = refused.command, refused.names
        keys = [(command, name) for name in names]
        if not isinstance(error, NoPermissionError) or not self._established.isdisjoint(keys):
            raise redis.ConnectionError(f"Redis refuses: {error}") from error
        if len(names) > 1 and self.link is not None:  # which of them?
            for name in names:
                self._write(self.link, command, [name])
            return
        for key in keys:
            self._wanted.discard(key)
            if key in self._unconfirmed:
                self._unconfirmed.pop(key).fail(error)

    def _confirm(self, key: Key) -> None:
        confirmation = self._unconfirmed.get(key)
        if confirmation is None:
            return
        confirmation.answers_due -= 1
        if confirmation.answers_due == 0:
            del self._unconfirmed[key]
            if key in self._wanted:
                self._established.add(key)
                self._confirmed.add(key)
            confirmation.succeed()
        if self._renewing and not self._unconfirmed:
            self._renewing = False
            self._failure = None
            logger.warning("Redis is back, %d subscriptions renewed", len(self._wanted))
            self._renewed()

    async def _watch(self, link: Link) -> BaseException:
        loop = asyncio.get_running_loop()
        while not link.lost.done():
            await asyncio.wait([link.lost], timeout=PING_SECONDS)
            if loop.time() - link.heard >= SILENCE_SECONDS and link.held is None:
                return redis.ConnectionError(f"silent for {SILENCE_SECONDS:.0f} s")
            link.write(hiredis.pack_command(("PING",)))
        return link.lost.result()


class _Confirmation:
    """What waits for Redis to answer the SUBSCRIBEs of one channel."""

    def __init__(self) -> None:
        self.answers_due = 0
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # It may wait for nobody; one that was cancelled would raise here.
        self.future.add_done_callback(lambda future: future.cancelled() or future.exception())

    def succeed(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Sent:
    """A command that subscribes to names, or ends subscriptions; each name is answered."""

    def __init__(self, command: str, names: list[str]) -> None:
        self.command = command
        self.names = names
        self.answers_due = len(names)
