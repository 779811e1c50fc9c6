"""User destinations, replies to one session, and handlers in Python."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
import redis

from tests.e2e.test_the_three_checks import post
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, Process

People = dict[str, dict[str, str]]


async def notify(gateway: Gateway, topic: str, message: Any) -> tuple[int, Any]:
    content = json.dumps({"topic": topic, "message": message}).encode()
    answer: tuple[int, Any] = await post(f"{gateway.url}/api/notification", content)
    return answer


async def test_a_service_reaches_all_sessions_of_a_user_on_all_processes(
    gateway: Gateway, second_gateway: Gateway, people: People
) -> None:
    alice, bob = people["alice"], people["bob"]
    async with (
        StompClient(gateway.stomp, connect=alice) as one,
        StompClient(second_gateway.stomp, connect=alice) as two,
        StompClient(gateway.stomp, connect=bob) as other,
    ):
        assert one.connected.headers["user-name"] == "alice"
        for client in (one, two, other):
            await client.subscribe("/user/queue/news")
        await notify(gateway, "/user/alice/queue/news", "for alice")
        await notify(second_gateway, "/user/bob/queue/news", "for bob")
        for client, body in ((one, b"for alice"), (two, b"for alice"), (other, b"for bob")):
            message = await client.message()
            assert message.body == body
            assert message.headers["destination"].endswith("/queue/news")
        assert one.waiting("MESSAGE") == two.waiting("MESSAGE") == other.waiting("MESSAGE") == 0


@pytest.mark.parametrize(
    ("destination", "code"),
    [
        ("/user/bob/queue/news", "bad-destination"),
        ("/user/queue/", "bad-destination"),
        ("/queue/a", "unknown-destination"),
        ("/app/nothing-here", "unknown-destination"),
    ],
)
async def test_what_is_not_ones_own_can_not_be_heard(
    gateway: Gateway, people: People, destination: str, code: str
) -> None:
    async with StompClient(gateway.stomp, connect=people["alice"]) as client:
        await client.send("SUBSCRIBE", {"destination": destination, "id": "0", "receipt": "r"})
        error = await client.frame("ERROR")
        assert (error.headers["code"], error.headers["receipt-id"]) == (code, "r")


async def test_an_anonymous_client_has_no_user_destination(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.send("SUBSCRIBE", {"destination": "/user/queue/news", "id": "0"})
        assert (await client.frame("ERROR")).headers["code"] == "login-required"
        assert await client.close_code() == 1008


async def test_a_temporary_queue_is_not_subscribed_to_but_named_in_reply_to(
    gateway: Gateway, people: People
) -> None:
    for connect in ({}, people["alice"]):
        async with StompClient(gateway.stomp, connect=connect) as client:
            await client.send("SUBSCRIBE", {"destination": "/temp-queue/mine", "id": "0"})
            error = await client.frame("ERROR")
            assert error.headers["code"] == "bad-destination"
            assert "reply-to" in error.headers["message"]


async def test_a_subscription_with_the_id_of_a_temporary_queue_is_not_taken_for_it(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/a", id="/temp-queue/r")
        await client.send(
            "SEND", {"destination": "/app/echo/x", "reply-to": "/temp-queue/r", "receipt": "r"}
        )
        error = await client.frame("ERROR")
        assert error.headers["code"] == "duplicate-subscription"
        assert error.headers["receipt-id"] == "r"


async def test_a_destination_comes_back_byte_for_byte(gateway: Gateway) -> None:
    for topic in ("/topic/na\u00efve \u2713:x\\y/", "/topic//a", "/topic/A%2fb"):
        async with StompClient(gateway.stomp) as client:
            await client.subscribe(topic)
            await client.send("SEND", {"destination": topic})
            assert (await client.message()).headers["destination"] == topic


async def test_a_service_answers_exactly_the_session_that_asked(
    gateway: Gateway, bridge: Process, redis_client: redis.Redis, people: People
) -> None:
    service = redis_client.pubsub(ignore_subscribe_messages=True)
    service.subscribe("QUESTIONS")
    service.get_message(timeout=5)
    alice = people["alice"]
    async with (
        StompClient(gateway.stomp, connect=alice) as asking,
        StompClient(gateway.stomp, connect=alice) as other,
    ):
        headers = {"destination": "/app/ask/time", "reply-to": "/temp-queue/answers", "x": "y"}
        await other.request("SEND", headers, b"other question")
        await asking.request("SEND", headers, b"what time is it?")
        service.get_message(timeout=5)
        question = json.loads(service.get_message(timeout=5)["data"])
        assert question["body"] == "what time is it?"
        assert question["destination"] == "/app/ask/time"
        assert question["user"] == "alice"
        assert question["session"] == asking.connected.headers["session"]
        assert question["headers"]["x"] == "y"
        assert abs(question["timestamp"] - time.time()) < 60

        status, _ = await notify(gateway, question["reply-to"], "late")
        assert status == 202
        answer = {"destination": question["reply-to"], "body": "by a bridge"}
        redis_client.publish("ANSWERS", json.dumps(answer))
        messages = [await asking.message(), await asking.message()]
        assert {message.body for message in messages} == {b"late", b"by a bridge"}
        for message in messages:
            assert message.headers["subscription"] == "/temp-queue/answers"
            assert message.headers["destination"] == question["reply-to"]
        assert other.waiting("MESSAGE") == 0
    service.close()


async def test_reply_to_has_to_be_a_temp_queue(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        headers = {"destination": "/app/echo/x", "reply-to": "/topic/public", "receipt": "r"}
        await client.send("SEND", headers)
        assert (await client.frame("ERROR")).headers["code"] == "bad-destination"


async def test_a_handler_gets_variables_and_its_reply_goes_where_it_is_asked_to(
    gateway: Gateway, people: People
) -> None:
    async with StompClient(gateway.stomp, connect=people["alice"]) as client:
        await client.subscribe("/topic/echo", id="topic")
        await client.subscribe("/user/queue/echo", id="mine")
        for path, subscription in (
            ("/app/echo/anna", "/temp-queue/r"),
            ("/app/echo-to-topic/anna", "topic"),
            ("/app/echo-to-me/anna", "mine"),
        ):
            headers = {"destination": path}
            if subscription.startswith("/temp"):
                headers["reply-to"] = subscription
            await client.request("SEND", headers, b"hello")
            message = await client.message()
            assert message.body == b"anna:hello"
            assert message.headers["subscription"] == subscription


async def test_a_reply_that_nobody_asked_for_is_dropped(
    gateway: Gateway, redis_client: redis.Redis
) -> None:
    with redis_client.pubsub() as everything:
        everything.psubscribe("gateway__group__*")
        assert everything.get_message(timeout=15) is not None  # the confirmation
        async with StompClient(gateway.stomp) as client:
            await client.request("SEND", {"destination": "/app/echo/anna"}, b"hello")
            await client.request("SEND", {"destination": "/topic/end"}, b"the end")
        first = await asyncio.to_thread(everything.get_message, timeout=15)
    assert first is not None
    assert b"the end" in first["data"]


async def test_a_handler_need_not_be_async(gateway: Gateway, people: People) -> None:
    async with StompClient(gateway.stomp, connect=people["bob"]) as client:
        await client.send("SEND", {"destination": "/app/whoami", "reply-to": "/temp-queue/r"})
        answer = json.loads((await client.message()).body)
        assert answer["user"] == "bob"
        assert answer["thread"].startswith("realtime-handler")


async def test_a_handler_that_raises_hurts_only_its_own_frame(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/after")
        await client.send("SEND", {"destination": "/app/fail", "receipt": "never"})
        await client.send("SEND", {"destination": "/app/fail", "reply-to": "/temp-queue/r"})
        reply = await client.message()
        assert reply.headers["error"] == "internal-error"
        assert reply.headers["subscription"] == "/temp-queue/r"
        await client.request("SEND", {"destination": "/topic/after"}, b"still here")
        assert (await client.message()).body == b"still here"
        assert client.waiting("RECEIPT") == 0
    assert "this handler always fails" in gateway.output


@pytest.mark.parametrize("handler", ["/app/slow", "/app/slow-sync"])
async def test_a_slow_handler_holds_up_nobody(gateway: Gateway, handler: str) -> None:
    async with StompClient(gateway.stomp) as client, StompClient(gateway.stomp) as other:
        for each in (client, other):
            await each.subscribe("/topic/meanwhile")
        await client.send("SEND", {"destination": handler, "reply-to": "/temp-queue/r"}, b"2")
        started = time.monotonic()
        for number in range(20):
            await client.request("SEND", {"destination": "/topic/meanwhile"}, b"%d" % number)
            for each in (client, other):
                assert (await each.message()).body == b"%d" % number
        assert time.monotonic() - started < 2
        assert (await client.message()).body == b"slept"


async def test_a_subscription_to_an_application_destination_is_answered_once(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/app/settings/colours", id="s")
        message = await client.message()
        assert json.loads(message.body) == {"part": "colours"}
        assert message.headers["subscription"] == "s"
        assert message.headers["destination"] == "/app/settings/colours"
        await client.request("UNSUBSCRIBE", {"id": "s"})
        await client.subscribe("/app/nothing", id="n")
        await client.send("SUBSCRIBE", {"destination": "/app/fail", "id": "f", "receipt": "never"})
        await client.request("SEND", {"destination": "/topic/nobody"})
        assert client.waiting("MESSAGE") == client.waiting("RECEIPT") == 0


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
@pytest.mark.parametrize("mode", ["client", "client-individual"])
async def test_the_answer_to_a_subscription_may_be_acknowledged(
    gateway: Gateway, version: str, mode: str
) -> None:
    async with StompClient(gateway.stomp, version=version) as client:
        await client.subscribe("/app/settings/colours", id="s", ack=mode)
        message = await client.message()
        assert ("ack" in message.headers) == (version == "1.2")
        await client.request("ACK", client.acknowledgement(message))
        await client.send("ACK", client.acknowledgement(message))
        assert (await client.frame("ERROR")).headers["code"] == "unknown-ack"


async def test_no_answer_comes_to_a_subscription_that_has_ended(gateway: Gateway) -> None:
    async with StompClient(gateway.stomp) as client:
        await client.send("SUBSCRIBE", {"destination": "/app/late/0.5", "id": "s"})
        await client.request("UNSUBSCRIBE", {"id": "s"})
        await client.send("SUBSCRIBE", {"destination": "/app/late/1", "id": "s"})
        assert (await client.message()).body == b"after 1"


async def test_slow_handlers_of_some_sessions_leave_threads_for_others(gateway: Gateway) -> None:
    async with (
        StompClient(gateway.stomp) as one,
        StompClient(gateway.stomp) as two,
        StompClient(gateway.stomp) as other,
    ):
        for slow in (one, two):
            for _ in range(4):
                await slow.send("SEND", {"destination": "/app/slow-sync"}, b"3")
            await slow.request("SEND", {"destination": "/topic/nobody"})
        started = time.monotonic()
        await other.request("SEND", {"destination": "/app/whoami"})
        assert time.monotonic() - started < 3


async def test_slow_handlers_hold_up_no_other_send_of_their_session_but_its_disconnect(
    gateway: Gateway,
) -> None:
    async with StompClient(gateway.stomp) as client:
        started = time.monotonic()
        for number in range(500):
            headers = {"destination": "/app/slow", "receipt": f"slow-{number}"}
            await client.send("SEND", headers, b"6")
        await client.request("SEND", {"destination": "/topic/nobody"})
        assert time.monotonic() - started < 6
        await client.send("DISCONNECT", {"receipt": "last"})
        receipts = [(await client.frame("RECEIPT")).headers["receipt-id"] for _ in range(501)]
        assert receipts[-1] == "last"
        assert time.monotonic() - started > 6


async def test_messages_of_one_session_reach_a_redis_channel_in_order(
    gateway: Gateway, redis_client: redis.Redis
) -> None:
    service = redis_client.pubsub(ignore_subscribe_messages=True)
    service.subscribe("GREETING_CHANNEL_OUTBOUND")
    service.get_message(timeout=5)
    async with StompClient(gateway.stomp) as client:
        for number in range(500):
            await client.send("SEND", {"destination": "/app/greet"}, b"%d" % number)
        await client.request("DISCONNECT", {})

        def heard() -> list[str]:
            return [json.loads(service.get_message(timeout=5)["data"]) for _ in range(500)]

        assert await asyncio.to_thread(heard) == [str(number) for number in range(500)]
    service.close()
