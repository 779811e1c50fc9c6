"""Services on Redis streams and clients on several gateways, with real processes."""

from __future__ import annotations

import redis

from tests.kit.bridging import new_name
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, Process


async def test_an_entry_reaches_the_subscribers_of_its_topic_on_every_process(
    gateway: Gateway, second_gateway: Gateway, bridge: Process, redis_client: redis.Redis
) -> None:
    topic = f"/topic/{new_name('entry')}"
    async with StompClient(gateway.stomp) as one, StompClient(second_gateway.stomp) as other:
        for client in (one, other):
            await client.subscribe(topic)
        for number in range(20):
            fields = {"topic": topic, "message": f"{number}"}
            redis_client.xadd("TEST_EVENT_TO_WEBSOCKET_SERVER", dict(fields))
        for client in (one, other):
            bodies = [(await client.message()).body for _ in range(20)]
            assert bodies == [b"%d" % number for number in range(20)]


async def test_each_entry_that_clients_send_is_handled_by_one_of_the_services(
    gateway: Gateway, second_gateway: Gateway, redis_client: redis.Redis
) -> None:
    stream, group = "TEST_EVENT_TO_BACKEND", new_name("services")
    redis_client.xgroup_create(stream, group, "$", mkstream=True)
    async with StompClient(gateway.stomp) as one, StompClient(second_gateway.stomp) as other:
        for client, body in ((one, b"one"), (other, b"other")):
            headers = {"destination": "/app/test", "topic": "/topic/answers"}
            await client.request("SEND", headers, body)  # the RECEIPT: Redis has it
    entries = []
    for service in ("a", "b", "c"):
        for _, got in redis_client.xreadgroup(group, service, {stream: ">"}, count=1):
            entries += [fields for _, fields in got]
    redis_client.xgroup_destroy(stream, group)
    assert entries == [
        {b"message": b"one", b"topic": b"/topic/answers"},
        {b"message": b"other", b"topic": b"/topic/answers"},
    ]


async def test_what_one_client_sends_is_in_its_order(
    gateway: Gateway, redis_client: redis.Redis
) -> None:
    name = new_name("order")
    async with StompClient(gateway.stomp) as client:
        for number in range(300):
            await client.send("SEND", {"destination": "/app/test", "topic": name}, b"%d" % number)
        await client.request("DISCONNECT", {})
    entries = redis_client.xrange("TEST_EVENT_TO_BACKEND")
    bodies = [fields[b"message"] for _, fields in entries if fields.get(b"topic") == name.encode()]
    assert bodies == [b"%d" % number for number in range(300)]
