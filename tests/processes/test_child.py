"""A server process as its supervisor sees it; small programs stand for daphne."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable

import pytest

from gateway.processes import child
from gateway.processes.child import Child

from .conftest import BEATS, FAILS, HANGS

ServeBy = Callable[[str], None]


async def test_a_child_says_that_it_serves(serve_by: ServeBy, listener: socket.socket) -> None:
    process = await Child.start(listener)
    assert await process.serves()
    assert not process.end.done()
    await process.stop()
    assert await process.end == "signal 15"


async def test_a_child_that_ends_at_once_never_served(
    serve_by: ServeBy, listener: socket.socket
) -> None:
    serve_by(FAILS)
    process = await Child.start(listener)
    assert not await process.serves()
    assert await process.end == "exit status 3"


async def test_a_child_inherits_the_socket_that_it_is_told_of(
    serve_by: ServeBy, listener: socket.socket
) -> None:
    serve_by(
        "import socket, sys; fd = int(sys.argv[sys.argv.index('--fd') + 1]); "
        "os.write(0, b'serving'); socket.socket(fileno=fd).accept()[0].sendall(b'hello')"
    )
    process = await Child.start(listener)
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        assert client.recv(5) == b"hello"
    assert await process.end == "exit status 0"


async def test_a_child_has_a_process_group_of_its_own(
    serve_by: ServeBy, listener: socket.socket
) -> None:
    process = await Child.start(listener)
    assert await process.serves()
    assert os.getpgid(process.pid) == process.pid != os.getpgrp()
    await process.stop()


async def test_a_child_that_retires_is_told_so_and_has_time_to_finish(
    serve_by: ServeBy, listener: socket.socket
) -> None:
    serve_by("os.write(0, b'serving'); raise SystemExit(len(os.read(0, 16)))")
    process = await Child.start(listener)
    assert await process.serves()
    await process.retire()
    assert await process.end == f"exit status {len('retire')}"


async def test_a_child_that_has_ended_may_retire(
    serve_by: ServeBy, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "FINISH_SECONDS", 0)
    serve_by(FAILS)
    process = await Child.start(listener)
    await process.end
    await process.retire()


async def test_a_child_that_does_not_end_in_time_is_killed(
    serve_by: ServeBy,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(child, "GRACE_SECONDS", 0.1)
    monkeypatch.setenv("STOMP_DRAIN_SECONDS", "0")
    serve_by(HANGS)
    process = await Child.start(listener)
    assert await process.serves()
    await process.stop()
    assert await process.end == "signal 9"
    assert f"pid {process.pid} did not end within 0 s: killed" in caplog.messages


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({}, 30),
        ({"DELAY_": "7", "": "120"}, 127),
        ({"": "0"}, 0),
        ({"": "many"}, 30),
        ({"": "+45"}, 45),
    ],
    ids=str,
)
def test_a_child_has_as_long_as_it_is_told_to_take(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], seconds: int
) -> None:
    for name in ("DELAY_", ""):
        monkeypatch.delenv(f"STOMP_DRAIN_{name}SECONDS", raising=False)
    for name, value in told.items():
        monkeypatch.setenv(f"STOMP_DRAIN_{name}SECONDS", value)
    assert child.goodbye_seconds() == seconds


async def test_a_child_is_told_once_to_end(
    serve_by: ServeBy, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[signal.Signals] = []
    serve_by(BEATS)
    process = await Child.start(listener)
    assert await process.serves()
    send = process.send
    monkeypatch.setattr(process, "send", lambda number: (sent.append(number), send(number)))
    await asyncio.gather(process.stop(), process.stop())
    assert sent == [signal.SIGTERM]


async def test_a_child_that_falls_silent_is_killed(
    serve_by: ServeBy,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(child, "SILENT_SECONDS", 0.5)
    serve_by(BEATS)
    process = await Child.start(listener)
    assert await process.serves()
    await asyncio.sleep(1.5)
    assert not process.end.done()
    os.kill(process.pid, signal.SIGSTOP)
    assert await process.end == "signal 9"
    assert f"pid {process.pid} hangs: silent for 0 s; killed" in caplog.messages


@pytest.mark.parametrize("code", [BEATS, "os.write(0, b'serving'); signal.pause()"])
async def test_a_child_that_is_told_to_end_or_never_said_anything_may_be_silent(
    serve_by: ServeBy,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: str,
) -> None:
    monkeypatch.setattr(child, "SILENT_SECONDS", 0.3)
    serve_by("signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), os._exit(5))); " + code)
    process = await Child.start(listener)
    assert await process.serves()
    await asyncio.sleep(0.6)
    await process.stop()
    assert await process.end == "exit status 5"
    assert "hangs" not in caplog.text
