"""SENDs that come in one WebSocket message are published together, and answered one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from realtime.destinations.groups import group_name
from realtime.layer.scripts import history_keys
from realtime.stomp import Frame, encode
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

REFUSED = "/topic/refused"


def sends(*destinations: str) -> str:
    """SENDs to these destinations: body and receipt are their numbers."""
    frames = [
        encode(Frame("SEND", {"destination": name, "receipt": f"{number}"}, b"%d" % number))
        for number, name in enumerate(destinations)
    ]
    return b"".join(frames).decode()


@pytest.fixture
def refused(redis_client: redis.Redis) -> Iterator[str]:
    """A destination whose messages Redis does not take: its key holds something else."""
    position, entries = history_keys(f"gateway__group__{group_name(REFUSED)}")
    redis_client.hset(position, mapping={"epoch": "e", "offset": 1})
    redis_client.set(entries, "no stream")
    yield REFUSED
    redis_client.delete(position, entries)


def calls(redis_client: redis.Redis) -> int:
    return int(redis_client.info("commandstats")["cmdstat_evalsha"]["calls"])


async def test_sends_to_many_topics_take_few_calls_and_keep_their_order(
    gateway: Gateway, redis_client: redis.Redis
) -> None:
    names = [f"/topic/together-{number % 20}" for number in range(100)]
    async with StompClient(gateway.stomp) as client:
        for number, name in enumerate(names[:20]):
            await client.subscribe(name, id=f"{number}")
        before = calls(redis_client)
        await client.websocket.send(sends(*names))
        receipts = [(await client.frame("RECEIPT")).headers["receipt-id"] for _ in names]
        assert calls(redis_client) - before < 20
        assert receipts == [str(number) for number in range(100)]
        assert [int((await client.message()).body) for _ in names] == list(range(100))


async def test_large_sends_that_come_at_once_are_published_in_order(gateway: Gateway) -> None:
    body = b"x" * 40_000  # all of them are less than what may wait for who reads later
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/large")
        for number in range(20):
            await client.send(
                "SEND",
                {"destination": "/topic/large", "receipt": f"{number}"},
                b"%02d" % number + body,
            )
        receipts = [int((await client.frame("RECEIPT")).headers["receipt-id"]) for _ in range(20)]
        assert receipts == list(range(20))
        assert [int((await client.message()).body[:2]) for _ in range(20)] == list(range(20))


async def test_what_redis_refuses_is_named_and_the_others_are_published(
    gateway: Gateway, refused: str
) -> None:
    async with StompClient(gateway.stomp) as witness, StompClient(gateway.stomp) as client:
        await witness.subscribe("/topic/taken")
        await client.websocket.send(sends("/topic/taken", refused, "/topic/taken"))
        assert (await client.frame("RECEIPT")).headers["receipt-id"] == "0"
        error = await client.frame("ERROR")
        assert error.headers["receipt-id"] == "1"
        assert await client.close_code() >= 1000
        assert client.waiting("RECEIPT") == 0
        assert [(await witness.message()).body for _ in range(2)] == [b"0", b"2"]


@pytest.mark.parametrize(
    "wrong",
    ["NONSENSE\n\n\0", "SEND\n\n\0", "SEND\ndestination:/queue/x\n\n\0", "ACK\nid:none/1\n\n\0"],
)
async def test_what_came_before_a_wrong_frame_is_published(gateway: Gateway, wrong: str) -> None:
    async with StompClient(gateway.stomp) as witness, StompClient(gateway.stomp) as client:
        await witness.subscribe("/topic/before")
        await client.websocket.send(sends(*["/topic/before"] * 3) + wrong + sends("/topic/before"))
        await client.frame("ERROR")
        await client.close_code()
        assert [(await witness.message()).body for _ in range(3)] == [b"0", b"1", b"2"]
        await witness.request("SEND", {"destination": "/topic/before"}, b"last")
        assert (await witness.message()).body == b"last"
