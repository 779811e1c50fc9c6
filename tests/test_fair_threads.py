"""FairThreads: turns by key, a bounded queue, and who leaves it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from realtime.concurrency import MAX_TOGETHER, Busy, FairThreads


class Gate:
    """A thread that works until it is let go."""

    def __init__(self, threads: FairThreads, key: str = "gate") -> None:
        self._open, self._began = threading.Event(), threading.Event()
        self.future = threads.submit(key, self._wait)
        assert self._began.wait(5)

    def _wait(self) -> None:
        self._began.set()
        self._open.wait(10)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def threads() -> FairThreads:
    return FairThreads(1, limit=8, limit_of_one=5, name="test")


@pytest.fixture
def gate(threads: FairThreads) -> Iterator[Gate]:
    """What is under way while others come."""
    gate = Gate(threads)
    yield gate
    gate.open()


async def test_each_key_has_its_turn(threads: FairThreads, gate: Gate) -> None:
    done: list[str] = []
    futures = [
        threads.submit(name[0], done.append, name) for name in ("a1", "a2", "a3", "b1", "b2", "c1")
    ]
    gate.open()
    await asyncio.gather(*map(asyncio.wrap_future, futures))
    assert done == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_what_is_too_much_is_refused_and_told_when_to_come_again(
    threads: FairThreads, gate: Gate
) -> None:
    futures = [threads.submit("a", int) for _ in range(5)]
    with pytest.raises(Busy):
        threads.submit("a", int)
    futures += [threads.submit(key, int) for key in ("b", "c", "d")]
    with pytest.raises(Busy) as busy:
        await threads.run("a", int)
    assert 1 <= busy.value.seconds < 60
    assert "busy for about" in str(busy.value)
    gate.open()
    assert await asyncio.gather(*map(asyncio.wrap_future, futures)) == [0] * 8
    assert await threads.run("a", int) == 0


async def test_few_can_not_fill_the_queue(threads: FairThreads, gate: Gate) -> None:
    done: list[str] = []
    many = [threads.submit(key, done.append, key) for key in ("a", "b") for _ in range(4)]
    others = [threads.submit(key, done.append, key) for key in ("c", "d", "c")]
    refused = [each for each in many if each.done()]
    assert refused == [many[2], many[3], many[7]]  # the last of the longest lines
    assert all(isinstance(each.exception(), Busy) for each in refused)
    with pytest.raises(Busy):  # a line that would be as long as the longest
        threads.submit("c", done.append, "c")
    gate.open()
    left = [each for each in many if each not in refused]
    await asyncio.gather(*map(asyncio.wrap_future, [*left, *others]))
    assert sorted(done) == ["a", "a", "b", "b", "b", "c", "c", "d"]
    assert (threads._waiting, threads._lines) == (0, {})


async def test_who_leaves_just_when_room_is_made_has_left(threads: FairThreads, gate: Gate) -> None:
    many = [threads.submit(key, int) for key in ("a", "b") for _ in range(4)]
    with threads._changed:  # it is cancelled, and not yet out of its line
        many[3]._state = "CANCELLED"
    other = threads.submit("c", int)
    assert threads._waiting == 8
    gate.open()
    assert await asyncio.wrap_future(other) == 0


async def test_it_takes_longer_to_wait_for_what_is_slow(threads: FairThreads) -> None:
    threads._seconds = 10.0
    gate = Gate(threads)
    for number in range(8):
        threads.submit(number, int)
    with pytest.raises(Busy) as busy:
        threads.submit("more", int)
    assert busy.value.seconds == 80
    gate.open()


async def test_who_is_cancelled_leaves_the_queue(threads: FairThreads, gate: Gate) -> None:
    done: list[str] = []
    waiting = [asyncio.ensure_future(threads.run("a", done.append, "a")) for _ in range(5)]
    await asyncio.sleep(0)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    assert (threads._waiting, dict(threads._lines).get("a")) == (0, None)
    last = threads.submit("b", done.append, "b")
    gate.open()
    await asyncio.wrap_future(last)
    assert done == ["b"]


async def test_what_is_under_way_goes_on_though_nobody_waits(threads: FairThreads) -> None:
    began, done = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        time.sleep(0.05)
        done.set()

    waiting = asyncio.ensure_future(threads.run("a", work))
    await asyncio.to_thread(began.wait, 5)
    waiting.cancel()
    assert await asyncio.to_thread(done.wait, 5)
    assert await threads.run("a", int) == 0


async def test_an_exception_is_that_of_who_asked_and_the_thread_goes_on(
    threads: FairThreads,
) -> None:
    def fail(error: BaseException) -> Any:
        raise error

    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="StopIteration"):  # which no future takes
            await threads.run("a", next, iter(()))
    for error in (ValueError("mine"), SystemExit(3), KeyError()):
        with pytest.raises(type(error)):
            threads.submit("a", fail, error).result(5)
    assert await threads.run("a", threading.active_count) > 0
    assert threads._started == 1


async def test_threads_begin_as_they_are_needed_and_no_more() -> None:
    threads = FairThreads(3, limit=100, limit_of_one=100, name="test")
    assert await threads.run("a", int) == 0
    assert threads._started == 1
    gates = [Gate(threads) for _ in range(3)]
    futures = [threads.submit("a", int) for _ in range(20)]
    assert threads._started == 3
    for gate in gates:
        gate.open()
    assert await asyncio.gather(*map(asyncio.wrap_future, futures)) == [0] * 20


async def test_a_thread_that_may_not_be_nice_works_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbid(*args: int) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(os, "setpriority", forbid)
    threads = FairThreads(1, limit=8, limit_of_one=5, name="test")
    async with asyncio.timeout(5):
        assert await threads.run("a", int) == 0


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="no niceness here")
async def test_they_are_nicer_than_the_event_loop() -> None:
    threads = FairThreads(1, limit=8, limit_of_one=5, name="test")

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await threads.run("a", niceness) > niceness() or niceness() == 19


class Together:
    """A function that is called with what waits for it; what is odd fails."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, numbers: list[int]) -> list[str | Exception]:
        self.calls.append(numbers)
        return [ValueError(f"{number} is odd") if number % 2 else str(number) for number in numbers]


