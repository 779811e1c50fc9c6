"""``make run`` and ``make demo``, as a newcomer types them."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from gateway.processes import sockets
from tests.conftest import free_port
from tests.kit.clients import StompClient
from tests.kit.processes import PROJECT, TIMEOUT

pytestmark = pytest.mark.skipif(
    not (PROJECT / ".venv" / "run").exists(), reason="make test has not made .venv"
)


class MakeRun:
    """``make run``, or another command, in a terminal of its own, with what it printed."""

    def __init__(
        self, log: Path, *arguments: str, command: str = "run", under: Sequence[str] = ()
    ) -> None:
        self.log = log
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [*under, "make", command, *arguments],
                cwd=PROJECT,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self) -> str:
        self.popen.wait(TIMEOUT)
        return self.output

    def interrupt(self) -> str:
        os.killpg(self.popen.pid, signal.SIGINT)  # what Ctrl-C does
        return self.wait()


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A second, separate gateway: its own ports and database."""
    return [
        f"PORT={free_port()}",
        f"REDIS_URL=redis://127.0.0.1:{free_port()}/0",
        f"DATABASE_URL=sqlite:///{tmp_path}/db.sqlite3",
    ]


def value(arguments: list[str], name: str) -> str:
    return next(a for a in arguments if a.startswith(f"{name}=")).partition("=")[2]


@pytest.fixture
def running(arguments: list[str], tmp_path: Path) -> Iterator[MakeRun]:
    run = MakeRun(tmp_path / "log", *arguments)
    try:
        yield run
    finally:
        if run.popen.poll() is None:
            run.interrupt()


def wait_for(port: str, run: MakeRun) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not answers(port):
        assert time.monotonic() < deadline, run.output
        assert run.popen.poll() is None, run.output
        time.sleep(0.1)


def answers(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


async def test_one_command_starts_everything_and_ctrl_c_stops_it(
    running: MakeRun, arguments: list[str]
) -> None:
    port = value(arguments, "PORT")
    redis_port = value(arguments, "REDIS_URL").rpartition(":")[2].partition("/")[0]
    wait_for(port, running)
    async with StompClient(f"ws://localhost:{port}/stomp") as client:
        await client.subscribe("/topic/toast")
        content = json.dumps({"topic": "/topic/toast", "message": "hello"}).encode()
        request = urllib.request.Request(
            f"http://localhost:{port}/api/notification",
            content,
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            assert response.status == 202
        assert (await client.message()).body == b"hello"
        await client.request("SEND", {"destination": "/topic/toast"}, b"to itself")
        assert (await client.message()).body == b"to itself"
    output = running.interrupt()
    assert f"console     http://localhost:{port}/" in output
    assert "(embedded)" in output
    assert "Traceback" not in output
    assert not answers(port)
    assert not answers(redis_port)


async def test_the_demo_answers_what_browsers_send(arguments: list[str], tmp_path: Path) -> None:
    port = value(arguments, "PORT")
    run = MakeRun(tmp_path / "log", *arguments, command="demo")
    try:
        wait_for(port, run)
        wait_until_heard(value(arguments, "REDIS_URL"), run)
        async with StompClient(f"ws://localhost:{port}/stomp") as client:
            for destination, topic in (
                ("/app/greet", "/topic/greetings"),
                ("/app/test", "/topic/test"),
            ):
                await client.subscribe(topic, id=topic)
                await client.request("SEND", {"destination": destination}, b"hello")
                message = await client.message()
                assert message.headers["destination"] == topic
                assert message.body.startswith(b"hello (answered by ")
            await client.subscribe("/topic/examples/ticker", id="ticker")
            assert b"requests a second" in (await client.message()).body
        url = f"http://localhost:{port}/examples/"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            assert b"Examples that run" in response.read()
    finally:
        output = run.interrupt()
    assert f"localhost:{port}/api/events?topic=/topic/greetings&topic=/topic/test" in output
    assert url in output
    assert "backend | /topic/test: hello (answered by " in output
    assert "Traceback" not in output
    wait_until_none_is_left(arguments, run)


def wait_until_heard(redis_url: str, run: MakeRun) -> None:
    """Wait for the bridge and the back end: Redis keeps no greeting that nobody hears."""
    deadline = time.monotonic() + TIMEOUT
    with redis.Redis.from_url(redis_url) as client:
        while len(client.pubsub_channels("GREETING_CHANNEL_*")) < 2:
            assert time.monotonic() < deadline, run.output
            time.sleep(0.1)


def test_ctrl_c_ends_every_worker(arguments: list[str], tmp_path: Path) -> None:
    run = MakeRun(tmp_path / "log", *arguments, "WORKERS=2")
    try:
        pids = wait_for_workers(run, 2)
    finally:
        output = run.interrupt()
    assert "workers     2" in output
    assert "Traceback" not in output
    assert "SIGKILL" not in output
    assert not answers(value(arguments, "PORT"))
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def wait_for_workers(run: MakeRun, count: int) -> list[int]:
    """Return the process ids of the workers, once all of them serve."""
    deadline = time.monotonic() + TIMEOUT
    while len(pids := re.findall(r"serves \(pid (\d+)\)", run.output)) < count:
        assert time.monotonic() < deadline, run.output
        assert run.popen.poll() is None, run.output
        time.sleep(0.1)
    return [int(pid) for pid in pids]


#: Runs a command in a terminal, which is closed when this program ends.
TERMINAL = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])"]


