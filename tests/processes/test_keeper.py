"""A server on one socket, which is started again and replaced; small programs stand for daphne."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from gateway.processes import child, keeper
from gateway.processes.child import Child
from gateway.processes.keeper import Delays, Keeper

from .conftest import FAILS, SERVES

ServeBy = Callable[[str], None]


@pytest.fixture
async def kept(
    serve_by: ServeBy, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Keeper]:
    """A keeper at work, whose children need no time to finish."""
    monkeypatch.setattr(child, "FINISH_SECONDS", 0)
    kept = Keeper(1, listener)
    assert await kept.start()
    work = asyncio.create_task(kept.keep())
    yield kept
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    await asyncio.gather(*(process.stop() for process in kept.children))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_the_delays_between_starts_grow_to_half_a_minute() -> None:
    delays = Delays()
    assert [delays.take() for _ in range(8)] == [0, 1, 3, 7, 15, 31, 31, 31]


def test_the_delays_begin_again_when_they_are_reset() -> None:
    delays = Delays()
    assert [delays.take(), delays.take()] == [0, 1]
    delays.reset()
    assert delays.take() == 0


async def test_a_child_that_ended_is_followed_by_another_at_once(
    kept: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    first = kept.serving
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: kept.serving is not first)
    assert f"worker 1 (pid {first.pid}) ended unexpectedly (signal 9)" in caplog.messages
    assert kept.children == {kept.serving}


async def test_a_child_that_ends_soon_again_is_followed_later(
    kept: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    first = kept.serving
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: kept.serving is not first)
    os.kill(kept.serving.pid, signal.SIGKILL)
    await until(lambda: "worker 1 is started again in 1 s" in caplog.messages)


async def test_a_child_that_served_for_long_is_followed_at_once_however_often(
    kept: Keeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "STEADY_SECONDS", 0)
    for _ in range(3):
        before = kept.serving
        os.kill(before.pid, signal.SIGKILL)
        await until(lambda before=before: kept.serving is not before)  # type: ignore[misc]
    assert "started again" not in caplog.text


async def test_starts_that_fail_are_tried_until_one_succeeds(
    kept: Keeper,
    serve_by: ServeBy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(keeper, "MAX_DELAY", 0)
    serve_by(FAILS)
    first = kept.serving
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: caplog.text.count("ended before it served (exit status 3)") > 2)
    serve_by(SERVES)
    await until(lambda: kept.serving is not first)


async def test_a_new_child_serves_before_the_old_one_retires(
    kept: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = kept.serving
    serving: list[Child] = []
    retire = Child.retire

    async def note(child: Child) -> None:
        serving.append(kept.serving)
        await retire(child)

    monkeypatch.setattr(Child, "retire", note)
    assert await kept.replace()
    assert serving == [kept.serving]
    assert kept.serving is not old
    assert old.end.done()


async def test_a_child_that_is_replaced_is_no_failure(
    kept: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    assert await kept.replace()
    await asyncio.sleep(0.1)
    assert "unexpectedly" not in caplog.text
    assert kept.children == {kept.serving}


async def test_the_old_child_stays_if_the_new_one_can_not_serve(
    kept: Keeper, serve_by: ServeBy
) -> None:
    old = kept.serving
    serve_by(FAILS)
    assert not await kept.replace()
    assert kept.serving is old
    assert not old.end.done()
