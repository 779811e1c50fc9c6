"""Several server processes on one port: even, and one restarted without the others noticing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import websockets

from gateway.processes.child import SERVER
from tests.conftest import free_port
from tests.kit.clients import StompClient
from tests.kit.processes import PROJECT, TIMEOUT, Gateway, environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

RESTART_SECONDS = 90


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.fixture
def workers(variables: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of two workers."""
    with Gateway(tmp_path / "log", **variables, WORKERS="2") as gateway:
        wait_until(lambda: len(pids(gateway)) == 2)
        yield gateway


def pids(gateway: Gateway) -> dict[str, int]:
    """Return the process that serves as each worker, as the log says."""
    return {
        number: int(pid)
        for number, pid in re.findall(r"worker (\d+) serves \(pid (\d+)\)", gateway.output)
    }


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def lives(pid: int) -> bool:
    """Return whether a worker runs; one that has ended has no command line any more."""
    with contextlib.suppress(OSError):
        return SERVER[-1].encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def notify(gateway: Gateway, message: str, topic: str = "/topic/workers") -> None:
    content = json.dumps({"topic": topic, "message": message}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/api/notification", content, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        assert response.status == 202


def sessions_per_node(variables: dict[str, str], sessions: set[str]) -> list[int]:
    """Return how many of these sessions each process holds."""
    with sqlite3.connect(variables["DATABASE_URL"].removeprefix("sqlite:///")) as database:
        rows = database.execute("SELECT node_id, id FROM realtime_sessionrecord").fetchall()
    database.close()
    return list(Counter(node for node, session in rows if session in sessions).values())


@asynccontextmanager
async def subscribers(gateway: Gateway, count: int) -> AsyncIterator[list[StompClient]]:
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(count):
            client = await stack.enter_async_context(StompClient(gateway.stomp))
            await client.subscribe("/topic/workers")
            clients.append(client)
        yield clients


async def assert_all_hear(gateway: Gateway, clients: list[StompClient], message: str) -> None:
    await asyncio.to_thread(notify, gateway, message)
    bodies = [(await client.message()).body for client in clients]
    assert bodies == [message.encode()] * len(clients)


async def test_sessions_are_spread_and_a_notification_reaches_them_all(
    workers: Gateway, variables: dict[str, str]
) -> None:
    async with subscribers(workers, 200) as clients:
        await assert_all_hear(workers, clients, "to everybody")
        ids = {client.connected.headers["session"] for client in clients}
        await until(lambda: sum(sessions_per_node(variables, ids)) == 200)
        assert sorted(sessions_per_node(variables, ids))[0] >= 50
        assert len(sessions_per_node(variables, ids)) == 2


async def test_a_worker_that_is_killed_comes_back_and_the_other_does_not_notice(
    workers: Gateway,
) -> None:
    before = pids(workers)
    async with subscribers(workers, 40) as clients:
        os.kill(before["1"], signal.SIGKILL)
        await until(lambda: pids(workers)["1"] != before["1"])
        left = [client for client in clients if client.websocket.close_code is None]
        assert 0 < len(left) < 40
        assert pids(workers)["2"] == before["2"]
        async with subscribers(workers, 20) as new:
            await assert_all_hear(workers, left + new, "all here")
    assert f"worker 1 (pid {before['1']}) ended unexpectedly (signal 9)" in workers.output


async def test_a_worker_that_hangs_is_replaced_and_the_other_does_not_notice(
    workers: Gateway,
) -> None:
    before = pids(workers)
    async with subscribers(workers, 40) as clients:
        os.kill(before["1"], signal.SIGSTOP)
        async with asyncio.TaskGroup() as tasks:
            early = [tasks.create_task(connect_patiently(workers)) for _ in range(20)]
            await until(lambda: pids(workers)["1"] != before["1"], 60)
        assert all(version.result() == "1.2" for version in early)
        left = [client for client in clients if client.websocket.close_code is None]
        assert 0 < len(left) < 40
        assert pids(workers)["2"] == before["2"]
        await assert_all_hear(workers, left, "all here")
    assert f"pid {before['1']} hangs: silent for 20 s; killed" in workers.output
    assert not lives(before["1"])


async def connect_patiently(gateway: Gateway) -> str:
    """Connect, however long it takes until somebody accepts; return the version that is spoken."""
    async with websockets.connect(gateway.stomp, open_timeout=60) as websocket:
        await websocket.send("CONNECT\naccept-version:1.2\n\n\0")
        answer = str(await websocket.recv())
        return answer.partition("version:")[2].partition("\n")[0]


async def connect_until(enough: asyncio.Event, gateway: Gateway) -> int:
    """Keep connecting and calling; return how often. Anything refused or reset is an error."""
    count = 0
    while not enough.is_set():
        async with StompClient(gateway.stomp):
            await asyncio.to_thread(notify, gateway, "hello", "/topic/nobody")
        count += 1
    return count


async def test_a_rolling_restart_refuses_nobody_and_tells_every_session_why(
    workers: Gateway,
) -> None:
    before = pids(workers)
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks, subscribers(workers, 40) as clients:
        connecting = [tasks.create_task(connect_until(enough, workers)) for _ in range(4)]
        workers.popen.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are replaced" in workers.output, RESTART_SECONDS)
        assert {await client.close_code() for client in clients} == {1012}
        enough.set()
    assert all(task.result() > 2 for task in connecting)
    assert not set(before.values()) & set(pids(workers).values())
    assert not any(lives(pid) for pid in before.values())


async def test_a_release_that_can_not_start_leaves_the_old_workers_alone(
    variables: dict[str, str], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of these tests")
    variables = {**variables, "SECRET_KEY": "", "SECRET_KEY_FILE": str(secret)}
    variables["WORKERS"] = "2"
    with Gateway(tmp_path / "log", **variables) as gateway:
        await until(lambda: len(pids(gateway)) == 2)
        before = pids(gateway)
        async with subscribers(gateway, 10) as clients:
            secret.rename(tmp_path / "away")
            gateway.popen.send_signal(signal.SIGHUP)
            await until(lambda: "the old ones stay" in gateway.output)
            await assert_all_hear(gateway, clients, "still here")
        assert pids(gateway) == before
        os.kill(before["2"], signal.SIGKILL)
        await until(lambda: "worker 2 is started again in 3 s" in gateway.output)
        (tmp_path / "away").rename(secret)
        await until(lambda: pids(gateway)["2"] != before["2"])


async def test_a_release_whose_rules_are_wrong_leaves_the_old_workers_alone(
    variables: dict[str, str], tmp_path: Path
) -> None:
    table = tmp_path / "released_routing.py"
    good = (
        "from realtime.routes import *\nroutes = [allow('/**', subscribe=anyone, publish=anyone)]\n"
    )
    table.write_text(good)
    released = {"STOMP_ROUTING": "released_routing", "PYTHONPATH": str(tmp_path)}
    released |= {"PYTHONDONTWRITEBYTECODE": "1", "WORKERS": "2"}
    with Gateway(tmp_path / "log", **{**variables, **released}) as gateway:
        await until(lambda: len(pids(gateway)) == 2)
        before = pids(gateway)
        async with subscribers(gateway, 10) as clients:
            table.write_text(good.replace("subscribe=anyone", "subscribe=group"))
            gateway.popen.send_signal(signal.SIGHUP)
            await until(lambda: "the old ones stay" in gateway.output)
            await assert_all_hear(gateway, clients, "still here")
        assert pids(gateway) == before
        assert "realtime.E001" in gateway.output
        assert "group has to be called" in gateway.output
        assert "Traceback" not in gateway.output
        table.write_text(good)
        gateway.popen.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are replaced" in gateway.output, RESTART_SECONDS)


def test_sigterm_ends_all_workers(workers: Gateway) -> None:
    running = pids(workers)
    assert workers.stop() == 0
    assert not any(lives(pid) for pid in running.values())
    assert "Traceback" not in workers.output


async def test_a_second_sigterm_ends_a_worker_that_hangs(workers: Gateway) -> None:
    running = pids(workers)
    os.kill(running["1"], signal.SIGSTOP)
    workers.popen.terminate()
    await until(lambda: not lives(running["2"]))
    assert workers.popen.poll() is None
    workers.popen.terminate()
    await until(lambda: workers.popen.poll() == 0)
    assert not lives(running["1"])


async def test_workers_end_when_their_supervisor_was_killed(workers: Gateway) -> None:
    running = pids(workers)
    async with subscribers(workers, 1) as [client]:
        workers.popen.kill()
        assert await client.close_code() == 1012
    await until(lambda: not any(lives(pid) for pid in running.values()))


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    """Start workers that can't serve, and return what they said."""
    return subprocess.run(
        [sys.executable, "-m", "gateway.workers"],
        cwd=PROJECT,
        env=environment(**{"PORT": str(free_port()), **variables}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_workers_is_one_clear_line(count: str) -> None:
    done = run(WORKERS=count)
    assert done.returncode == 1
    assert done.stderr == (
        f"WORKERS is {count!r}: it has to be a number from 1, or auto: one for each core\n"
    )


@pytest.mark.parametrize("count", ["", "1", "2"])
def test_a_used_port_is_one_clear_line(count: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(WORKERS=count, PORT=str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"can't use port {port} of 127.0.0.1: Address already in use;")
    assert done.stderr.count("\n") == 1


def test_a_gateway_of_several_workers_takes_the_port_for_itself(workers: Gateway) -> None:
    done = run(WORKERS="2", PORT=str(workers.port))
    assert f"can't use port {workers.port}" in done.stderr


def test_workers_that_can_not_even_start_end_the_program() -> None:
    done = run(WORKERS="2", STOMP_HEARTBEAT_MS="often")
    assert done.returncode == 1
    assert "STOMP_HEARTBEAT_MS is 'often'" in done.stderr
    assert "worker 1 ended before it served (exit status 1)" in done.stderr


@pytest.mark.parametrize("count", ["", "2"])
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("STOMP_ROUTING", "no.such.module", "(realtime.E001) the routing table 'no.such.module'"),
        ("STOMP_HANDLER_THREADS", "0", "(realtime.E017) STOMP_HANDLER_THREADS is 0: it has to be"),
    ],
)
def test_what_the_checks_refuse_is_not_served(
    count: str, variable: str, value: str, said: str
) -> None:
    done = run(WORKERS=count, **{variable: value})
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_single_worker_is_replaced_without_a_gap(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", **variables, WORKERS="1") as gateway:
        async with subscribers(gateway, 1) as [client]:
            gateway.popen.send_signal(signal.SIGHUP)
            assert await client.close_code() == 1012
            async with subscribers(gateway, 1) as clients:
                await assert_all_hear(gateway, clients, "again")


def test_without_workers_the_program_becomes_daphne(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", **variables) as gateway:
        assert not pids(gateway)
        command = Path(f"/proc/{gateway.popen.pid}/cmdline").read_bytes().split(b"\0")
        assert b"daphne" in command
        assert gateway.stop() == 0


def test_the_number_of_workers_may_be_that_of_the_cores(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", **variables, WORKERS="auto") as gateway:
        assert gateway.stop() == 0


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
@pytest.mark.parametrize("count", ["", "2"])
def test_workers_listen_on_ipv6_too(variables: dict[str, str], tmp_path: Path, count: str) -> None:
    with Gateway(tmp_path / "log", **variables, WORKERS=count, HOST="::") as gateway:
        request = urllib.request.Request(f"http://[::1]:{gateway.port}/")
        request.add_header("Host", "localhost")
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            assert response.status == 200
