"""Ack modes, prefetch-count and transactions over a real WebSocket."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

TOPIC = "/topic/acknowledged"


async def publish(client: StompClient, *bodies: str, **headers: str) -> None:
    for body in bodies:
        await client.send("SEND", {"destination": TOPIC, **headers}, body.encode())


async def bodies(client: StompClient, count: int) -> list[str]:
    return [(await client.message()).body.decode() for _ in range(count)]


async def nothing_comes(client: StompClient) -> None:
    """Whatever was to come is before the RECEIPT of a frame that is sent now."""
    await client.request("SEND", {"destination": "/topic/nobody"})
    assert client.waiting("MESSAGE") == 0


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_prefetch_count_bounds_what_is_unacknowledged(gateway: Gateway, version: str) -> None:
    async with StompClient(gateway.stomp, version=version) as client:
        headers = {"ack": "client-individual", "prefetch-count": "2"}
        await client.subscribe(TOPIC, id="s:1" if version != "1.0" else "s1", **headers)
        await publish(client, "a", "b", "c", "d")
        first, second = await client.message(), await client.message()
        await nothing_comes(client)
        await client.request("ACK", client.acknowledgement(second))
        third = await client.message()
        await nothing_comes(client)
        if version != "1.0":
            await client.request("NACK", client.acknowledgement(first))
        else:
            await client.request("ACK", client.acknowledgement(first))
        fourth = await client.message()
        assert [f.body for f in (first, second, third, fourth)] == [b"a", b"b", b"c", b"d"]
        await nothing_comes(client)


async def test_acks_of_mode_client_count_for_all_before(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe(TOPIC, **{"ack": "client", "prefetch-count": "3"})
        await publish(client, *"abcdef")
        messages = [await client.message() for _ in range(3)]
        await nothing_comes(client)
        await client.request("ACK", client.acknowledgement(messages[2]))
        assert await bodies(client, 3) == ["d", "e", "f"]


@pytest.mark.parametrize(
    ("ack", "headers"),
    [
        ("auto", {"id": "0/x-1"}),
        ("client", {"id": "0/x-1"}),
        ("client", {"id": "other/x-1"}),
        ("client", {"id": "x"}),
    ],
)
async def test_an_ack_of_something_unknown_is_an_error(
    gateway: Gateway, ack: str, headers: dict[str, str]
) -> None:
    for command in ("ACK", "NACK"):
        async with StompClient(gateway.stomp) as client:
            await client.subscribe(TOPIC, ack=ack)
            await client.send(command, {**headers, "receipt": "r"})
            error = await client.frame("ERROR")
            assert (error.headers["code"], error.headers["receipt-id"]) == ("unknown-ack", "r")


async def test_a_message_is_acknowledged_once(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe(TOPIC, ack="client-individual")
        await publish(client, "a")
        message = await client.message()
        await client.request("ACK", client.acknowledgement(message))
        await client.send("ACK", client.acknowledgement(message))
        assert (await client.frame("ERROR")).headers["code"] == "unknown-ack"


async def test_two_subscriptions_to_one_topic_are_acknowledged_apart(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        for id in ("one", "two"):
            await client.subscribe(TOPIC, id=id, ack="client", **{"prefetch-count": "1"})
        await publish(client, "a", "b")
        first = await client.message()
        other = await client.message()
        assert {first.headers["subscription"], other.headers["subscription"]} == {"one", "two"}
        await nothing_comes(client)
        await client.request("ACK", client.acknowledgement(other))
        third = await client.message()
        assert third.headers["subscription"] == other.headers["subscription"]
        await nothing_comes(client)


async def test_who_never_acknowledges_is_closed_when_the_send_budget_is_spent(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as client, StompClient(gateway.stomp) as sender:
        await client.subscribe(TOPIC, **{"ack": "client", "prefetch-count": "1"})
        for _ in range(12):
            await publish(sender, "x" * 50_000)
        error = await client.frame("ERROR")
        assert error.headers["code"] == "too-slow"
        assert await client.close_code() == 4003


async def test_a_transaction_publishes_at_commit_in_order_and_nothing_before(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe(TOPIC)
        await client.request("BEGIN", {"transaction": "t"})
        await client.request("SEND", {"destination": TOPIC, "transaction": "t"}, b"a")
        await publish(client, "b", transaction="t")
        await publish(client, "outside")
        assert await bodies(client, 1) == ["outside"]
        await nothing_comes(client)
        await client.request("COMMIT", {"transaction": "t"})
        messages = [await client.message(), await client.message()]
        assert [message.body for message in messages] == [b"a", b"b"]
        assert "transaction" not in messages[0].headers


async def test_an_aborted_transaction_publishes_nothing_and_its_name_is_free_again(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe(TOPIC)
        for end, expected in (("ABORT", 0), ("COMMIT", 1)):
            await client.send("BEGIN", {"transaction": "t"})
            await publish(client, end, transaction="t")
            await client.request(end, {"transaction": "t"})
            assert await bodies(client, expected) == ["COMMIT"] * expected
            await nothing_comes(client)


async def test_acks_in_a_transaction_count_at_commit(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe(TOPIC, **{"ack": "client", "prefetch-count": "1"})
        await publish(client, "a", "b")
        message = await client.message()
        for end in ("ABORT", "COMMIT"):
            await nothing_comes(client)
            await client.send("BEGIN", {"transaction": "t"})
            await client.send("ACK", client.acknowledgement(message) | {"transaction": "t"})
            await client.request(end, {"transaction": "t"})
        assert await bodies(client, 1) == ["b"]


async def test_a_session_that_ends_inside_a_transaction_publishes_nothing(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as witness:
        await witness.subscribe(TOPIC)
        async with StompClient(gateway.stomp) as client:
            await client.request("BEGIN", {"transaction": "t"})
            await client.request("SEND", {"destination": TOPIC, "transaction": "t"}, b"never")
            await client.request("DISCONNECT", {})
        await publish(witness, "after")
        assert await bodies(witness, 1) == ["after"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"destination": TOPIC, "transaction": "unknown"}, "unknown-transaction"),
        ({"destination": "/app/nothing-here", "transaction": "t"}, "unknown-destination"),
        ({"destination": "/topic/*", "transaction": "t"}, "bad-destination"),
    ],
)
async def test_what_is_wrong_in_a_transaction_is_told_before_its_commit(
    gateway: Gateway, headers: dict[str, str], code: str
) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.send("BEGIN", {"transaction": "t"})
        await client.send("SEND", {**headers, "receipt": "r"})
        error = await client.frame("ERROR")
        assert (error.headers["code"], error.headers["receipt-id"]) == (code, "r")


@pytest.mark.parametrize("command", ["ACK", "NACK"])
async def test_an_ack_of_something_unknown_in_a_transaction_is_told_before_its_commit(
    gateway: Gateway, command: str
) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe(TOPIC, ack="client")
        await client.send("BEGIN", {"transaction": "t"})
        await client.send(command, {"id": "0/x-1", "transaction": "t", "receipt": "r"})
        error = await client.frame("ERROR")
        assert (error.headers["code"], error.headers["receipt-id"]) == ("unknown-ack", "r")


async def test_an_ack_that_fails_keeps_the_whole_transaction_from_being_published(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as witness, StompClient(gateway.stomp) as client:
        await client.subscribe(TOPIC, ack="client-individual")
        await publish(client, "acknowledged twice")
        acknowledgement = client.acknowledgement(await client.message())
        await witness.subscribe(TOPIC)
        await client.send("BEGIN", {"transaction": "t"})
        await publish(client, "first", transaction="t")
        for _ in range(2):
            await client.send("ACK", acknowledgement | {"transaction": "t"})
        await publish(client, "second", transaction="t")
        await client.send("COMMIT", {"transaction": "t", "receipt": "r"})
        error = await client.frame("ERROR")
        assert (error.headers["code"], error.headers["receipt-id"]) == ("unknown-ack", "r")
        await publish(witness, "after")
        assert await bodies(witness, 1) == ["after"]


class Collector(asyncio.Protocol):
    """Reads what comes for a client as fast as a machine can, in place of the client."""

    def __init__(self, client: StompClient) -> None:
        self.data = bytearray()
        self._transport = client.websocket.transport
        self._client = self._transport.get_protocol()
        self._transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self.data += data

    async def received(self, messages: int) -> None:
        async with asyncio.timeout(60):
            while self.data.count(b"MESSAGE\n") < messages:
                assert b"ERROR\n" not in self.data, bytes(self.data[-500:])
                await asyncio.sleep(0.05)
        self._transport.set_protocol(self._client)


async def test_a_burst_is_no_slow_client(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client, StompClient(gateway.stomp) as sender:
        for number in range(8):
            await client.subscribe(TOPIC, id=f"{number}")
        collector = Collector(client)
        frame = f"SEND\ndestination:{TOPIC}\n\n{'x' * 200}\0"
        for _ in range(20):
            await sender.websocket.send(frame * 100)
        await collector.received(8 * 2000)
