"""A SEND that is repeated with its key: over the wire, with real processes and a real Valkey."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway


@pytest.mark.parametrize("kind", ["kept", "forgotten"])
async def test_a_repeated_send_is_published_once_and_has_its_receipt_both_times(
    gateway: Gateway, second_gateway: Gateway, kind: str
) -> None:
    topic = f"/topic/{kind}/{uuid4().hex}"
    async with StompClient(gateway.stomp) as subscriber:
        await subscriber.subscribe(topic)
        for at in (gateway, second_gateway, gateway):
            async with StompClient(at.stomp) as client:
                headers = {"destination": topic, "idempotency-key": "k", "own": "header"}
                await client.request("SEND", headers, b"once")
        async with StompClient(gateway.stomp) as client:
            await client.request("SEND", {"destination": topic}, b"last")
        message = await subscriber.message()
        assert (message.body, message.headers["own"]) == (b"once", "header")
        assert "idempotency-key" not in message.headers
        assert (await subscriber.message()).body == b"last"


async def test_sends_at_once_through_two_processes_are_published_once(
    gateway: Gateway, second_gateway: Gateway
) -> None:
    topic = f"/topic/once/{uuid4().hex}"

    async def repeat(at: Gateway) -> None:
        async with StompClient(at.stomp) as client:
            for number in range(20):
                headers = {"destination": topic, "idempotency-key": str(number)}
                await client.request("SEND", headers, b"%d" % number)

    async with StompClient(gateway.stomp) as subscriber:
        await subscriber.subscribe(topic)
        await asyncio.gather(*(repeat(at) for at in [gateway, second_gateway] * 3))
        async with StompClient(gateway.stomp) as client:
            await client.request("SEND", {"destination": topic}, b"20")
        got = [int((await subscriber.message()).body) for _ in range(21)]
        assert sorted(got) == list(range(21))
        assert got[-1] == 20


async def test_a_key_has_at_most_255_characters(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        headers = {"destination": "/topic/a", "idempotency-key": "x" * 256, "receipt": "r"}
        await client.send("SEND", headers)
        error = await client.frame("ERROR")
        assert (error.headers["code"], error.headers["receipt-id"]) == ("bad-header", "r")
        assert "255" in error.headers["message"]
