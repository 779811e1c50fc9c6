"""What functions of the routing table do with what a client sends to /app/..."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User

from realtime.routes import on_send, on_subscribe
from realtime.sessions.handlers import HandlerFailed
from tests.kit.local_client import LocalClient, local_client, until


async def test_a_reply_goes_to_who_asked_and_nobody_else(
    layer: str, client: LocalClient, other: LocalClient
) -> None:
    for asking, body in ((client, b"one"), (other, b"two")):
        headers = {"destination": "/app/echo/ham", "reply-to": "/temp-queue/answers"}
        await asking.send("SEND", headers, body)
    for asked, body in ((client, b"ham:one"), (other, b"ham:two")):
        message = await asked.frame("MESSAGE")
        assert (message.body, message.headers["subscription"]) == (body, "/temp-queue/answers")
    await client.request("SEND", {"destination": "/topic/a"})


async def test_a_reply_without_an_address_goes_where_the_route_says(
    client: LocalClient, other: LocalClient
) -> None:
    await other.subscribe("/topic/echo")
    await client.request("SEND", {"destination": "/app/echo-to-topic/ham"}, b"eggs")
    assert (await other.frame("MESSAGE")).body == b"ham:eggs"


async def test_a_reply_that_nobody_asked_for_goes_nowhere(
    client: LocalClient, redis_client: redis.Redis
) -> None:
    with redis_client.pubsub() as everything:
        everything.psubscribe("gateway__group__*")
        assert everything.get_message(timeout=15) is not None  # the confirmation
        await client.request("SEND", {"destination": "/app/echo/ham"}, b"eggs")
        await client.request("SEND", {"destination": "/topic/a"}, b"the end")
        message = everything.get_message(timeout=15)
        assert message is not None
        assert b"the end" in message["data"]


@pytest.mark.django_db(transaction=True)
async def test_a_reply_for_the_users_own_queue_reaches_all_their_sessions(node: None) -> None:
    await User.objects.acreate_user("alice", password="wonderland")
    login = {"login": "alice", "passcode": "wonderland"}
    async with local_client(**login) as first, local_client(**login) as second:
        await second.subscribe("/user/queue/echo")
        await first.request("SEND", {"destination": "/app/echo-to-me/ham"}, b"eggs")
        assert (await second.frame("MESSAGE")).body == b"ham:eggs"


async def test_a_function_that_is_not_async_runs_on_a_thread(client: LocalClient) -> None:
    await client.send("SEND", {"destination": "/app/whoami", "reply-to": "/temp-queue/a"})
    answer = json.loads((await client.frame("MESSAGE")).body)
    assert answer["user"] == ""
    assert answer["thread"].startswith("realtime-handler")


async def test_a_function_that_raises_hurts_its_own_frame_only(
    client: LocalClient, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"destination": "/app/fail", "reply-to": "/temp-queue/a", "receipt": "never"}
    await client.send("SEND", headers)
    message = await client.frame("MESSAGE")
    assert (message.body, message.headers["error"]) == (b"", "internal-error")
    await client.request("SEND", {"destination": "/topic/a"})  # no other receipt came before
    assert "the handler of /app/fail failed" in caplog.text


async def test_a_slow_function_holds_up_no_other_request(client: LocalClient) -> None:
    await client.send("SEND", {"destination": "/app/slow", "receipt": "slow"}, b"0.3")
    await client.request("SEND", {"destination": "/topic/a"})
    assert (await client.frame("RECEIPT")).headers["receipt-id"] == "slow"


async def test_a_subscribe_is_answered_once(client: LocalClient) -> None:
    await client.send(
        "SUBSCRIBE", {"id": "0", "destination": "/app/settings/color", "receipt": "r"}
    )
    frames = {frame.command: frame for frame in [await client.frame(), await client.frame()]}
    assert json.loads(frames["MESSAGE"].body) == {"part": "color"}
    assert frames["MESSAGE"].headers["subscription"] == "0"


async def test_what_answers_nothing_or_fails_sends_nothing(
    client: LocalClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.request("SUBSCRIBE", {"id": "0", "destination": "/app/nothing"})
    await client.send("SUBSCRIBE", {"id": "1", "destination": "/app/fail", "receipt": "never"})
    await client.request("SEND", {"destination": "/topic/a"})
    await until(lambda: "the handler of subscriptions to /app/fail failed" in caplog.text)


async def test_who_has_left_gets_no_answer(client: LocalClient) -> None:
    await client.send("SUBSCRIBE", {"id": "0", "destination": "/app/late/0.05"})
    await client.request("UNSUBSCRIBE", {"id": "0"})
    await client.subscribe("/app/late/0.1", id="1")
    assert (await client.frame("MESSAGE")).headers["subscription"] == "1"


async def test_only_so_many_calls_are_in_flight(
    client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = most = 0

    async def count(*_: Any, **__: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    monkeypatch.setattr("realtime.sessions.handlers._call", count)
    for number in range(600):
        await client.send("SEND", {"destination": "/app/echo/a", "receipt": f"{number}"})
    for _ in range(600):
        await client.frame("RECEIPT")
    assert 1 < most <= 500


def test_an_entry_checks_itself_when_it_is_made() -> None:
    for wrong in (
        lambda: on_send("/topic/a", print),
        lambda: on_send("/app/<int:>", print),
        lambda: on_send("/app/a", print, reply_to="/queue/a"),
        lambda: on_subscribe("app/a", print),
    ):
        with pytest.raises(Exception, match=r"."):
            wrong()
    assert issubclass(HandlerFailed, Exception)
