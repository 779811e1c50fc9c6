"""
Connections to the nodes of a cluster.

redis-py's own cluster client (8.1) makes all connections anew whenever it looks at the nodes, and
neither its pipeline nor its pub/sub fits: the one refuses EVALSHA and PUBLISH, the other is bound
to one node. What is needed from a cluster is one answer: who has which slot.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

import redis
from redis.exceptions import AskError, MovedError, TryAgainError

from realtime.concurrency import check_cancelled

from .commands import ANSWER_SECONDS, CONNECT_SECONDS, REDIS_ERRORS, Command, Script
from .exchange import execute_each
from .hosts import Host
from .slots import SLOTS, Address, SlotMap, redirected_to, slot_of

#: Seconds for which it is believed who is there, while nothing speaks against it.
BELIEVED_SECONDS: Final = 5.0

#: Seconds between two attempts to send what a cluster that changes did not take.
RETRY_SECONDS: Final = 0.05

#: Answers of a node that has not executed a command: another has to, or it has to later.
REDIRECTIONS: Final = (AskError, TryAgainError)

T = TypeVar("T")


class _Nodes:
    """The nodes that are known, and what is made for each."""

    def __init__(self, host: Host, factory: Callable[[Host], Any]) -> None:
        self._options = dict(host)
        self._seeds: list[Address] = [(name, port) for name, port in self._options.pop("cluster")]
        self._factory = factory
        self._made: dict[Address, Any] = {}
        self._asked_at = -math.inf
        #: Who has which slot, once a node was asked.
        self.slots: SlotMap | None = None

    def of(self, address: Address) -> Any:
        """Return what was made for a node."""
        if address not in self._made:
            name, port = address
            made = self._factory({**self._options, "host": name, "port": port})
            return self._made.setdefault(address, made)  # another thread may have been here
        return self._made[address]

    def in_some_order(self) -> Iterator[Address]:
        """Return all nodes, those of the configuration last."""
        known = list(self.slots.nodes) if self.slots is not None else []
        random.shuffle(known)
        return chain(known, (each for each in self._seeds if each not in known))

    def contain(self, address: Address) -> bool:
        """Return whether this is one of them, or may be, under another name."""
        return self.slots is None or address in self.slots.nodes or address in self._seeds

    def are_known(self, seconds: float) -> bool:
        """Return whether a node was asked within so many seconds."""
        return self.slots is not None and time.monotonic() - self._asked_at < seconds

    def doubt(self) -> None:
        """Ask again next time."""
        self._asked_at = -math.inf

    def learn(self, answer: list[Any], asked: Address) -> None:
        """Take what a node says."""
        self.slots = SlotMap(answer, asked)
        self._asked_at = time.monotonic()


class ClusterPool:
    """
    Where connections to the nodes come from.

    Args:
        host: What :mod:`realtime.redis.hosts` makes of a cluster.
        create_pool: Makes a pool for one node.
    """

    def __init__(self, host: Host, create_pool: Callable[[Host], Any]) -> None:
        # A node that hangs must not hold up the question who has its slots.
        self._nodes = _Nodes({**host, "socket_timeout": CONNECT_SECONDS}, create_pool)
        self._asking = asyncio.Lock()

    @property
    def slots(self) -> SlotMap | None:
        """Who has which slot, once :meth:`refresh` has asked."""
        return self._nodes.slots

    def of(self, address: Address) -> NodePool:
        """Return where connections to one node come from."""
        return NodePool(self, self._nodes.of(address))

    async def connect(self) -> Any:
        """
        Return a connection to some node: what is published on any of them is heard there.

        Raises:
            redis.ConnectionError: If none answers.
        """
        await self.refresh(BELIEVED_SECONDS)
        return await self._first(self._connect_to)

    async def is_current(self, connection: Any) -> bool:
        """
        Return whether a connection leads to a node of the cluster.

        Raises:
            redis.ConnectionError: If no node says so.
        """
        await self.refresh(BELIEVED_SECONDS)
        return self._nodes.contain((connection.host, connection.port))

    async def refresh(self, seconds: float = 0.0) -> None:
        """
        Ask a node who has which slot, unless one was asked within so many seconds.

        Raises:
            redis.ConnectionError: If none answers.
        """
        async with self._asking:
            if not self._nodes.are_known(seconds):
                await self._first(self._learn_from)

    async def aclose(self) -> None:
        """Do nothing: each connection belongs to who made it."""

    async def _first(self, attempt: Callable[[Address], Awaitable[T]]) -> T:
        """Return what the first node gives with which the attempt succeeds."""
        failure: BaseException | None = None
        for address in self._nodes.in_some_order():
            try:
                return await attempt(address)
            except REDIS_ERRORS as error:
                failure = error
        raise redis.ConnectionError(f"no node of the cluster answers: {failure}") from failure

    async def _connect_to(self, address: Address) -> Any:
        connection = self._nodes.of(address).make_connection()
        try:
            await connection.connect()
            check_cancelled()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _learn_from(self, address: Address) -> None:
        connection = await self._connect_to(address)
        try:
            await connection.send_command(*SLOTS)
            self._nodes.learn(await connection.read_response(), address)
            check_cancelled()
        finally:
            await connection.disconnect(nowait=True)


class NodePool:
    """Where connections to one node of a cluster come from."""

    def __init__(self, cluster: ClusterPool, pool: Any) -> None:
        self._pool = pool
        self.is_current = cluster.is_current

    async def connect(self) -> Any:
        """
        Return a connection.

        Raises:
            One of :data:`.REDIS_ERRORS`.
        """
        connection = self._pool.make_connection()
        await connection.connect()
        return connection


class ClusterClient:
    """A cluster for synchronous code; it may be shared by threads."""

    def __init__(self, host: Host, create_client: Callable[[Host], Any]) -> None:
        self._nodes = _Nodes(host, create_client)
        self._asking = threading.Lock()

    def ping(self) -> bool:
        """
        Return True if a node answers.

        Raises:
            redis.ConnectionError: If none does.
        """
        self._refresh()
        return True

    def execute_each(
        self,
        commands: Sequence[Command],
        scripts: Iterable[Script] = (),
        replicas: int = 0,
    ) -> list[Any]:
        """
        Do what :func:`.execute_each` does, on the nodes that have the keys.

        Raises:
            redis.RedisError: If it is not known what became of some; others may have been done.
        """
        answers: dict[int, Any] = {}
        deadline = time.monotonic() + ANSWER_SECONDS
        self._refresh(BELIEVED_SECONDS)
        rest = list(range(len(commands)))
        while rest:
            for address, numbers in self._by_node(commands, rest).items():
                there = [commands[number] for number in numbers]
                found = self._execute(address, there, scripts, replicas, True)
                answers |= zip(numbers, found, strict=True)
            rest = [number for number in rest if isinstance(answers[number], REDIRECTIONS)]
            if rest and time.monotonic() > deadline:
                break
            if rest:
                time.sleep(RETRY_SECONDS)
                self._refresh()
        return [answers[number] for number in range(len(commands))]

    def _by_node(self, commands: Sequence[Command], numbers: list[int]) -> dict[Address, list[int]]:
        assert self._nodes.slots is not None
        of_node: dict[Address, list[int]] = {}
        for number in numbers:
            address = self._nodes.slots.primary_of(slot_of(commands[number]))
            of_node.setdefault(address, []).append(number)
        return of_node

    def _execute(self, address: Address, commands: Sequence[Command], *options: Any) -> list[Any]:
        """Execute on one node, and on another what this one just gives away."""
        try:
            answers = execute_each(self._nodes.of(address), commands, *options)
            for number, answer in enumerate(answers):
                if isinstance(answer, AskError) and not isinstance(answer, MovedError):
                    other = self._nodes.of(redirected_to(answer, address))
                    asking = [("ASKING",), commands[number]]
                    _, answers[number] = execute_each(other, asking, *options)
        except REDIS_ERRORS:
            self._nodes.doubt()  # another may have taken over
            raise
        return answers

    def _refresh(self, seconds: float = 0.0) -> None:
        failure: BaseException | None = None
        with self._asking:
            if self._nodes.are_known(seconds):
                return
            for address in self._nodes.in_some_order():
                try:
                    return self._nodes.learn(
                        self._nodes.of(address).execute_command(*SLOTS), address
                    )
                except REDIS_ERRORS as error:
                    failure = error
        raise redis.ConnectionError(f"no node of the cluster answers: {failure}") from failure
