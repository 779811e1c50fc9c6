"""Commands sent to the nodes of a cluster."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import redis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from .cluster import BELIEVED_SECONDS, REDIRECTIONS, RETRY_SECONDS, ClusterPool
from .commands import ANSWER_SECONDS, REDIS_ERRORS, Call, Command, Script
from .pipeline import MAX_COMMANDS, Pipeline
from .slots import Address, redirected_to, slot_of

logger = logging.getLogger(__name__)

#: Answers after which, as after a lost connection, another node may have taken over.
_DOUBTFUL: Final = (ClusterDownError, redis.ReadOnlyError)


class ClusterPipeline:
    """
    A :class:`.Pipeline` to each node; commands go where their first key is.

    What a node did not execute, since it does not have the slot (any more), goes to the one that
    does. Meanwhile what comes for this slot waits, so that the order is kept. What fails in any
    other way is never sent again. What :attr:`.Joinable.waits` is held in the same way.

    Args:
        pool: Where connections come from.
        scripts: What is called.
    """

    def __init__(self, pool: ClusterPool, scripts: Iterable[Script] = ()) -> None:
        self._pool = pool
        self._scripts = scripts
        self._pipelines: dict[Address, Pipeline] = {}
        self._under_way: set[_Order] = set()
        self._followed: Counter[int] = Counter()  # how many of them may be, by their slots
        #: By slots: those that have moved or are not known yet, and where one waits for another.
        self._held: dict[int, list[_Order]] = {}
        self._settling: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._numbers = itertools.count()

    def submit(self, command: Command, *, replicas: int = 0) -> asyncio.Future[Any]:
        """Do what :meth:`.Pipeline.submit` does; the order is kept for each slot."""
        order = _Order(command, replicas, next(self._numbers))
        if self._pool.slots is None:
            self._hold(order)
        else:
            self._send_or_hold(order)
        return order.future

    def submit_all(
        self, commands: Sequence[Command], *, replicas: int = 0
    ) -> asyncio.Future[list[Any]]:
        """Do what :meth:`.Pipeline.submit_all` does; the order is kept for each slot."""
        submitted = [self.submit(command, replicas=replicas) for command in commands]
        return asyncio.gather(*submitted, return_exceptions=True)

    @property
    def full(self) -> bool:
        """Whether so much is on its way that the next should wait."""
        return any(pipeline.full for pipeline in self._pipelines.values()) or self._holds_many

    @property
    def _holds_many(self) -> bool:
        return self._settling is not None and sum(map(len, self._held.values())) >= MAX_COMMANDS

    async def ready(self) -> None:
        """Return when another command may be submitted."""
        for pipeline in tuple(self._pipelines.values()):
            await pipeline.ready()
        while self._settling is not None and self._holds_many:
            await asyncio.wait([self._settling])

    async def places(self) -> set[Address | None]:
        """
        Return the nodes that have keys, and None if there are some that no node has.

        Raises:
            redis.ConnectionError: If no node answers.
        """
        await self._pool.refresh(BELIEVED_SECONDS)
        assert self._pool.slots is not None
        return self._pool.slots.primaries

    def place_of(self, key: str) -> Address | None:
        """Return which of them has a key."""
        assert self._pool.slots is not None
        return self._pool.slots.owner_of(key_slot(key.encode()))

    async def aclose(self) -> None:
        """Close the connections; commands that wait are answered first."""
        while self._under_way or self._settling or self._refreshing:
            tasks = [task for task in (self._settling, self._refreshing) if task is not None]
            await asyncio.wait([*tasks, *(each.answer for each in self._under_way)])
        for pipeline in self._pipelines.values():
            await pipeline.aclose()

    def _pipeline(self, address: Address) -> Pipeline:
        if address not in self._pipelines:
            self._pipelines[address] = Pipeline(self._pool.of(address), self._scripts, by_slot=True)
        return self._pipelines[address]

    def _send_or_hold(self, order: _Order) -> None:
        if order.slot in self._held or (order.waits and self._followed[order.slot]):
            self._hold(order)
        else:
            self._send(order)

    def _send(self, order: _Order) -> None:
        assert self._pool.slots is not None
        try:
            order.address = self._pool.slots.primary_of(order.slot)
        except redis.RedisError as error:
            self._refuse(order, error)
        else:
            self._send_to(order, self._pipeline(order.address))

    def _send_to(self, order: _Order, pipeline: Pipeline) -> None:
        self._under_way.add(order)
        if order.followed:
            self._followed[order.slot] += 1
        order.answer = pipeline.submit(order.command, replicas=order.replicas)
        order.answer.add_done_callback(lambda answer: self._answered(order, answer))

    def _answered(self, order: _Order, answer: asyncio.Future[Any]) -> None:
        self._under_way.discard(order)
        if order.followed:
            self._followed[order.slot] -= 1
        error = answer.exception()
        if error is None:
            order.succeed(answer.result())
        elif isinstance(error, REDIRECTIONS) and order.may_be_sent_again():
            self._redirect(order, error)
        else:
            self._refuse(order, error)

    def _redirect(self, order: _Order, error: BaseException) -> None:
        if isinstance(error, AskError) and not isinstance(error, MovedError):
            # The slot is on its way to another node, and this key is there already; the next
            # commands still have to ask the old one.
            order.address = redirected_to(error, order.address)
            pipeline = self._pipeline(order.address)
            pipeline.submit(("ASKING",)).add_done_callback(lambda answer: answer.exception())
            self._send_to(order, pipeline)
        else:
            order.moved = error if isinstance(error, MovedError) else None
            self._hold(order)

    def _refuse(self, order: _Order, error: BaseException) -> None:
        order.fail(error)
        harmless = isinstance(error, redis.ResponseError) and not isinstance(error, _DOUBTFUL)
        if not harmless and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            await self._pool.refresh(RETRY_SECONDS)
        except REDIS_ERRORS:
            pass  # who sends the next command will be told
        except Exception:
            logger.exception("the nodes of the cluster could not be asked")
        finally:
            self._refreshing = None

    # Slots that move, and what waits for others

    def _hold(self, order: _Order) -> None:
        self._held.setdefault(order.slot, []).append(order)
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        """Send what is held to where it belongs now, again and again until nothing is."""
        try:
            while self._held:
                await self._drain()
                unsure = self._pool.slots is None or self._has_redirected
                if unsure:
                    await self._pool.refresh(RETRY_SECONDS)
                self._send_held()
                if unsure:
                    await asyncio.sleep(RETRY_SECONDS)
        except Exception as error:
            if not isinstance(error, REDIS_ERRORS):
                logger.exception("the commands for a cluster could not be sent")
            for order in self._take_held():
                order.fail(error)
        finally:
            self._settling = None

    @property
    def _has_redirected(self) -> bool:
        return any(order.times for order in itertools.chain(*self._held.values()))

    async def _drain(self) -> None:
        """Wait for what is under way in the slots: it may come back, and is older."""
        while waiting := [each.answer for each in self._under_way if each.slot in self._held]:
            await asyncio.wait(waiting)

    def _send_held(self) -> None:
        assert self._pool.slots is not None
        for order in self._take_held():
            if order.moved is not None and order.times > 1:  # who was asked has not heard it yet
                self._pool.slots.move(order.slot, redirected_to(order.moved, order.address))
            self._send_or_hold(order)

    def _take_held(self) -> list[_Order]:
        held, self._held = self._held, {}
        return sorted(itertools.chain(*held.values()), key=lambda order: order.number)


class _Order:
    """A command, and who waits for its answer."""

    answer: asyncio.Future[Any]

    def __init__(self, command: Command, replicas: int, number: int) -> None:
        self.command = command
        self.replicas = replicas
        self.number = number
        self.slot = slot_of(command)
        self.followed = not isinstance(command, (tuple, Call)) and command.followed
        self.waits = not isinstance(command, (tuple, Call)) and command.waits
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        #: Who was asked last, and said what.
        self.address: Address = ("", 0)
        self.moved: MovedError | None = None
        #: How often it was redirected, and until when it may be.
        self.times = 0
        self._deadline = 0.0

    def may_be_sent_again(self) -> bool:
        """Count a redirection, and return whether another one may follow."""
        now = self.future.get_loop().time()
        if self.times == 0:
            self._deadline = now + ANSWER_SECONDS
        self.times += 1
        return now < self._deadline

    def succeed(self, answer: Any) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            if not isinstance(error, redis.RedisError):
                error = redis.ConnectionError(f"the cluster is away: {error!r}")
            self.future.set_exception(error)
