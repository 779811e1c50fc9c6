"""The three checks that the gateway exists for, against real processes."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

import redis

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, Process


async def post(url: str, content: bytes) -> Any:
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})

    def call() -> Any:
        with urllib.request.urlopen(request, timeout=15) as response:
            return response.status, json.load(response)

    return await asyncio.to_thread(call)


async def test_a_posted_notification_reaches_a_subscriber(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/toast")
        status, answer = await post(
            f"{gateway.url}/api/notification",
            b'{"topic": "/topic/toast", "message": "testing API endpoint" }',
        )
        message = await client.message()
    assert status == 202
    assert answer == {"id": message.headers["message-id"], "topic": "/topic/toast"}
    assert message.body == b"testing API endpoint"
    assert message.headers["destination"] == "/topic/toast"
    assert message.headers["subscription"] == "0"


async def test_what_a_service_publishes_on_redis_reaches_a_subscriber(
    gateway: Gateway, bridge: Process, redis_client: redis.Redis
) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/greetings")
        redis_client.publish("GREETING_CHANNEL_INBOUND", '"Test Message from Backend PubSub"')
        message = await client.message()
    assert message.body == b"Test Message from Backend PubSub"


async def test_what_a_client_sends_reaches_a_service_on_redis(
    gateway: Gateway, redis_client: redis.Redis
) -> None:
    service = redis_client.pubsub(ignore_subscribe_messages=False)
    service.subscribe("GREETING_CHANNEL_OUTBOUND")
    assert service.get_message(timeout=15)["type"] == "subscribe"
    async with StompClient(gateway.stomp) as client:
        await client.request("SEND", {"destination": "/app/greet"}, b"hello")
    heard = service.get_message(timeout=15)
    service.close()
    assert heard["data"] == b'"hello"'


async def test_a_notification_posted_to_one_process_reaches_subscribers_on_both(
    gateway: Gateway, second_gateway: Gateway
) -> None:
    async with StompClient(gateway.stomp) as one, StompClient(second_gateway.stomp) as other:
        await one.subscribe("/topic/both")
        await other.subscribe("/topic/both")
        for number in range(10):
            content = json.dumps({"topic": "/topic/both", "message": f"{number}"}).encode()
            await post(f"{gateway.url}/api/notification/", content)
        for client in (one, other):
            bodies = [(await client.message()).body for _ in range(10)]
            assert bodies == [b"%d" % number for number in range(10)]
