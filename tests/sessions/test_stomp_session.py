"""One client's session: what it asks for, what it is answered, and how it ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from realtime.sessions.node import this_node
from realtime.stomp import Frame, encode
from tests.kit.local_client import LocalClient, local_client, until


async def test_connected_says_version_session_and_heart_beat(node: None) -> None:
    client = LocalClient()
    connected = await client.connect(**{"heart-beat": "5000,5000"})
    assert connected.command == "CONNECTED"
    assert connected.headers["version"] == "1.2"
    assert connected.headers["heart-beat"] == "1000,1000"
    assert len(connected.headers["session"]) == 36
    assert "user-name" not in connected.headers
    await client.socket.disconnect()


async def test_a_page_of_a_strange_origin_is_refused(node: None) -> None:
    client = LocalClient(origin="https://evil.example", host="localhost")
    opened, code = await client.socket.connect()
    assert (opened, code) == (False, 1008)


@pytest.mark.django_db(transaction=True)
async def test_a_login_is_that_of_django_and_said_in_connected(node: None) -> None:
    await User.objects.acreate_user("alice", password="wonderland")
    client = LocalClient()
    connected = await client.connect(login="alice", passcode="wonderland")
    assert connected.headers["user-name"] == "alice"
    await client.socket.disconnect()
    client = LocalClient()
    refused = await client.connect(login="alice", passcode="wrong")
    assert refused.headers["code"] == "authentication-failed"
    assert (await client.close())["code"] == 1008


async def test_without_a_login_there_is_none(node: None, settings: Any) -> None:
    settings.STOMP_ANONYMOUS = False
    client = LocalClient()
    refused = await client.connect()
    assert (refused.command, refused.headers["code"]) == ("ERROR", "login-required")
    assert (await client.close())["code"] == 1008


async def test_a_message_reaches_its_subscribers(
    layer: str, client: LocalClient, other: LocalClient
) -> None:
    await client.subscribe("/topic/a")
    await other.send("SEND", {"destination": "/topic/a", "color": "red"}, b"hello")
    message = await client.frame("MESSAGE")
    assert message.body == b"hello"
    assert message.headers["subscription"] == "0"
    assert message.headers["color"] == "red"
    await client.request("UNSUBSCRIBE", {"id": "0"})
    await other.request("SEND", {"destination": "/topic/a"}, b"not heard")
    await client.request("SEND", {"destination": "/topic/a"}, b"nothing came before this receipt")


async def test_what_a_client_sends_at_once_is_done_in_order(
    layer: str, client: LocalClient
) -> None:
    frames = [Frame("SUBSCRIBE", {"id": "0", "destination": "/topic/a", "receipt": "heard"})]
    for number in range(150):
        headers = {"destination": "/topic/a", "receipt": f"{number}"}
        frames.append(Frame("SEND", headers, b"%d" % number))
    await client.write(b"".join(encode(frame, "1.2") for frame in frames))
    got: dict[str, list[str]] = {"RECEIPT": [], "MESSAGE": []}
    for _ in range(301):
        frame = await client.frame()
        text = frame.headers.get("receipt-id") or frame.body.decode()
        got[frame.command].append(text)
    assert got["RECEIPT"] == ["heard", *(f"{number}" for number in range(150))]
    assert got["MESSAGE"] == [f"{number}" for number in range(150)]


@pytest.mark.parametrize("name", ["idempotency-key", "Idempotency-Key"])
async def test_a_message_that_is_sent_again_with_its_key_is_published_once(
    client: LocalClient, other: LocalClient, name: str
) -> None:
    topic = f"/topic/{uuid4().hex}"
    await other.subscribe(topic)
    for body in (b"first", b"again"):
        await client.request("SEND", {"destination": topic, name: "key"}, body)
    await client.request("SEND", {"destination": topic, name: "other"}, b"last")
    messages = [await other.frame("MESSAGE") for _ in range(2)]
    assert [message.body for message in messages] == [b"first", b"last"]
    assert not any("key" in header.lower() for header in messages[0].headers)
    await client.send("SEND", {"destination": topic, name: "x" * 256})
    assert await client.error() == ("bad-header", 1002)


async def test_large_messages_of_one_write_are_published_in_parts(client: LocalClient) -> None:
    await client.subscribe("/topic/a")
    body = b"x" * 30_000
    sends = [Frame("SEND", {"destination": "/topic/a", "receipt": "r"}, body)] * 6
    await client.write(b"".join(encode(frame, "1.2") for frame in sends))
    commands = sorted([(await client.frame()).command for _ in range(12)])
    assert commands == ["MESSAGE"] * 6 + ["RECEIPT"] * 6


@pytest.mark.parametrize(
    ("command", "headers", "code", "close"),
    [
        ("SEND", {"destination": "/queue/a"}, "unknown-destination", 1002),
        ("SEND", {"destination": "/user/bob/queue/a"}, "send-denied", 1008),
        ("SEND", {"destination": "/app/nobody"}, "unknown-destination", 1002),
        ("SEND", {}, "missing-header", 1002),
        ("SUBSCRIBE", {"id": "1", "destination": "/topic/a*"}, "bad-pattern", 1002),
        ("SUBSCRIBE", {"id": "1", "destination": "/app/nobody"}, "unknown-destination", 1002),
        ("SUBSCRIBE", {"id": "1", "destination": "/user/queue/a"}, "login-required", 1008),
        ("SUBSCRIBE", {"id": "1", "destination": "/temp-queue/a"}, "bad-destination", 1002),
        ("UNSUBSCRIBE", {"id": "1"}, "unknown-subscription", 1002),
        ("ACK", {"id": "1/x"}, "unknown-ack", 1002),
        ("NACK", {"id": "1/x"}, "unknown-ack", 1002),
        ("COMMIT", {"transaction": "t"}, "unknown-transaction", 1002),
        ("NONSENSE", {}, "unknown-command", 1002),
        ("CONNECT", {"accept-version": "1.2"}, "already-connected", 1002),
    ],
)
async def test_what_can_not_be_done_is_an_error_with_its_receipt(
    client: LocalClient, command: str, headers: dict[str, str], code: str, close: int
) -> None:
    await client.send(command, {**headers, "receipt": "7"})
    error = await client.frame("ERROR")
    assert (error.headers["code"], error.headers["receipt-id"]) == (code, "7")
    assert (await client.close())["code"] == close


async def test_what_came_before_a_bad_frame_is_done(
    client: LocalClient, other: LocalClient
) -> None:
    await other.subscribe("/topic/a")
    good = encode(Frame("SEND", {"destination": "/topic/a"}, b"good"), "1.2")
    await client.write(good + b"\nNO FRAME\x00")
    assert (await other.frame("MESSAGE")).body == b"good"
    code, close = await client.error()
    assert close == 1002


async def test_a_fault_of_ours_is_logged_and_not_told(
    client: LocalClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("realtime.sessions.stomp_session.check", lambda message: 1 / 0)
    await client.send("SEND", {"destination": "/topic/a"})
    error = await client.frame("ERROR")
    assert (error.headers["code"], error.headers["message"]) == ("internal-error", "internal error")
    assert (await client.close())["code"] == 1011
    assert "ZeroDivisionError" in caplog.text


async def test_while_redis_is_away_a_request_fails_and_says_come_again(
    settings: Any, redis_away: None, node: None
) -> None:
    async with local_client() as client:
        await client.send("SEND", {"destination": "/topic/a", "receipt": "7"})
        error = await client.frame("ERROR")
        assert (error.headers["code"], error.headers["receipt-id"]) == ("unavailable", "7")
        assert (await client.close())["code"] == 4001
    async with local_client() as client:
        await client.send("SUBSCRIBE", {"id": "0", "destination": "/topic/a", "receipt": "8"})
        error = await client.frame("ERROR")
        assert (error.headers["code"], error.headers["receipt-id"]) == ("unavailable", "8")


async def test_a_transaction_is_published_at_its_end_or_never(
    client: LocalClient, other: LocalClient
) -> None:
    await other.subscribe("/topic/a")
    await client.request("BEGIN", {"transaction": "t"})
    await client.request("BEGIN", {"transaction": "dropped"})
    for number in range(3):
        headers = {"destination": "/topic/a", "transaction": "t"}
        await client.request("SEND", headers, b"%d" % number)
        await client.request("SEND", {**headers, "transaction": "dropped"}, b"never")
    await client.request("SEND", {"destination": "/topic/a"}, b"first")
    await client.request("ABORT", {"transaction": "dropped"})
    await client.request("COMMIT", {"transaction": "t"})
    got = [(await other.frame("MESSAGE")).body for _ in range(4)]
    assert got == [b"first", b"0", b"1", b"2"]


async def test_a_transaction_may_hold_acks_and_calls(
    client: LocalClient, other: LocalClient
) -> None:
    await client.subscribe("/topic/a", ack="client")
    await other.request("SEND", {"destination": "/topic/a"}, b"")
    message = await client.frame("MESSAGE")
    await client.request("BEGIN", {"transaction": "t"})
    await client.request("ACK", {"id": message.headers["ack"], "transaction": "t"})
    send = {"destination": "/app/echo/ham", "reply-to": "/temp-queue/x", "transaction": "t"}
    await client.request("SEND", send, b"eggs")
    await client.send("COMMIT", {"transaction": "t", "receipt": "done"})
    frames = {frame.command: frame for frame in [await client.frame(), await client.frame()]}
    assert frames["MESSAGE"].body == b"ham:eggs"
    assert frames["RECEIPT"].headers["receipt-id"] == "done"


async def test_disconnect_is_answered_last(client: LocalClient, other: LocalClient) -> None:
    await other.subscribe("/topic/a")
    frames = [Frame("SEND", {"destination": "/topic/a", "receipt": f"{n}"}) for n in range(5)]
    frames += [Frame("SEND", {"destination": "/app/slow", "receipt": "slow"}, b"0.05")]
    frames += [Frame("DISCONNECT", {"receipt": "last"})]
    await client.write(b"".join(encode(frame, "1.2") for frame in frames))
    receipts = [(await client.frame("RECEIPT")).headers["receipt-id"] for _ in range(7)]
    assert sorted(receipts[:6]) == ["0", "1", "2", "3", "4", "slow"]
    assert receipts[6] == "last"
    assert (await client.close())["code"] == 1000


async def test_who_does_not_connect_in_time_is_closed(node: None, settings: Any) -> None:
    settings.STOMP_CONNECT_SECONDS = 0
    client = LocalClient()
    await client.socket.connect()
    assert await client.error() == ("connect-timeout", 1002)


async def test_who_promised_heart_beats_and_falls_silent_is_closed(
    node: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.sessions.heartbeats.MISSED_HEARTBEATS", 0.05)
    async with local_client(**{"heart-beat": "1000,0"}) as client:
        assert await client.error() == ("heart-beat-missed", 4002)


async def test_heart_beats_are_sent_and_count_as_no_frame(
    node: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.sessions.heartbeats.TICK_SECONDS", 1.0)  # each tick is the last
    async with local_client(**{"heart-beat": "0,1000"}) as client:
        event = await client.socket.receive_output(15)
        assert event == {"type": "websocket.send", "text": "\n"}


async def test_a_client_that_does_not_read_is_cut_off_with_one_line_in_the_log(
    node: None, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.STOMP_SEND_BUFFER_BYTES = 4096
    async with local_client() as client, local_client() as other:
        await client.subscribe("/topic/a")
        gate = asyncio.Event()
        session = next(member for member in this_node().members if member.session.subscriptions)
        session.outbox._send = lambda event: gate.wait()
        for _ in range(10):
            await other.request("SEND", {"destination": "/topic/a"}, b"x" * 1000)
        await until(lambda: session.outbox._closed)
    [record] = [vars(each) for each in caplog.records if "too slowly" in each.message]
    assert record["session"] == session.session.id
    assert 3000 < record["bytes"] <= 4096
    assert (record["user"], record["subscriptions"]) == ("", 1)


async def test_a_server_that_ends_says_come_again(node: None) -> None:
    client = LocalClient()
    await client.connect()
    client.socket.future.cancel()
    assert await client.error() == ("restart", 1012)


async def test_the_node_knows_a_session_as_long_as_it_lives(node: None) -> None:
    async with local_client() as client:
        await client.subscribe("/topic/a")
        (member,) = this_node().members
        session = member.session
        assert (session.version, session.subscriptions, session.user_name) == ("1.2", 1, "")
        await client.request("SEND", {"destination": "/topic/a"}, json.dumps({}).encode())
        await client.frame("MESSAGE")
        assert (session.messages_in, session.messages_out) == (1, 1)
    await until(lambda: not this_node().members)
    assert session.subscriptions == 0
