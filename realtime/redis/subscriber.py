"""
Hearing Redis channels: one connection, one owner, as many subscriptions as wanted; sharded
channels of a cluster by one connection to each node.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Any, Final

import hiredis
import redis
from redis.crc import key_slot
from redis.exceptions import MovedError, NoPermissionError

from .cluster import BELIEVED_SECONDS, RETRY_SECONDS, ClusterPool
from .commands import ANSWER_SECONDS, REDIS_ERRORS
from .link import Link, Pool
from .slots import Address, redirected_to

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

#: Seconds between two looks whether sharded channels are heard where they belong.
FOLLOW_SECONDS: Final = 1.0

#: A subscription: the command that makes it and the channel, or the pattern of channels.
Key = tuple[str, str]

_MESSAGES: Final = frozenset({b"message", b"pmessage", b"smessage"})
_CONFIRMATIONS: Final = {
    b"subscribe": "SUBSCRIBE",
    b"psubscribe": "PSUBSCRIBE",
    b"ssubscribe": "SSUBSCRIBE",
}
_ENDS: Final = frozenset({b"unsubscribe", b"punsubscribe", b"sunsubscribe"})
_ENDINGS: Final = {
    "SUBSCRIBE": "UNSUBSCRIBE",
    "PSUBSCRIBE": "PUNSUBSCRIBE",
    "SSUBSCRIBE": "SUNSUBSCRIBE",
}
#: All names in one of these have to be in one slot.
_SHARDED: Final = frozenset({"SSUBSCRIBE", "SUNSUBSCRIBE"})

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
        moved: Called when the connection is lost, and when a sharded channel is not heard here any
            more, since another node has its slot.
    """

    def __init__(
        self,
        pool: Pool,
        receive: Receive,
        renewed: Callable[[], None] = lambda: None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._receive = receive
        self._renewed = renewed
        self._moved = moved
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

    @property
    def away(self) -> bool:
        """Whether there is no connection, and the last attempt to make one failed."""
        return self._failed

    @property
    def hears(self) -> bool:
        """Whether all is heard that is wanted: not while a lost connection is replaced."""
        return not self._wanted or (self.link is not None and not self._renewing)

    @property
    def behind(self) -> bool:
        """Whether ``receive`` has to be waited for."""
        return self.link is not None and self.link.held is not None

    def wants(self, name: str, *, sharded: bool = False) -> bool:
        """Return whether a channel is to be heard."""
        return _key(name, sharded=sharded) in self._wanted

    async def subscribe(self, name: str, *, pattern: bool = False, sharded: bool = False) -> None:
        """
        Return when Redis has confirmed that the channel, or the glob-style pattern of
        channels, is heard.

        Raises:
            redis.RedisError: If Redis is away, or refuses; MovedError if another node has the slot
                of a sharded channel. A new subscription is then not wanted.
        """
        key = _key(name, pattern, sharded)
        if key in self._confirmed:
            return
        if self._failed:
            raise redis.ConnectionError(f"Redis is away: {self._failure}") from self._failure
        confirmation = self._unconfirmed.get(key)
        if confirmation is None or key not in self._wanted:
            confirmation = self._request(key)
        await asyncio.shield(confirmation.future)

    def unsubscribe(self, name: str, *, pattern: bool = False, sharded: bool = False) -> None:
        """Stop hearing a channel or a pattern; nothing to wait for."""
        key = _key(name, pattern, sharded)
        if key in self._wanted:
            self._forget(key)
            self._send(_ENDINGS[key[0]], name)

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

    def _forget(self, key: Key) -> None:
        self._wanted.discard(key)
        self._established.discard(key)
        self._confirmed.discard(key)

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
            chunk = 1 if command in _SHARDED else SUBSCRIBE_CHUNK
            for start in range(0, len(names), chunk):
                self._write(self.link, command, names[start : start + chunk])

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
        self._moved()

    def _answered(self, answer: Any) -> Awaitable[object] | None:
        if isinstance(answer, Exception):
            self._refused(answer)
            return None
        kind = answer[0]
        if kind in _MESSAGES:
            return self._receive(answer[1], answer[-2], answer[-1])
        if kind == b"sunsubscribe" and not self._is_due("SUNSUBSCRIBE", answer[1].decode()):
            self._forget(("SSUBSCRIBE", answer[1].decode()))
            self._moved()
        elif kind in _CONFIRMATIONS or kind in _ENDS:
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
        if isinstance(error, MovedError):
            self._redirected(error)
            return
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

    def _is_due(self, command: str, name: str) -> bool:
        """Return whether what comes next answers this."""
        due = self._unanswered[0] if self._unanswered else None
        return due is not None and due.command == command and due.names == [name]

    def _redirected(self, error: MovedError) -> None:
        """Give up the channel that was asked for, if any: it may have been given up by Redis."""
        due = self._unanswered[0] if self._unanswered else None
        if due is None or due.command not in _SHARDED:
            return
        if _slot_of(due.names[0]) == error.slot_id:
            self._unanswered.popleft()
            key = ("SSUBSCRIBE", due.names[0])
            self._forget(key)
            if key in self._unconfirmed:
                self._unconfirmed.pop(key).fail(error)
            self._moved()
            self._note_renewed()

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
        self._note_renewed()

    def _note_renewed(self) -> None:
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


class ShardedSubscriber:
    """
    Sharded channels of a cluster: each is heard on the node that has its slot, by a
    :class:`Subscriber` for each node, and follows its slot to another node.

    A mark is a Redis channel that is heard on every node: scripts there see that somebody does.

    Args:
        pool: Where connections come from.
        receive: Called with each message, those of one channel in order.
        renewed: Called when channels are heard again after a while, here or on another node.
    """

    def __init__(self, pool: ClusterPool, receive: Receive, renewed: Callable[[], None]) -> None:
        self._pool = pool
        self._receive = receive
        self._renewed = renewed
        self._nodes: dict[Address, Subscriber] = {}
        self._homes: dict[str, Address] = {}  # where each channel is heard, or is to be
        self._marks: set[str] = set()
        self._moved = asyncio.Event()
        self._unsettled = False  # some are not heard, and nothing will say so again
        self._follower: asyncio.Task[None] | None = None

    @property
    def hears(self) -> bool:
        """Whether all is heard that is wanted, on each node."""
        settled = not (self._moved.is_set() or self._unsettled)
        return settled and all(node.hears for node in self._nodes.values())

    @property
    def behind(self) -> bool:
        """Whether ``receive`` has to be waited for."""
        return any(node.behind for node in self._nodes.values())

    async def caught_up(self) -> None:
        """Do what :meth:`Subscriber.caught_up` does."""
        for node in tuple(self._nodes.values()):
            await node.caught_up()

    async def subscribe(self, name: str) -> None:
        """
        Return when the node that has its slot has confirmed that the channel is heard.

        Raises:
            redis.RedisError: If that node is away, or refuses. A new subscription is then not
                wanted.
        """
        is_new = name not in self._homes
        if is_new:
            await self._begin()
            assert self._pool.slots is not None
            self._homes[name] = self._pool.slots.primary_of(_slot_of(name))
        try:
            await self._hear(name)
        except redis.RedisError:
            if is_new:
                self.unsubscribe(name)
            raise

    def unsubscribe(self, name: str) -> None:
        """Stop hearing a channel; nothing to wait for."""
        home = self._homes.pop(name, None)
        if home is not None:
            self._node(home).unsubscribe(name, sharded=True)

    async def mark(self, name: str) -> None:
        """
        Hear a mark on every node that is there, from now on; return when all have confirmed it.
        One that is away has it soon after it is back.

        Raises:
            redis.RedisError: If all are away.
        """
        await self._begin()
        self._marks.add(name)
        await self._hear_mark(name)

    def unmark(self, name: str) -> None:
        """Undo :meth:`mark`."""
        self._marks.discard(name)
        for node in self._nodes.values():
            node.unsubscribe(name)

    async def aclose(self) -> None:
        """End all connections."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])
        for node in self._nodes.values():
            await node.aclose()

    async def _begin(self) -> None:
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow(), name="realtime-slots")
        await self._pool.refresh(BELIEVED_SECONDS)

    def _node(self, address: Address) -> Subscriber:
        if address not in self._nodes:
            pool = self._pool.of(address)
            node = Subscriber(pool, self._receive, self._renewed, self._moved.set)
            self._nodes[address] = node
        return self._nodes[address]

    async def _hear(self, name: str) -> None:
        """Return when a channel is heard at its home, which may change meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ANSWER_SECONDS
        while (home := self._homes.get(name)) is not None:
            try:
                await self._node(home).subscribe(name, sharded=True)
            except MovedError as error:
                if loop.time() > deadline:
                    raise
                self._believe(error, name, home)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if self._homes.get(name) == home:
                    return
        raise redis.ConnectionError("not wanted any more")

    def _believe(self, error: MovedError, name: str, asked: Address) -> None:
        """Take the word of a node: others may not have heard it yet."""
        assert self._pool.slots is not None
        self._pool.slots.move(error.slot_id, redirected_to(error, asked))
        if self._homes.get(name) == asked:
            self._homes[name] = redirected_to(error, asked)

    async def _hear_mark(self, name: str) -> None:
        assert self._pool.slots is not None
        nodes = [self._node(address) for address in self._pool.slots.nodes]
        await asyncio.gather(*(node.subscribe(name) for node in nodes), return_exceptions=True)

    # Slots that move

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_SECONDS):
                    await self._moved.wait()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._look()
            except REDIS_ERRORS as error:
                self._unsettled = True
                logger.debug("could not look for sharded channels: %s", error)
            except Exception:
                logger.exception("the sharded subscriptions to Redis failed")
            await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        """Hear what is not heard where it is now, and marks on all nodes."""
        away = any(node.away for node in self._nodes.values())
        if self._moved.is_set() or self._unsettled or away:
            self._moved.clear()
            await self._pool.refresh(RETRY_SECONDS)
            await self._bring_home([name for name in self._homes if self._is_astray(name)])
        else:
            await self._pool.refresh(BELIEVED_SECONDS)
        for mark in tuple(self._marks):
            await self._hear_mark(mark)
        await self._leave_nodes()

    def _is_astray(self, name: str) -> bool:
        """
        Return whether a channel is not heard. While its home says nothing else it is, whatever
        other nodes think, which may not have heard of a change yet.
        """
        assert self._pool.slots is not None
        home = self._homes[name]
        node = self._node(home)
        left = node.away or home not in self._pool.slots.nodes
        return not node.wants(name, sharded=True) or (left and self._owner_of(name) != home)

    def _owner_of(self, name: str) -> Address | None:
        assert self._pool.slots is not None
        return self._pool.slots.owner_of(_slot_of(name))

    async def _bring_home(self, astray: list[str]) -> None:
        names = [name for name in astray if self._owner_of(name) is not None]
        for name in names:
            self._node(self._homes[name]).unsubscribe(name, sharded=True)
            self._homes[name] = self._owner_of(name) or self._homes[name]
        answers = await asyncio.gather(*map(self._hear, names), return_exceptions=True)
        heard = sum(not isinstance(answer, BaseException) for answer in answers)
        self._unsettled = heard < len(astray)
        if heard:
            logger.info("slots have moved: %d sharded channels are heard again", heard)
            self._renewed()

    async def _leave_nodes(self) -> None:
        """Close connections to what is no node any more."""
        assert self._pool.slots is not None
        if left := self._nodes.keys() - self._pool.slots.nodes:
            for address in left.difference(self._homes.values()):
                await self._nodes.pop(address).aclose()


def _slot_of(name: str) -> int:
    return key_slot(name.encode())


def _key(name: str, pattern: bool = False, sharded: bool = False) -> Key:
    return ("PSUBSCRIBE" if pattern else "SSUBSCRIBE" if sharded else "SUBSCRIBE", name)


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
