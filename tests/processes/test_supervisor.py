"""Several servers under one supervisor, and its signals; small programs stand for daphne."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.processes import child, supervisor
from gateway.processes.supervisor import supervise, worker_count
from tests.conftest import free_port

from .conftest import FAILS, HANGS

ServeBy = Callable[[str], None]


@pytest.mark.parametrize(("text", "count"), [("", 1), ("1", 1), ("4", 4), ("016", 16)])
def test_workers_is_the_number_of_server_processes(
    monkeypatch: pytest.MonkeyPatch, text: str, count: int
) -> None:
    monkeypatch.setenv("WORKERS", text)
    assert worker_count() == count


def test_without_workers_there_is_one_server_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKERS", raising=False)
    assert worker_count() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the cores of a process")
def test_auto_is_one_for_each_core_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKERS", "auto")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 5})
    assert worker_count() == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "AUTO", " 2"])
def test_a_wrong_number_of_workers_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("WORKERS", text)
    with pytest.raises(SystemExit, match=f"WORKERS is '{text}': it has to be a number from 1"):
        worker_count()


class Gone(Exception):
    """What is raised instead of the end of this program."""


def test_without_workers_the_program_goes_on_as_daphne(monkeypatch: pytest.MonkeyPatch) -> None:
    def become_daphne(listener: socket.socket) -> None:
        with listener:
            assert listener.getsockname() == ("127.0.0.1", port)
        raise Gone

    port = free_port()
    monkeypatch.delenv("WORKERS", raising=False)
    monkeypatch.delenv("HOST", raising=False)
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.setattr(supervisor, "become_daphne", become_daphne)
    with pytest.raises(Gone):
        supervisor.main()


def test_daphne_inherits_the_socket(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    def execute(path: str, command: list[str]) -> None:
        assert command[:5] == [path, "-m", "daphne", "--fd", str(listener.fileno())]
        assert os.get_inheritable(listener.fileno())
        raise Gone

    monkeypatch.setattr(os, "execv", execute)
    with pytest.raises(Gone):
        supervisor.become_daphne(listener)


@pytest.fixture
async def status(
    serve_by: ServeBy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[asyncio.Task[int]]:
    """The exit status of a supervisor of two servers that serve."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(child, "FINISH_SECONDS", 0)
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    status = asyncio.create_task(supervise(listeners))
    await until(lambda: len(pids(caplog)) == 2)
    yield status
    if not status.done():
        signal.raise_signal(signal.SIGTERM)
    await status


def pids(log: pytest.LogCaptureFixture) -> dict[str, int]:
    """Return the process that serves as each worker, as the log says."""
    found = re.findall(r"worker (\d+) serves \(pid (\d+)\)", log.text)
    return {number: int(pid) for number, pid in found}


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_servers(
    status: asyncio.Task[int], caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    signal.raise_signal(number)
    assert await status == 0
    assert not any(lives(pid) for pid in pids(caplog).values())


async def test_sighup_replaces_the_servers_one_after_the_other(
    status: asyncio.Task[int], caplog: pytest.LogCaptureFixture
) -> None:
    before = pids(caplog)
    caplog.clear()
    signal.raise_signal(signal.SIGHUP)
    await until(lambda: "all workers are replaced" in caplog.messages)
    assert [message[:15] for message in caplog.messages] == [
        "replacing the w",
        "worker 1 serves",
        "worker 2 serves",
        "all workers are",
    ]
    assert not any(lives(pid) for pid in before.values())


async def test_the_old_servers_stay_if_a_new_one_can_not_serve(
    status: asyncio.Task[int], serve_by: ServeBy, caplog: pytest.LogCaptureFixture
) -> None:
    serve_by(FAILS)
    signal.raise_signal(signal.SIGHUP)
    await until(lambda: "the new worker can't serve: the old ones stay" in caplog.messages)
    assert all(lives(pid) for pid in pids(caplog).values())


async def test_a_second_signal_kills_what_does_not_end(
    serve_by: ServeBy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    serve_by(HANGS)
    listener = socket.create_server(("127.0.0.1", 0))
    status = asyncio.create_task(supervise([listener]))
    await until(lambda: len(pids(caplog)) == 1)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0.2)
    assert not status.done()
    signal.raise_signal(signal.SIGTERM)
    assert await status == 0
    assert not any(lives(pid) for pid in pids(caplog).values())


async def test_servers_that_can_not_even_start_end_the_supervisor(
    serve_by: ServeBy, caplog: pytest.LogCaptureFixture
) -> None:
    serve_by(FAILS)
    assert await supervise([socket.create_server(("127.0.0.1", 0))]) == 1
    assert "worker 1 ended before it served (exit status 3)" in caplog.messages
