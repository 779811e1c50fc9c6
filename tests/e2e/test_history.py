"""Who was away gets what was missed: over the wire, with real processes and a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway


@pytest.fixture
def topic() -> str:
    """A topic that nobody has used."""
    return f"/topic/history/{uuid4().hex}"


async def subscribe(client: StompClient, topic: str, **headers: str) -> dict[str, str]:
    """Subscribe and return the headers of the RECEIPT."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    await client.send(
        "SUBSCRIBE", {"destination": topic, "id": "0", "receipt": "subscribed", **names}
    )
    receipt = await client.frame()
    assert receipt.command == "RECEIPT"  # before any MESSAGE
    return receipt.headers


async def publish(gateway: Gateway, topic: str, numbers: range) -> None:
    async with StompClient(gateway.stomp) as client:
        for number in numbers:
            await client.send("SEND", {"destination": topic}, b"%d" % number)
        await client.request("SEND", {"destination": "/topic/nobody"})


async def bodies(client: StompClient, count: int) -> list[int]:
    return [int((await client.message()).body) for _ in range(count)]


async def test_a_message_says_where_it_stands_and_the_receipt_says_where_one_starts(
    gateway: Gateway, topic: str
) -> None:
    async with StompClient(gateway.stomp) as client:
        receipt = await subscribe(client, topic)
        assert receipt["position"].endswith("-0")
        assert "recovered" not in receipt
        await publish(gateway, topic, range(3))
        ids = [(await client.message()).headers["message-id"] for _ in range(3)]
        epoch = ids[0].removesuffix("-1")
        assert ids == [f"{epoch}-{number}" for number in (1, 2, 3)]
    async with StompClient(gateway.stomp) as client:
        assert (await subscribe(client, topic))["position"] == f"{epoch}-3"


@pytest.mark.parametrize("seen", [0, 1, 40, 59, 60])
async def test_who_comes_back_gets_what_was_missed_then_what_comes(
    gateway: Gateway, second_gateway: Gateway, topic: str, seen: int
) -> None:
    async with StompClient(gateway.stomp) as client:
        position = (await subscribe(client, topic))["position"]
        await publish(gateway, topic, range(seen))
        for _ in range(seen):
            position = (await client.message()).headers["message-id"]
    await publish(gateway, topic, range(seen, 60))
    async with StompClient(second_gateway.stomp) as client:
        receipt = await subscribe(client, topic, last_message_id=position)
        assert receipt["recovered"] == "true"
        assert receipt["position"].endswith(f"-{seen}")
        assert receipt["position"] == position or not seen  # the first message begins an epoch
        await publish(gateway, topic, range(60, 70))
        assert await bodies(client, 70 - seen) == list(range(seen, 70))


async def test_there_is_no_gap_and_no_repeat_while_publishing_goes_on(
    gateway: Gateway, second_gateway: Gateway, topic: str
) -> None:
    async with StompClient(gateway.stomp) as client:
        position = (await subscribe(client, topic))["position"]
    publishing = asyncio.create_task(publish_slowly(gateway, topic, 400))
    expected = 0
    while expected < 400:
        at = second_gateway if expected % 2 else gateway
        async with StompClient(at.stomp) as client:
            assert (await subscribe(client, topic, last_message_id=position))["recovered"] == "true"
            for _ in range(min(37, 400 - expected)):
                message = await client.message()
                assert int(message.body) == expected
                position = message.headers["message-id"]
                expected += 1
    await publishing


async def publish_slowly(gateway: Gateway, topic: str, count: int) -> None:
    async with StompClient(gateway.stomp) as client:
        for number in range(count):
            await client.send("SEND", {"destination": topic}, b"%d" % number)
            await asyncio.sleep(0.005)
        await client.request("SEND", {"destination": "/topic/nobody"})


@pytest.mark.parametrize(
    ("replay", "expected"), [("5", range(145, 150)), ("all", range(50, 150)), ("0", range(0))]
)
async def test_the_newest_may_be_replayed(
    gateway: Gateway, topic: str, replay: str, expected: range
) -> None:
    await publish(gateway, topic, range(150))
    async with StompClient(gateway.stomp) as client:
        receipt = await subscribe(client, topic, replay=replay)
        assert "recovered" not in receipt
        await publish(gateway, topic, range(150, 152))
        assert await bodies(client, len(expected) + 2) == [*expected, 150, 151]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ("{nothing}", "expired"),
        ("{epoch}-0", "expired"),
        ("{epoch}-102", "epoch"),
        ("other-7", "epoch"),
    ],
)
async def test_what_is_not_whole_is_not_recovered_and_nothing_comes_of_it(
    gateway: Gateway, topic: str, last: str, reason: str
) -> None:
    async with StompClient(gateway.stomp) as client:
        nothing = (await subscribe(client, topic))["position"]
    await publish(gateway, topic, range(101))
    async with StompClient(gateway.stomp) as client:
        epoch = (await subscribe(client, topic))["position"].removesuffix("-101")
    async with StompClient(gateway.stomp) as client:
        last = last.format(epoch=epoch, nothing=nothing)
        receipt = await subscribe(client, topic, last_message_id=last)
        assert (receipt["recovered"], receipt["reason"]) == ("false", reason)
        assert receipt["position"] == f"{epoch}-101"
        await publish(gateway, topic, range(1000, 1001))
        assert await bodies(client, 1) == [1000]


