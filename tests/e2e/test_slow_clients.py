"""
Clients that stop reading: the others notice nothing, and the process stays bounded.

Those marked ``daphne`` count bytes: our daphne keeps the kernel's buffers small, on other servers
they take some megabytes more before a client counts as slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

KIB = 1024
MIB = 1024 * KIB


def deaf(gateway: Gateway) -> StompClient:
    """A client whose sockets take little, and which reads only when somebody waits for a frame."""
    address = urlsplit(gateway.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * KIB)
    connection.connect(("127.0.0.1", address.port))
    return StompClient(gateway.stomp, sock=connection, max_queue=1, ping_interval=None)


async def publish(gateway: Gateway, destination: str, numbers: range, size: int) -> None:
    async with StompClient(gateway.stomp) as client:
        for number in numbers:
            body = b"%05d" % number + b"x" * (size - 5)
            await client.request("SEND", {"destination": destination}, body)


async def numbers(client: StompClient, count: int) -> list[int]:
    return [int((await client.message()).body[:5]) for _ in range(count)]


async def until_closed(client: StompClient) -> tuple[list[int], str]:
    """Read what has come: the numbers of the messages, and the code of the ERROR."""
    got = []
    while (frame := await client.frame()).command == "MESSAGE":
        got.append(int(frame.body[:5]))
    assert frame.command == "ERROR"
    return got, frame.headers["code"]


def resident_bytes(gateway: Gateway) -> int:
    for line in Path(f"/proc/{gateway.popen.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * KIB
    raise AssertionError("no VmRSS")


@pytest.mark.daphne
async def test_one_client_among_200_stops_reading_and_the_others_get_everything_in_order(
    gateway: Gateway,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        slow = await stack.enter_async_context(deaf(gateway))
        await slow.subscribe("/topic/slow")
        others = [await stack.enter_async_context(StompClient(gateway.stomp)) for _ in range(199)]
        for other in others:
            await other.subscribe("/topic/slow")
        before = resident_bytes(gateway)
        reading = [asyncio.create_task(numbers(other, 60)) for other in others]
        started = time.monotonic()
        await publish(gateway, "/topic/slow", range(60), 32 * KIB)
        for got in await asyncio.gather(*reading):
            assert got == list(range(60))
        got, code = await until_closed(slow)
        assert got == list(range(len(got)))
        assert len(got) * 32 * KIB < 2 * MIB  # the sockets' buffers, and the budget
        assert code == "too-slow"
        assert await slow.close_code() == 4003
        assert time.monotonic() - started < 30
        assert resident_bytes(gateway) - before < 40 * MIB


@pytest.mark.daphne
async def test_a_client_that_makes_no_progress_is_closed_in_time(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", **{**variables, "STOMP_SEND_SECONDS": "2"}) as gateway:
        async with deaf(gateway) as slow, StompClient(gateway.stomp) as other:
            for client in (slow, other):
                await client.subscribe("/topic/stuck")
            await publish(gateway, "/topic/stuck", range(10), 32 * KIB)
            assert await numbers(other, 10) == list(range(10))
            await asyncio.sleep(4)
            got, code = await until_closed(slow)
            assert got == list(range(len(got)))
            assert len(got) < 10
            assert code == "too-slow"
            assert await slow.close_code() == 4003
            await publish(gateway, "/topic/stuck", range(1), 100)
            assert await numbers(other, 1) == [0]


async def test_a_slow_client_that_goes_on_reading_gets_everything(gateway: Gateway) -> None:
    async with deaf(gateway) as slow:
        await slow.subscribe("/topic/steady")
        await publish(gateway, "/topic/steady", range(12), 32 * KIB)
        for number in range(12):
            await asyncio.sleep(0.1)
            assert await numbers(slow, 1) == [number]


@pytest.mark.daphne
async def test_after_1000_deaf_clients_the_gateway_still_stands(
    variables: dict[str, str], tmp_path: Path
) -> None:
    limits = {"STOMP_SEND_SECONDS": "3", "STOMP_CONNECTIONS_PER_ADDRESS": "0"}
    with Gateway(tmp_path / "log", **{**variables, **limits}) as gateway:
        async with contextlib.AsyncExitStack() as stack:
            witness = await stack.enter_async_context(StompClient(gateway.stomp))
            await witness.subscribe("/topic/deaf")
            clients = [deaf(gateway) for _ in range(1000)]
            for client in clients:
                await stack.enter_async_context(client)
                await client.subscribe("/topic/deaf")
            before = resident_bytes(gateway)
            await publish(gateway, "/topic/deaf", range(40), 8 * KIB)
            assert await numbers(witness, 40) == list(range(40))
            # A thousand times what one client may have waiting would be 320 MiB and more.
            assert resident_bytes(gateway) - before < 400 * MIB
            await asyncio.sleep(4)
            await publish(gateway, "/topic/deaf", range(1), 100)
            assert await numbers(witness, 1) == [0]
            for client in clients[:20]:
                _, code = await until_closed(client)
                assert code == "too-slow"
            for client in clients:
                client.websocket.transport.abort()


@pytest.mark.daphne
@pytest.mark.parametrize(
    ("topic", "kept"), [("prices", "only the newest"), ("log", "as many as fit")]
)
async def test_where_the_route_says_so_messages_are_dropped_instead_and_counted(
    gateway: Gateway, topic: str, kept: str
) -> None:
    destination = f"/topic/{topic}/EUR"
    async with deaf(gateway) as slow:
        await slow.subscribe(destination)
        await publish(gateway, destination, range(100), 32 * KIB)
        expected = dropped = 0
        waiting = 0
        while expected < 100:
            message = await slow.message()
            missing = int(message.headers.get("dropped", "0"))
            dropped += missing
            expected += missing
            assert int(message.body[:5]) == expected
            expected += 1
            waiting = waiting + 1 if dropped else 0
        assert dropped > 0
        assert waiting == 1 if kept == "only the newest" else 10 <= waiting <= 16


async def test_heart_beats_and_receipts_pass_a_session_that_drops(gateway: Gateway) -> None:
    async with deaf(gateway) as slow:
        await slow.subscribe("/topic/prices/USD")
        await publish(gateway, "/topic/prices/USD", range(100), 32 * KIB)
        await slow.send("SEND", {"destination": "/topic/nobody", "receipt": "alive"})
        assert (await slow.frame("RECEIPT")).headers["receipt-id"] == "alive"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow.websocket.wait_closed(), 1)
