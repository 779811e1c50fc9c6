"""How much a session may send: at the limit, and one above, where it is read more slowly."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from realtime.access import limits, topic_quota
from realtime.access.limits import Buckets
from realtime.access.topic_quota import TopicQuota
from realtime.sessions.node import this_node
from realtime.sessions.pace import Pace
from realtime.stomp import Frame, encode
from tests.kit.local_client import LocalClient, local_client, until

LIMITS = [
    ("frames", "STOMP_COMMANDS_PER_SECOND", "STOMP_COMMANDS_BURST", 20_000, 100_000),
    ("bytes", "STOMP_BYTES_PER_SECOND", "STOMP_BYTES_BURST", 2**24, 2**26),
    ("subscribes", "STOMP_SUBSCRIBES_PER_SECOND", "STOMP_SUBSCRIBES_BURST", 200, 1000),
]


def wait(pace: Pace, now: float, **sent: int) -> float:
    for name, amount in sent.items():
        setattr(pace, name, amount)
    return pace.wait(now)


@pytest.mark.parametrize(("name", "_", "__", "rate", "burst"), LIMITS)
def test_by_default_so_much_may_come_at_once_and_in_a_second(
    name: str, _: str, __: str, rate: int, burst: int
) -> None:
    pace = Pace("192.0.2.1")
    assert wait(pace, 1000.0, **{name: burst}) == 0
    assert wait(pace, 1000.0, **{name: 1}) == pytest.approx(1 / rate)
    assert wait(pace, 1001.0, **{name: rate - 1}) == pytest.approx(0)
    assert wait(pace, 1001.0, **{name: 2 * rate}) == pytest.approx(2)


@pytest.mark.parametrize(("name", "rate", "_", "__", "burst"), LIMITS)
def test_zero_is_for_any_number(
    settings: Any, name: str, rate: str, _: str, __: int, burst: int
) -> None:
    setattr(settings, rate, 0)
    assert wait(Pace(""), 1000.0, **{name: 1000 * burst}) == 0


def test_a_fast_publisher_is_not_slowed_for_some_seconds() -> None:
    pace = Pace("")
    waits = [wait(pace, 1000 + n / 1600, frames=25, bytes=25 * 150) for n in range(4 * 1600)]
    assert set(waits) == {0}  # 40 000 frames a second


def test_all_subscriptions_may_be_made_at_once_whatever_the_burst_is(settings: Any) -> None:
    settings.STOMP_SUBSCRIBES_BURST = 10
    settings.STOMP_MAX_SUBSCRIPTIONS = 300
    pace = Pace("")
    assert wait(pace, 1000.0, subscribes=300) == 0
    assert wait(pace, 1000.0, subscribes=1) > 0


def test_the_longest_wait_counts_and_who_has_to_wait_is_logged(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.STOMP_COMMANDS_PER_SECOND = settings.STOMP_COMMANDS_BURST = 10
    settings.STOMP_BYTES_PER_SECOND = settings.STOMP_BYTES_BURST = 10
    pace = Pace("192.0.2.77")
    assert wait(pace, 1000.0, frames=20, bytes=60) == pytest.approx(5)
    assert wait(pace, 1000.0, frames=20) == pytest.approx(3)
    assert caplog.messages == [
        "slowed down 192.0.2.77 (commands): more than 10 a second",
        "slowed down 192.0.2.77 (bytes): more than 10 a second",
    ]


# In a session


def frames(count: int, **headers: str) -> bytes:
    return encode(Frame("SEND", headers, b"x"), "1.2") * count


async def seconds_until_done(client: LocalClient, data: bytes = b"\n") -> float:
    start = time.monotonic()
    await client.write(data)
    await client.request("SEND", {"destination": "/topic/pace"})
    return time.monotonic() - start


async def test_who_sends_too_many_frames_is_slowed_and_not_closed_and_others_go_on(
    client: LocalClient, other: LocalClient, settings: Any
) -> None:
    settings.STOMP_COMMANDS_PER_SECOND = 500
    settings.STOMP_COMMANDS_BURST = 100
    await client.write(frames(600, destination="/topic/pace"))
    assert await seconds_until_done(other) < 0.5
    assert 0.5 < await seconds_until_done(client) < 5


async def test_many_small_frames_of_any_kind_count(client: LocalClient, settings: Any) -> None:
    settings.STOMP_COMMANDS_PER_SECOND = 500
    settings.STOMP_COMMANDS_BURST = 100
    pair = b"BEGIN\ntransaction:t\n\n\0ABORT\ntransaction:t\n\n\0"
    assert await seconds_until_done(client, pair * 150) > 0.3


async def test_line_feeds_count_by_their_bytes(client: LocalClient, settings: Any) -> None:
    settings.STOMP_BYTES_PER_SECOND = 2**20
    settings.STOMP_BYTES_BURST = 2**16
    assert await seconds_until_done(client, b"\n" * 2**19) > 0.4


async def test_who_subscribes_and_unsubscribes_all_the_time_is_slowed(
    client: LocalClient, settings: Any
) -> None:
    settings.STOMP_SUBSCRIBES_PER_SECOND = 200
    settings.STOMP_SUBSCRIBES_BURST = 128
    churn = b"".join(
        b"SUBSCRIBE\nid:0\ndestination:/topic/pace/%d\n\n\0UNSUBSCRIBE\nid:0\n\n\0" % number
        for number in range(125)
    )
    assert await seconds_until_done(client, churn) > 0.5


async def test_heart_beats_are_not_missed_while_a_client_is_slowed(
    node: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STOMP_HEARTBEAT_MS = 100
    settings.STOMP_COMMANDS_PER_SECOND = 25
    settings.STOMP_COMMANDS_BURST = 1
    monkeypatch.setattr("realtime.sessions.node.TICK_SECONDS", 0.02)
    async with local_client(**{"heart-beat": "100,0"}) as client:
        assert await seconds_until_done(client, frames(50, destination="/topic/pace")) > 1


# What it may have


async def connect(address: str = "", **headers: str) -> tuple[LocalClient, Frame]:
    client = LocalClient()
    client.socket.scope["client"] = (address, 1)
    return client, await client.connect(**headers)


async def test_too_many_logins_of_an_address_are_told_when_to_come_again(
    node: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_connects", Buckets())
    settings.STOMP_CONNECTS_PER_MINUTE = 2
    for _ in range(2):
        client, connected = await connect("192.0.2.1")
        assert connected.command == "CONNECTED"
        await client.socket.disconnect()
    client, refused = await connect("192.0.2.1")
    assert (refused.command, refused.headers["code"]) == ("ERROR", "too-many-connects")
    assert 30 <= int(refused.headers["retry-after"]) <= 45
    assert (await client.close())["code"] == 4001


@pytest.mark.django_db(transaction=True)
async def test_a_user_has_so_many_sessions_until_one_ends(node: None, settings: Any) -> None:
    settings.STOMP_CONNECTIONS_PER_USER = 2
    for name in ("alice", "bob"):
        await User.objects.acreate_user(name, password="wonderland")
    alice = {"login": "alice", "passcode": "wonderland"}
    (first, _), (second, _) = [await connect(**alice) for _ in range(2)]
    third, refused = await connect(**alice)
    assert (refused.command, refused.headers["code"]) == ("ERROR", "too-many-connections")
    assert int(refused.headers["retry-after"]) >= 10
    assert (await third.close())["code"] == 4001
    bob, connected = await connect(**{**alice, "login": "bob"})
    assert connected.command == "CONNECTED"
    await first.socket.disconnect()
    await until(lambda: len(this_node().members) == 3)
    await third.socket.disconnect()
    fourth, connected = await connect(**alice)
    assert connected.command == "CONNECTED"
    for client in (second, fourth, bob):
        await client.socket.disconnect()
    assert not this_node()._counts


async def test_anonymous_clients_are_no_user(node: None, settings: Any) -> None:
    settings.STOMP_CONNECTIONS_PER_USER = 1
    clients = [await connect() for _ in range(3)]
    assert {connected.command for _, connected in clients} == {"CONNECTED"}
    for client, _ in clients:
        await client.socket.disconnect()


@pytest.fixture
def three_topics(settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let an account make three of them, whose names begin so."""
    settings.STOMP_NEW_TOPICS_PER_MINUTE = 3
    monkeypatch.setattr(topic_quota, "quota", TopicQuota())
    return f"/topic/new/{uuid4().hex}"