async def test_who_asks_for_no_receipt_is_told_with_the_first_message(
    gateway: Gateway, topic: str
) -> None:
    async with StompClient(gateway.stomp) as client:
        position = (await subscribe(client, topic))["position"]
    await publish(gateway, topic, range(2))
    for last, recovered in ((position, "true"), ("strange-1", "false")):
        async with StompClient(gateway.stomp) as client:
            headers = {"destination": topic, "id": "0", "last-message-id": last}
            await client.send("SUBSCRIBE", headers)
            await client.request("SEND", {"destination": "/topic/nobody"})
            await publish(gateway, topic, range(2, 3))
            first = await client.message()
            assert first.headers["recovered"] == recovered
            if recovered == "true":
                assert int(first.body) == 0
                assert "recovered" not in (await client.message()).headers
                assert await bodies(client, 1) == [2]


@pytest.mark.parametrize(
    ("destination", "headers", "code"),
    [
        ("/topic/a/*", {"last-message-id": "e-1"}, "no-history"),
        ("/topic/a/**", {"replay": "all"}, "no-history"),
        ("/topic/forgotten/a", {"replay": "1"}, "no-history"),
        ("/topic/a", {"last-message-id": "1"}, "bad-header"),
        ("/topic/a", {"last-message-id": "e-x"}, "bad-header"),
        ("/topic/a", {"replay": "-1"}, "bad-header"),
        ("/topic/a", {"replay": "some"}, "bad-header"),
        ("/topic/a", {"replay": "1", "last-message-id": "e-1"}, "bad-header"),
    ],
)
async def test_what_can_not_be_resumed_is_an_error(
    gateway: Gateway, destination: str, headers: dict[str, str], code: str
) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.send("SUBSCRIBE", {"destination": destination, "id": "0", **headers})
        assert (await client.frame("ERROR")).headers["code"] == code


async def test_a_large_replay_uses_up_no_budget_and_keeps_the_order(
    gateway: Gateway, topic: str
) -> None:
    async with StompClient(gateway.stomp) as publisher:
        for number in range(90):
            body = b"%05d" % number + b"x" * 30_000
            await publisher.request("SEND", {"destination": topic}, body)
        async with StompClient(gateway.stomp) as client:
            await subscribe(client, topic, replay="all")
            await publisher.request("SEND", {"destination": topic}, b"00090")
            got = [int((await client.message()).body[:5]) for _ in range(91)]
            assert got == list(range(91))


@pytest.mark.parametrize("ack", ["client", "client-individual"])
async def test_a_replay_may_be_acknowledged(gateway: Gateway, topic: str, ack: str) -> None:
    await publish(gateway, topic, range(10))
    async with StompClient(gateway.stomp) as client:
        await subscribe(client, topic, replay="all", ack=ack, prefetch_count="2")
        for number in range(10):
            message = await client.message()
            assert int(message.body) == number
            await client.request("ACK", client.acknowledgement(message))


async def test_1000_clients_that_come_back_read_the_history_once(
    gateway: Gateway, topic: str, redis_client: Any
) -> None:
    async with StompClient(gateway.stomp) as client:
        position = (await subscribe(client, topic))["position"]
    await publish(gateway, topic, range(50))
    before = redis_client.info("commandstats").get("cmdstat_xrevrange", {"calls": 0})["calls"]
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(StompClient(gateway.stomp)) for _ in range(1000)]
        await asyncio.gather(*(resumed(client, topic, position) for client in clients))
    after = redis_client.info("commandstats")["cmdstat_xrevrange"]["calls"]
    assert 1 <= after - before <= 2


async def resumed(client: StompClient, topic: str, position: str) -> None:
    assert (await subscribe(client, topic, last_message_id=position))["recovered"] == "true"
    assert await bodies(client, 50) == list(range(50))
