"""Subscriptions to patterns of topics, on two processes."""

from __future__ import annotations

import pytest

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway


async def test_a_pattern_hears_what_it_stands_for_on_every_process(
    gateway: Gateway, second_gateway: Gateway
) -> None:
    long = "/topic/orders/" + "x" * 200
    async with StompClient(gateway.stomp) as here, StompClient(second_gateway.stomp) as there:
        await here.subscribe("/topic/orders/*", id="one")
        await there.subscribe("/topic/orders/**", id="all")
        for client in (here, there):
            for destination in ("/topic/orders/1", "/topic/orders/1/items", long, "/topic/other"):
                body = destination[-5:].encode()
                await client.request("SEND", {"destination": destination}, body)
        for _ in range(2):
            for destination in ("/topic/orders/1", long):
                message = await here.message()
                assert message.headers["destination"] == destination
                assert message.headers["subscription"] == "one"
            for destination in ("/topic/orders/1", "/topic/orders/1/items", long):
                message = await there.message()
                assert message.headers["destination"] == destination
                assert message.headers["subscription"] == "all"


async def test_each_matching_subscription_gets_a_message_of_its_own(gateway: Gateway) -> None:
    names = ["/topic/each/a", "/topic/each/*", "/topic/each/**", "/topic/*/a"]
    async with StompClient(gateway.stomp) as client:
        for name in names:
            await client.subscribe(name, id=name)
        await client.request("SEND", {"destination": "/topic/each/a"}, b"once each")
        got = [await client.message() for _ in names]
        assert {message.headers["subscription"] for message in got} == set(names)
        assert {message.headers["destination"] for message in got} == {"/topic/each/a"}
        await client.request("UNSUBSCRIBE", {"id": "/topic/each/*"})
        await client.request("SEND", {"destination": "/topic/each/a"}, b"again")
        got = [await client.message() for _ in names[1:]]
        assert {message.headers["subscription"] for message in got} == set(names) - {
            "/topic/each/*"
        }
        await client.request("SEND", {"destination": "/topic/nobody"}, b"")
        assert client.waiting("MESSAGE") == 0


@pytest.mark.parametrize("pattern", ["/topic/a*", "/topic/**/b"])
async def test_a_star_elsewhere_is_refused(gateway: Gateway, pattern: str) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.send("SUBSCRIBE", {"destination": pattern, "id": "0", "receipt": "r"})
        error = await client.frame("ERROR")
        assert error.headers["code"] == "bad-pattern"
        assert error.headers["receipt-id"] == "r"


async def test_nothing_is_sent_to_a_pattern(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.send("SEND", {"destination": "/topic/orders/*"})
        assert (await client.frame("ERROR")).headers["code"] == "bad-destination"


async def test_a_pattern_with_acknowledgements_and_in_every_version(gateway: Gateway) -> None:
    for version in ("1.0", "1.1", "1.2"):
        async with StompClient(gateway.stomp, version=version) as client:
            await client.subscribe("/topic/acked/*", ack="client-individual")
            await client.request("SEND", {"destination": "/topic/acked/1"}, b"x")
            message = await client.message()
            await client.request("ACK", client.acknowledgement(message))
