"""What one session hears: from where on, how fast, and what it is told."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.kit.local_client import LocalClient, local_client


@pytest.fixture
def topic() -> str:
    return f"/topic/{uuid4().hex}"


async def send(client: LocalClient, topic: str, *bodies: bytes) -> None:
    for body in bodies:
        await client.request("SEND", {"destination": topic}, body)


async def bodies(client: LocalClient, count: int) -> list[bytes]:
    return [(await client.frame("MESSAGE")).body for _ in range(count)]


async def test_who_comes_back_gets_what_was_missed_and_then_what_comes(
    client: LocalClient, other: LocalClient, topic: str
) -> None:
    receipt = await client.subscribe(topic)
    start = receipt.headers["position"]
    await send(other, topic, b"1", b"2", b"3")
    last = [await client.frame("MESSAGE") for _ in range(3)][0].headers["message-id"]
    await client.request("UNSUBSCRIBE", {"id": "0"})
    await send(other, topic, b"4")
    receipt = await client.subscribe(topic, **{"last-message-id": last})
    assert receipt.headers["recovered"] == "true"
    assert receipt.headers["position"] == last
    await send(other, topic, b"5")
    assert await bodies(client, 4) == [b"2", b"3", b"4", b"5"]
    receipt = await client.subscribe(topic, id="all", **{"last-message-id": start})
    assert await bodies(client, 5) == [b"1", b"2", b"3", b"4", b"5"]


async def test_without_a_receipt_the_first_message_says_how_a_resume_went(
    client: LocalClient, other: LocalClient, topic: str
) -> None:
    await client.subscribe(topic)
    await send(other, topic, b"1", b"2")
    first, second = await client.frame("MESSAGE"), await client.frame("MESSAGE")
    await client.request("UNSUBSCRIBE", {"id": "0"})
    subscribe = {"destination": topic, "id": "0"}
    await client.send("SUBSCRIBE", {**subscribe, "last-message-id": first.headers["message-id"]})
    missed = await client.frame("MESSAGE")
    assert (missed.body, missed.headers["recovered"]) == (b"2", "true")
    await client.request("UNSUBSCRIBE", {"id": "0"})
    await client.send("SUBSCRIBE", {**subscribe, "last-message-id": "elsewhere-7"})
    await client.request("SEND", {"destination": topic}, b"3")
    message = await client.frame("MESSAGE")
    told = message.headers
    assert (message.body, told["recovered"], told["reason"]) == (b"3", "false", "epoch")
    await send(client, topic, b"4")
    assert "recovered" not in (await client.frame("MESSAGE")).headers
    assert second.body == b"2"


@pytest.mark.parametrize("ack", ["client", "client-individual"])
async def test_a_resume_is_told_before_acknowledged_messages_too(
    client: LocalClient, other: LocalClient, topic: str, ack: str
) -> None:
    await client.subscribe(topic)
    await send(other, topic, b"1", b"2", b"3")
    first = await client.frame("MESSAGE")
    await bodies(client, 2)
    await client.request("UNSUBSCRIBE", {"id": "0"})
    last = {"last-message-id": first.headers["message-id"]}
    await client.send(
        "SUBSCRIBE",
        {"destination": topic, "id": "0", "ack": ack, "prefetch-count": "1", **last},
    )
    message = await client.frame("MESSAGE")
    assert (message.body, message.headers["recovered"]) == (b"2", "true")
    await client.request("ACK", {"id": message.headers["ack"]})
    message = await client.frame("MESSAGE")
    assert message.body == b"3"
    assert "recovered" not in message.headers


async def test_the_newest_messages_may_come_first(
    client: LocalClient, other: LocalClient, topic: str
) -> None:
    await send(other, topic, b"1", b"2", b"3")
    receipt = await client.subscribe(topic, replay="2")
    assert "recovered" not in receipt.headers
    assert await bodies(client, 2) == [b"2", b"3"]
    await client.subscribe(topic, id="all", replay="all")
    assert await bodies(client, 3) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("destination", "headers", "code"),
    [
        ("/topic/forgotten/a", {"replay": "1"}, "no-history"),
        ("/topic/a/*", {"last-message-id": "e-1"}, "no-history"),
        ("/topic/a", {"replay": "1", "last-message-id": "e-1"}, "bad-header"),
        ("/topic/a", {"replay": "some"}, "bad-header"),
        ("/topic/a", {"last-message-id": "nonsense"}, "bad-header"),
        ("/topic/a", {"ack": "sometimes"}, "bad-header"),
        ("/topic/a", {"ack": "client", "prefetch-count": "-1"}, "bad-header"),
    ],
)
async def test_what_can_not_be_had_is_an_error(
    client: LocalClient, destination: str, headers: dict[str, str], code: str
) -> None:
    await client.send("SUBSCRIBE", {"id": "0", "destination": destination, **headers})
    assert await client.error() == (code, 1002)


async def test_of_unacknowledged_messages_no_more_come_than_are_wanted(
    client: LocalClient, other: LocalClient, topic: str
) -> None:
    await client.subscribe(topic, ack="client-individual", **{"prefetch-count": "2"})
    await send(other, topic, b"1", b"2", b"3", b"4")
    first, second = await client.frame("MESSAGE"), await client.frame("MESSAGE")
    await client.request("NACK", {"id": second.headers["ack"]})
    third = await client.frame("MESSAGE")
    assert [first.body, second.body, third.body] == [b"1", b"2", b"3"]
    await client.send("ACK", {"id": second.headers["ack"]})
    assert await client.error() == ("unknown-ack", 1002)


async def test_a_pattern_hears_all_that_it_stands_for(
    client: LocalClient, other: LocalClient, topic: str
) -> None:
    await client.subscribe(f"{topic}/*", id="one")
    await client.subscribe(f"{topic}/**", id="all")
    await send(other, f"{topic}/a", b"1")
    got = {(await client.frame("MESSAGE")).headers["subscription"] for _ in range(2)}
    assert got == {"one", "all"}
    await send(other, f"{topic}/a/b", b"2")
    assert (await client.frame("MESSAGE")).headers["subscription"] == "all"


async def test_a_pattern_of_a_layer_that_hears_none_is_refused(settings: Any) -> None:
    backend = "channels.layers.InMemoryChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    async with local_client() as client:
        await client.send("SUBSCRIBE", {"id": "0", "destination": "/topic/*"})
        assert await client.error() == ("bad-pattern", 1002)


async def test_a_subscription_that_ended_at_once_is_not_missed(
    client: LocalClient, other: LocalClient, topic: str
) -> None:
    for number in range(20):
        await client.send("SUBSCRIBE", {"id": f"{number}", "destination": topic})
        await client.send("UNSUBSCRIBE", {"id": f"{number}"})
    await client.subscribe(topic, id="last")
    await send(other, topic, b"heard once")
    message = await client.frame("MESSAGE")
    assert (message.body, message.headers["subscription"]) == (b"heard once", "last")
