"""Every limit, at it and one above, with the ERROR and the close code that it has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

KIB = 1024


def send_frame(size: int, destination: str = "/topic/limit", **headers: str) -> bytes:
    """Return a SEND of so many bytes, the NUL not counted."""
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    head = f"SEND\ndestination:{destination}\n{lines}\n".encode()
    return head + b"x" * (size - len(head)) + b"\0"


async def refused(client: StompClient, code: str, close: int) -> None:
    assert (await client.frame("ERROR")).headers["code"] == code
    assert await client.close_code() == close


async def accepted(client: StompClient) -> None:
    await client.request("SEND", {"destination": "/topic/nobody"})


def unconnected(gateway: Gateway) -> StompClient:
    return StompClient(gateway.stomp, connect={"accept-version": ""})


async def test_a_frame_may_have_64_kib_and_its_message_passes(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/limit")
        await client.websocket.send(send_frame(64 * KIB))
        message = await client.message()
        assert len(message.body) == 64 * KIB - len(b"SEND\ndestination:/topic/limit\n\n")
        await client.websocket.send(send_frame(64 * KIB + 1))
        await refused(client, "frame-too-large", 1009)


async def test_a_frame_that_announces_too_much_is_refused_at_once(gateway: Gateway) -> None:
    for length in ("65536", "10737418240", "9" * 1000):
        async with StompClient(gateway.stomp) as client:
            frame = f"SEND\ndestination:/topic/limit\ncontent-length:{length}\n\n"
            await client.websocket.send(frame)
            await refused(client, "frame-too-large", 1009)


async def test_connect_may_have_64_kib_too(gateway: Gateway) -> None:
    head = b"CONNECT\naccept-version:1.2\n" + b"".join(
        b"h%d:%s\n" % (number, b"x" * 8000) for number in range(8)
    )
    rest = 64 * KIB - len(head) - len(b"last:\n\n") + 1
    for extra, answer in ((0, "CONNECTED"), (1, "ERROR")):
        async with unconnected(gateway) as client:
            line = b"last:" + b"x" * (rest - 1 + extra) + b"\n\n\0"
            await client.websocket.send(head + line)
            frame = await client.frame(answer)
            if answer == "ERROR":
                assert frame.headers["code"] == "frame-too-large"


@pytest.mark.parametrize(("count", "fits"), [(100, True), (101, False)])
async def test_a_frame_may_have_100_headers(gateway: Gateway, count: int, fits: bool) -> None:
    async with StompClient(gateway.stomp) as client:
        headers = {f"h{number}": "x" for number in range(count - 1)}
        await client.websocket.send(send_frame(8 * KIB, **headers))
        if fits:
            await accepted(client)
        else:
            await refused(client, "too-many-headers", 1009)


@pytest.mark.parametrize(("length", "fits"), [(8 * KIB, True), (8 * KIB + 1, False)])
async def test_a_header_line_may_have_8_kib(gateway: Gateway, length: int, fits: bool) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.websocket.send(send_frame(16 * KIB, h="x" * (length - 2)))
        if fits:
            await accepted(client)
        else:
            await refused(client, "header-too-long", 1009)


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False)])
async def test_a_destination_may_have_255_bytes(
    gateway: Gateway, command: str, length: int, fits: bool
) -> None:
    async with StompClient(gateway.stomp) as client:
        destination = "/topic/" + "x" * (length - len("/topic/"))
        await client.send(command, {"destination": destination, "id": "0"})
        if fits:
            await accepted(client)
        else:
            await refused(client, "destination-too-long", 1002)


async def test_a_session_may_have_128_subscriptions(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        for number in range(127):
            headers = {"destination": f"/topic/many/{number}", "id": f"{number}"}
            await client.send("SUBSCRIBE", headers)
        headers = {"destination": "/app/echo/x", "reply-to": "/temp-queue/counts"}
        await client.request("SEND", headers)
        await client.request("UNSUBSCRIBE", {"id": "0"})
        await client.subscribe("/topic/many/again", id="again")
        await client.send("SUBSCRIBE", {"destination": "/topic/many/over", "id": "over"})
        await refused(client, "too-many-subscriptions", 1008)


async def test_a_session_may_have_16_open_transactions(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        for number in range(16):
            await client.request("BEGIN", {"transaction": f"{number}"})
        await client.request("ABORT", {"transaction": "3"})
        await client.request("BEGIN", {"transaction": "again"})
        await client.send("BEGIN", {"transaction": "over"})
        await refused(client, "too-many-transactions", 1008)


async def test_transactions_may_hold_512_kib_all_together(gateway: Gateway) -> None:
    def request(size: int, name: str) -> bytes:
        """Return a SEND that weighs so much: 256 bytes, 128 for each header, and its text."""
        counted = len("destination/topic/limittransaction") + len(name) + len("receiptrequest")
        head = f"SEND\ndestination:/topic/limit\ntransaction:{name}\nreceipt:request\n\n"
        return head.encode() + b"x" * (size - 256 - 3 * 128 - counted) + b"\0"

    async with StompClient(gateway.stomp) as client:
        for name in ("one", "two"):
            await client.send("BEGIN", {"transaction": name})
        for number in range(16):
            await client.websocket.send(request(32 * KIB, "one" if number % 2 else "two"))
            await client.frame("RECEIPT")
        await client.websocket.send(request(800, "one"))
        await refused(client, "transaction-too-large", 1009)


async def test_the_time_to_connect_is_limited(variables: dict[str, str], tmp_path: Path) -> None:
    with Gateway(tmp_path / "log", **{**variables, "STOMP_CONNECT_SECONDS": "2"}) as gateway:
        async with unconnected(gateway) as client, StompClient(gateway.stomp) as connected:
            await client.websocket.send("CONNECT\n")
            await refused(client, "connect-timeout", 1002)
            await accepted(connected)


async def test_a_body_may_be_limited_below_the_frame(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", **{**variables, "STOMP_MAX_BODY_BYTES": "100"}) as gateway:
        async with StompClient(gateway.stomp) as client:
            await client.request("SEND", {"destination": "/topic/nobody"}, b"x" * 100)
            await client.send("SEND", {"destination": "/topic/nobody"}, b"x" * 101)
            await refused(client, "body-too-large", 1009)


@pytest.mark.parametrize("largest", [896 * KIB, 1100 * KIB, 1900 * KIB])
async def test_the_largest_frame_that_is_allowed_passes_the_server(
    variables: dict[str, str], tmp_path: Path, largest: int
) -> None:
    limits = {"STOMP_MAX_FRAME_BYTES": str(largest), "STOMP_SEND_BUFFER_BYTES": str(3 * largest)}
    with Gateway(tmp_path / "log", **{**variables, **limits}) as gateway:
        async with StompClient(gateway.stomp, max_size=None) as client:
            await client.subscribe("/topic/limit")
            rest = 64 * KIB - len("SEND\ndestination:/topic/limit\nlast:\n\n") - 8 * len("h0:\n")
            colons = {f"h{number}": ":" * 8000 for number in range(8)}
            colons["last"] = ":" * (rest - 8 * 8000)
            await client.websocket.send(send_frame(largest, **colons))
            message = await client.message()
            assert message.headers["last"] == colons["last"]
            colons["last"] += ":"
            await client.websocket.send(send_frame(largest, **colons))
            await refused(client, "header-too-long", 1009)


@pytest.mark.daphne
async def test_small_websocket_frames_are_limited_before_and_after_connect(
    variables: dict[str, str], tmp_path: Path
) -> None:
    limits = {"STOMP_FRAMES_PER_SECOND": "100", "STOMP_FRAMES_BURST": "300"}
    with Gateway(tmp_path / "log", **{**variables, **limits}) as gateway:
        async with StompClient(gateway.stomp) as client, unconnected(gateway) as stranger:
            for each in (client, stranger):
                for _ in range(300):
                    await each.websocket.send("\n")
            await accepted(client)
            for each in (client, stranger):
                for _ in range(3000):
                    await each.websocket.send("\n")
            await refused(client, "too-many-frames", 1008)
            await refused(stranger, "too-many-frames", 1008)


@pytest.mark.daphne
async def test_many_stomp_frames_in_one_message_slow_their_sender_and_nobody_else(
    variables: dict[str, str], tmp_path: Path
) -> None:
    limits = {"STOMP_COMMANDS_PER_SECOND": "1000", "STOMP_COMMANDS_BURST": "1000"}
    with Gateway(tmp_path / "log", **{**variables, **limits}) as gateway:
        async with StompClient(gateway.stomp) as client, StompClient(gateway.stomp) as other:
            pair = b"BEGIN\ntransaction:t\n\n\0ABORT\ntransaction:t\n\n\0"
            began = time.monotonic()
            await client.websocket.send(pair * 490)
            await accepted(client)
            assert time.monotonic() - began < 0.8
            await client.websocket.send(pair * 1500)
            for _ in range(5):
                sent = time.monotonic()
                await accepted(other)
                assert time.monotonic() - sent < 0.5
            await accepted(client)
            assert 2 < time.monotonic() - began < 8
        assert gateway.output.count("(commands): more than 1000 a second") == 1


@pytest.mark.daphne
async def test_the_time_for_a_websocket_message_is_limited(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", **{**variables, "STOMP_MESSAGE_SECONDS": "1"}) as gateway:
        async with StompClient(gateway.stomp) as client, StompClient(gateway.stomp) as other:
            endless = asyncio.create_task(client.websocket.send(_endless()))
            await refused(client, "message-timeout", 1008)
            endless.cancel()
            await accepted(other)


async def _endless() -> AsyncIterator[str]:
    while True:
        yield "\n"
        await asyncio.sleep(0.3)