@pytest.mark.parametrize("transaction", [{}, {"transaction": "t"}], ids=["alone", "held"])
async def test_who_makes_too_many_topics_gets_an_error(
    three_topics: str, client: LocalClient, transaction: dict[str, str]
) -> None:
    await client.request("BEGIN", {"transaction": "t"})
    for number in (1, 2, 3, 1, 2, 3):
        await client.request("SEND", {"destination": f"{three_topics}/{number}", **transaction})
    await client.send("SEND", {"destination": f"{three_topics}/4", **transaction})
    error = await client.frame("ERROR")
    assert error.headers["code"] == "too-many-topics"
    assert 0 < int(error.headers["retry-after"]) <= 60
    assert (await client.close())["code"] == 4001


async def test_with_soft_errors_it_is_told_and_goes_on(three_topics: str, node: None) -> None:
    async with local_client(**{"x-soft-errors": "true"}) as client:
        for number in (1, 2, 3):
            await client.request("SEND", {"destination": f"{three_topics}/{number}"})
        await client.send("SEND", {"destination": f"{three_topics}/4", "receipt": "4"})
        told = await client.frame("MESSAGE")
        assert told.headers["refused"] == "too-many-topics"
        assert told.headers["receipt-id"] == "4"
        assert 0 < int(told.headers["retry-after"]) <= 60
        await client.request("SEND", {"destination": f"{three_topics}/1"})


async def test_nobody_can_make_a_message_look_refused(client: LocalClient) -> None:
    await client.subscribe("/topic/pace")
    await client.send("SEND", {"destination": "/topic/pace", "refused": "no", "a": "b"})
    message = await client.frame("MESSAGE")
    assert message.headers["a"] == "b"
    assert "refused" not in message.headers