def processes_of(arguments: list[str]) -> dict[int, str]:
    """Return the processes that were started with these arguments, make excepted."""
    mark = value(arguments, "DATABASE_URL").encode()
    found = {}
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in environment.read_bytes():
                command = (environment.parent / "cmdline").read_bytes().split(b"\0")
                found[int(environment.parent.name)] = b" ".join(command).decode().strip()
    return found


def wait_until_none_is_left(arguments: list[str], run: MakeRun) -> None:
    deadline = time.monotonic() + TIMEOUT
    while left := processes_of(arguments):
        assert time.monotonic() < deadline, f"{left}\n{run.output}"
        time.sleep(0.1)
    assert not answers(value(arguments, "PORT"))


def end_all(arguments: list[str]) -> None:
    for pid in processes_of(arguments):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("options", [[], ["WORKERS=2"]])
def test_closing_the_terminal_ends_everything(
    arguments: list[str], tmp_path: Path, options: list[str]
) -> None:
    run = MakeRun(tmp_path / "log", *arguments, *options, under=TERMINAL)
    try:
        wait_for(value(arguments, "PORT"), run)
        assert len(processes_of(arguments)) > 4
        run.popen.kill()
        run.popen.wait()
        wait_until_none_is_left(arguments, run)
    finally:
        end_all(arguments)


def test_sighup_ends_everything(arguments: list[str], tmp_path: Path) -> None:
    run = MakeRun(tmp_path / "log", *arguments)
    try:
        wait_for(value(arguments, "PORT"), run)
        processes = processes_of(arguments).items()
        ours = [pid for pid, command in processes if command.endswith("python -m gateway")]
        os.kill(min(ours), signal.SIGHUP)  # the others are its children, which carry output
        wait_until_none_is_left(arguments, run)
        assert "Traceback" not in run.wait()
    finally:
        end_all(arguments)


def test_it_ends_when_nobody_reads_its_output_any_more(
    arguments: list[str], tmp_path: Path
) -> None:
    pipe = ["sh", "-c", '"$@" | head -n 5', "sh"]
    run = MakeRun(tmp_path / "log", *arguments, under=pipe)
    try:
        output = run.wait()
        assert "The gateway is starting" in output
        assert "Traceback" not in output
        wait_until_none_is_left(arguments, run)
    finally:
        end_all(arguments)


def test_under_nohup_it_outlives_its_terminal(arguments: list[str], tmp_path: Path) -> None:
    run = MakeRun(tmp_path / "log", *arguments, under=["nohup"])
    try:
        wait_for(value(arguments, "PORT"), run)
        os.killpg(run.popen.pid, signal.SIGHUP)
        time.sleep(2)
        assert answers(value(arguments, "PORT"))
        run.interrupt()
        wait_until_none_is_left(arguments, run)
    finally:
        end_all(arguments)


def test_a_wrong_number_of_workers_is_one_clear_line(arguments: list[str], tmp_path: Path) -> None:
    output = MakeRun(tmp_path / "log", *arguments, "WORKERS=many").wait()
    assert "WORKERS is 'many': it has to be a number from 1" in output
    assert "Traceback" not in output


def test_a_used_port_is_one_clear_line(arguments: list[str], tmp_path: Path) -> None:
    port = int(value(arguments, "PORT"))
    with socket.create_server(("127.0.0.1", port)):
        output = MakeRun(tmp_path / "log", *arguments).wait()
    other = port + 10_000 if port < 20_000 else port - 10_000
    assert f"can't use port {port} of 127.0.0.1: Address already in use" in output
    assert f"as in PORT={other}\n" in output
    assert "Traceback" not in output


def test_another_port_is_advised_than_the_one_that_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def used(host: str, port: int) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(sockets, "listen", used)
    with pytest.raises(SystemExit, match="can't use port 18080 .* as in PORT=28080"):
        sockets.check_port("127.0.0.1", "18080")


def test_an_unreachable_redis_is_one_clear_line_without_its_password(
    arguments: list[str], tmp_path: Path
) -> None:
    arguments[1] = f"REDIS_URL=redis://me:secret@127.0.0.2:{free_port()}/0"
    output = MakeRun(tmp_path / "log", *arguments).wait()
    assert "nothing answers at REDIS_URL (redis://me:***@127.0.0.2" in output
    assert "secret" not in output
    assert "Traceback" not in output


def test_a_python_without_venv_is_one_clear_line(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    output = MakeRun(tmp_path / "log", f"PYTHON={python}", f"VENV={tmp_path}/venv").wait()
    assert "apt install python3-venv" in output
    assert "Traceback" not in output
