"""STOMP as it arrives in practice: cut, merged, in text and binary, and wrong."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
import websockets

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

CONNECT = b"CONNECT\naccept-version:1.2\n\n\0"
SUBSCRIBE = b"SUBSCRIBE\nid:0\ndestination:/topic/cut\nreceipt:s\n\n\0"
SEND = "SEND\ndestination:/topic/cut\n\nna\u00efve \u2713\0".encode()


def unconnected(gateway: Gateway) -> StompClient:
    return StompClient(gateway.stomp, connect={"accept-version": ""})


async def test_a_frame_may_be_cut_at_every_byte(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/cut")
        for cut in range(1, len(SEND)):
            await client.websocket.send(SEND[:cut])
            await client.websocket.send(SEND[cut:])
        for _ in range(1, len(SEND)):
            assert (await client.message()).body == "na\u00efve \u2713".encode()


async def test_every_byte_may_come_in_a_message_of_its_own(gateway: Gateway) -> None:
    async with unconnected(gateway) as client:
        for byte in CONNECT + SUBSCRIBE + SEND:
            await client.websocket.send(bytes([byte]))
        await client.frame("CONNECTED")
        await client.frame("RECEIPT")
        assert (await client.message()).body == "na\u00efve \u2713".encode()


async def test_connect_and_subscribe_and_send_may_come_in_one_message(gateway: Gateway) -> None:
    async with unconnected(gateway) as client:
        await client.websocket.send((CONNECT + SUBSCRIBE + b"\n\n" + SEND + SEND).decode())
        await client.frame("CONNECTED")
        await client.frame("RECEIPT")
        for _ in range(2):
            assert (await client.message()).body == "na\u00efve \u2713".encode()


async def test_a_client_that_sends_garbage_gets_error_and_close_and_nobody_notices(
    gateway: Gateway,
) -> None:
    garbage = [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"\xff\xfe" * 40,
        b"\0 \0",
        b"SEND\n\0",
    ]
    async with StompClient(gateway.stomp) as witness:
        await witness.subscribe("/topic/witness")
        for data in garbage:
            async with StompClient(gateway.stomp) as client:
                await client.websocket.send(data)
                error = await client.frame("ERROR")
                assert error.headers["code"] in {"bad-frame", "unknown-command"}
                assert await client.close_code() == 1002
            await witness.request("SEND", {"destination": "/topic/witness"}, data)
            assert (await witness.message()).body == data


async def test_a_nul_more_than_a_frame_needs_means_nothing(gateway: Gateway) -> None:
    async with unconnected(gateway) as client:
        await client.websocket.send("\0" + CONNECT.decode() + "\0\n")
        await client.frame("CONNECTED")
        await client.websocket.send("\0")
        await client.websocket.send("\n\0\r\n" + SUBSCRIBE.decode() + "\0\0")
        await client.frame("RECEIPT")
        await client.websocket.send(b"\0" + SEND + b"\0\n")
        assert (await client.message()).body == "na\u00efve \u2713".encode()


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("parts", [[b"\xff"], [b"SEND\ndestination:/topic/\xc3", b"\n\n\0"]])
async def test_a_text_message_that_is_no_utf_8_closes_the_websocket(
    gateway: Gateway, connected: bool, parts: list[bytes]
) -> None:
    async with unconnected(gateway) as client:
        if connected:
            await client.websocket.send(CONNECT.decode())
            await client.frame("CONNECTED")
        await client.websocket.send(parts if len(parts) > 1 else parts[0], text=True)
        assert await client.close_code() in (1002, 1007)


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_every_version_is_spoken(gateway: Gateway, version: str) -> None:
    async with StompClient(gateway.stomp, version=version) as client:
        assert client.connected.headers["version"] == version
        assert client.websocket.subprotocol == f"v{version.replace('.', '')}.stomp"
        topic = f"/topic/version/{version}"
        await client.subscribe(topic)
        await client.request("SEND", {"destination": topic, "note": "a:b" * (version != "1.0")})
        message = await client.message()
        assert message.headers["note"] == "a:b" * (version != "1.0")


async def test_the_highest_common_subprotocol_is_chosen(gateway: Gateway) -> None:
    offered = ["v10.stomp", "v11.stomp", "v13.stomp"]
    async with StompClient(gateway.stomp, subprotocols=offered) as client:
        assert client.websocket.subprotocol == "v11.stomp"
    async with StompClient(gateway.stomp, subprotocols=None) as client:
        assert client.websocket.subprotocol is None


async def test_the_address_may_end_in_a_slash(gateway: Gateway) -> None:
    async with StompClient(f"{gateway.stomp}/") as client:
        assert client.connected.headers["server"].startswith("stomp-gateway/")


async def test_any_other_path_is_refused(gateway: Gateway) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws://localhost:{gateway.port}/other")
    assert refused.value.response.status_code == 403


async def test_heart_beats_go_both_ways(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp, connect={"heart-beat": "1000,1000"}) as client:
        assert client.connected.headers["heart-beat"] == "1000,1000"
        for _ in range(3):
            assert await asyncio.wait_for(client.websocket.recv(), 1.5) == "\n"
            await client.websocket.send("\n")


async def test_a_client_that_promised_heart_beats_and_is_silent_is_closed(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp, connect={"heart-beat": "1000,0"}) as client:
        error = await client.frame("ERROR")
        assert error.headers["code"] == "heart-beat-missed"
        assert await client.close_code() == 4002


async def test_disconnect_is_answered_last_and_then_closed(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        for number in range(100):
            headers = {"destination": "/topic/last", "receipt": f"{number}"}
            await client.send("SEND", headers, b"x" * 100)
        await client.send("DISCONNECT", {"receipt": "last"})
        receipts = [(await client.frame("RECEIPT")).headers["receipt-id"] for _ in range(101)]
        assert receipts == [*map(str, range(100)), "last"]
        assert await client.close_code() == 1000


async def test_who_subscribes_and_then_publishes_hears_it_without_receipts(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as client:
        for number in range(20):
            topic = f"/topic/at-once/{number}"
            await client.send("SUBSCRIBE", {"id": topic, "destination": topic})
            await client.send("SEND", {"destination": topic}, topic.encode())
        bodies = [(await client.message()).body for _ in range(20)]
        assert bodies == [b"/topic/at-once/%d" % number for number in range(20)]


async def test_messages_of_one_client_keep_their_order(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/order")
        for number in range(2000):
            await client.send("SEND", {"destination": "/topic/order"}, b"%d" % number)
        bodies = [int((await client.message()).body) for _ in range(2000)]
    assert bodies == list(range(2000))


async def test_binary_bodies_pass_unchanged(gateway: Gateway) -> None:
    body = bytes(range(256))
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/binary")
        headers = {"destination": "/topic/binary", "content-type": "application/octet-stream"}
        await client.send("SEND", headers, body)
        message = await client.message()
    assert message.body == body
    assert message.headers["content-type"] == "application/octet-stream"


async def kinds(gateway: Gateway, *connect: str | bytes) -> list[type]:
    """CONNECT with these messages, and return the kind of each answer up to the ERROR."""
    received: list[str | bytes] = []

    async def until(websocket: websockets.ClientConnection, text: bytes) -> None:
        async with asyncio.timeout(15):
            while True:
                data = await websocket.recv()
                received.append(data)
                if text in (data.encode() if isinstance(data, str) else data):
                    return

    async with websockets.connect(gateway.stomp) as websocket:
        for message in connect:
            await websocket.send(message)
        await until(websocket, b"CONNECTED")
        await until(websocket, b"\n")  # a heart-beat
        other = SUBSCRIBE if isinstance(connect[0], str) else SUBSCRIBE.decode()
        await websocket.send(other)
        await until(websocket, b"RECEIPT")
        await websocket.send(SEND)
        await until(websocket, b"MESSAGE")
        await websocket.send("SEND\ndestination:/nowhere\n\n\0")
        await until(websocket, b"ERROR")
    return list(map(type, received))


HEARTBEATS = "CONNECT\naccept-version:1.2\nheart-beat:0,1000\n\n\0"


async def test_answers_come_in_the_kind_of_message_in_which_connect_came(gateway: Gateway) -> None:
    for text in ([HEARTBEATS], ["\n", HEARTBEATS], [HEARTBEATS[:9], HEARTBEATS[9:]]):
        binary = [part.encode() for part in text]
        assert set(await kinds(gateway, *text)) == {str}
        assert set(await kinds(gateway, *binary)) == {bytes}
    await kinds(gateway, HEARTBEATS)


async def test_clients_of_both_kinds_hear_the_same_topic(gateway: Gateway) -> None:
    async with unconnected(gateway) as text, unconnected(gateway) as binary:
        await text.websocket.send(CONNECT.decode() + SUBSCRIBE.decode())
        await binary.websocket.send(CONNECT + SUBSCRIBE)
        for client in (text, binary):
            await client.frame("RECEIPT")
        await text.websocket.send(SEND + SEND.replace("\u2713".encode(), b"\xff"))
        for client, kind in ((text, str), (binary, bytes)):
            assert type(await client.websocket.recv()) is kind
            assert type(await client.websocket.recv()) is bytes


@pytest.mark.daphne
async def test_what_the_server_refuses_is_told_in_that_kind_too(gateway: Gateway) -> None:
    async with unconnected(gateway) as client:
        await client.websocket.send(CONNECT)
        await client.frame("CONNECTED")
        with contextlib.suppress(websockets.ConnectionClosed):
            await client.websocket.send(b"x" for _ in range(5000))
        error = await client.websocket.recv()
        assert isinstance(error, bytes)
        assert b"code:too-many-frames" in error


@pytest.mark.daphne
async def test_a_shutdown_says_why_and_asks_to_reconnect(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", **variables) as gateway:
        async with StompClient(gateway.stomp) as client:
            await client.subscribe("/topic/restart")
            stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
            assert (await client.frame("ERROR")).headers["code"] == "restart"
            assert await client.close_code() == 1012
            assert await stopping == 0, gateway.output


async def test_headers_of_a_send_come_with_its_message(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/headers")
        own = {"destination": "/topic/headers", "receipt": "r", "content-type": "image/png"}
        own |= {"x-colour": "blue:\\green\r\n", "priority": "9", "message-id": "forged"}
        own |= {"authorization": "Token secret", "Passcode": "secret", "login": "me"}
        await client.send("SEND", own | {"subscription": "forged", "ack": "forged"}, b"\x89PNG")
        await client.send("SEND", {"destination": "/topic/headers"})
        first, second = await client.message(), await client.message()
    assert first.headers["content-type"] == "image/png"
    assert first.headers["x-colour"] == "blue:\\green\r\n"
    assert first.headers["priority"] == "9"
    assert first.headers["subscription"] == "0"
    assert first.headers["message-id"] != "forged"
    assert not {"receipt", "ack", "authorization", "Passcode", "login"} & set(first.headers)
    assert "content-type" not in second.headers


async def test_a_1_0_subscription_without_an_id_goes_by_its_destination(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp, version="1.0") as client:
        await client.request("SUBSCRIBE", {"destination": "/topic/old"})
        await client.request("SEND", {"destination": "/topic/old"}, b"x")
        message = await client.message()
        assert message.headers["destination"] == "/topic/old"
        assert "subscription" not in message.headers
        await client.request("UNSUBSCRIBE", {"destination": "/topic/old"})
        await client.request("SEND", {"destination": "/topic/old"}, b"x")
        assert client.waiting("MESSAGE") == 0


async def test_what_was_received_is_published_though_its_client_is_gone(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as witness:
        await witness.subscribe("/topic/gone")
        async with StompClient(gateway.stomp) as client:
            for number in range(50):
                await client.send("SEND", {"destination": "/topic/gone"}, b"%d" % number)
        bodies = [(await witness.message()).body for _ in range(50)]
    assert bodies == [b"%d" % number for number in range(50)]


@pytest.mark.daphne
async def test_a_shutdown_is_told_to_clients_that_are_busy_sending(
    variables: dict[str, str], tmp_path: Path
) -> None:
    async def flood(client: StompClient) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await client.send("SEND", {"destination": "/topic/flood"}, b"x" * 1000)
                await asyncio.sleep(0)  # or nobody reads what comes

    async with contextlib.AsyncExitStack() as stack:
        gateway = stack.enter_context(Gateway(tmp_path / "log", **variables))
        clients = [await stack.enter_async_context(StompClient(gateway.stomp)) for _ in range(20)]
        floods = [asyncio.create_task(flood(client)) for client in clients]
        await asyncio.sleep(0.5)
        stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
        for client in clients:
            assert (await client.frame("ERROR")).headers["code"] == "restart"
        await asyncio.gather(*floods)
        assert await stopping == 0, gateway.output