async def test_what_waits_for_one_function_is_one_call_in_the_order_of_turns(
    threads: FairThreads, gate: Gate
) -> None:
    together = Together()
    waiting = [
        asyncio.ensure_future(threads.run_together(key, together, number))
        for number, key in enumerate("aab")
    ]
    await asyncio.sleep(0)
    gate.open()
    first, second, third = await asyncio.gather(*waiting, return_exceptions=True)
    assert together.calls == [[0, 2, 1]]
    assert (first, third) == ("0", "2")
    assert isinstance(second, ValueError) and str(second) == "1 is odd"


async def test_another_function_is_not_passed_over(threads: FairThreads, gate: Gate) -> None:
    one, other, done = Together(), Together(), list[str]()
    waiting = [
        asyncio.ensure_future(threads.run_together(key, function, number))
        for number, (key, function) in enumerate([("a", one), ("b", one), ("c", other)])
    ]
    waiting += [asyncio.ensure_future(threads.run("d", done.append, "d"))]
    waiting += [asyncio.ensure_future(threads.run_together("e", one, 8))]
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert one.calls == [[0, 1], [8]]
    assert (other.calls, done) == ([[2]], ["d"])


async def test_a_call_together_has_a_bound() -> None:
    threads = FairThreads(1, limit=1000, limit_of_one=1000, name="test")
    gate, together = Gate(threads), Together()
    waiting = [
        asyncio.ensure_future(threads.run_together("a", together, 2 * number))
        for number in range(MAX_TOGETHER + 1)
    ]
    await asyncio.sleep(0)
    gate.open()
    assert len(await asyncio.gather(*waiting)) == MAX_TOGETHER + 1
    assert [len(call) for call in together.calls] == [MAX_TOGETHER, 1]


async def test_who_left_is_not_in_the_call_and_an_error_of_it_is_that_of_all(
    threads: FairThreads, gate: Gate
) -> None:
    calls = []

    def fail(numbers: list[int]) -> list[int | Exception]:
        calls.append(numbers)
        raise RuntimeError("away")

    waiting = [asyncio.ensure_future(threads.run_together("a", fail, each)) for each in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    gate.open()
    first, _, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert calls == [[0, 2]]
    assert repr(first) == repr(last) == "RuntimeError('away')"
