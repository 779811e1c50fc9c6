"""A crowd of sockets that are ready at once, and the memory that it took."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest

from realtime.server.memory import CROWD, FLOOD_BYTES, Memory
from realtime.server.traffic import SOCKETS_PER_TURN, bound_sockets


def test_a_turn_looks_at_some_sockets_and_all_have_theirs_in_order() -> None:
    loop = asyncio.new_event_loop()
    bound_sockets(loop)
    turns: list[int] = []
    heard: list[int] = []

    async def run(stack: ExitStack) -> None:
        count = 3 * SOCKETS_PER_TURN + 7
        for number in range(count):
            here, there = map(stack.enter_context, socket.socketpair())
            there.send(b"x")
            loop.add_reader(here, take, number, here)
        async with asyncio.timeout(10):
            while len(heard) < count:
                before = len(heard)
                await asyncio.sleep(0)
                turns.append(len(heard) - before)

    def take(number: int, ready: socket.socket) -> None:
        loop.remove_reader(ready)
        heard.append(number)

    with ExitStack() as stack:
        loop.run_until_complete(run(stack))
    loop.close()
    assert max(turns) == SOCKETS_PER_TURN
    assert sorted(heard) == list(range(len(heard)))


def test_memory_is_given_back_when_a_crowd_has_gone_and_not_before() -> None:
    memory = Memory()
    given: list[int] = []
    memory._trim = given.append
    assert [memory.look(count) for count in (10, CROWD + 20, 21)] == [False, False, False]
    assert memory.look(20)
    assert not memory.look(0)
    assert given == [0]


def test_memory_is_given_back_after_a_flood_once_it_grows_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = iter([100, 100 + FLOOD_BYTES - 1, 200 + FLOOD_BYTES, 200 + FLOOD_BYTES, 150, 151, 151])
    monkeypatch.setattr("realtime.server.memory.memory_bytes", lambda: next(sizes))
    memory = Memory()  # of 100 bytes
    given: list[int] = []
    memory._trim = given.append
    assert [memory.look(0) for _ in range(2)] == [False, False]  # too little, and still growing
    assert memory.look(0)  # which leaves 150
    assert not memory.look(0)
    assert not memory.look(0)
    assert given == [0]


def test_glibc_has_what_gives_it_back() -> None:
    assert Memory()._trim is None or callable(Memory()._trim)
