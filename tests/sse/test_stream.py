"""A stream of server-sent events in the process of the test, as the ASGI server sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

from realtime.access import limits
from realtime.access.limits import Buckets
from realtime.broker import apublish
from realtime.sessions.node import this_node
from realtime.sse.view import event_stream
from tests.kit.local_client import TIMEOUT, local_node, until


@pytest.fixture(autouse=True)
async def node(settings: Any) -> AsyncIterator[None]:
    settings.STOMP_ROUTING = "tests.routing"
    settings.STOMP_ANONYMOUS = True
    settings.ALLOWED_HOSTS = ["localhost"]
    async with local_node():
        yield


@pytest.fixture
def topic() -> str:
    return f"/topic/{uuid4().hex}"


class Stream:
    """A request for events, and what comes."""

    def __init__(self, query: str, method: str = "GET", **headers: str) -> None:
        headers = {"host": "localhost", **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": "/api/events",
            "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
            "client": ("127.0.0.1", 7),
        }
        self._communicator = ApplicationCommunicator(event_stream, scope)
        self._text = ""

    async def start(self) -> tuple[int, dict[str, str]]:
        """Return status and headers."""
        event = await self._communicator.receive_output(TIMEOUT)
        headers = {name.decode(): value.decode() for name, value in event["headers"]}
        return event["status"], headers

    async def answer(self) -> tuple[int, Any]:
        """Return the status and the content of a response that is no stream."""
        status, _ = await self.start()
        body = (await self._communicator.receive_output(TIMEOUT))["body"]
        return status, json.loads(body) if body else None

    async def event(self) -> dict[str, str]:
        """Return the fields of the next event."""
        while "\n\n" not in self._text:
            self._text += (await self._communicator.receive_output(TIMEOUT))["body"].decode()
        event, _, self._text = self._text.partition("\n\n")
        lines = [line.partition(": ") for line in event.split("\n")]
        return {name: value for name, _, value in lines}

    async def content(self) -> Any:
        return json.loads((await self.event())["data"])

    async def leave(self) -> None:
        await self._communicator.send_input({"type": "http.disconnect"})
        await self._communicator.wait(TIMEOUT)


async def open_stream(query: str, **headers: str) -> tuple[Stream, dict[str, str]]:
    """Return a stream that has begun, and its first event."""
    stream = Stream(query, **headers)
    status, said = await stream.start()
    assert (status, said["content-type"]) == (200, "text/event-stream")
    return stream, await stream.event()


async def test_messages_come_as_events_with_where_the_stream_stands(topic: str) -> None:
    stream, first = await open_stream(f"topic={topic}&topic=/topic/forgotten/a")
    described = json.loads(first["data"])["topics"]
    assert [each["topic"] for each in described] == [topic, "/topic/forgotten/a"]
    assert "position" in described[0]
    assert "position" not in described[1]
    assert first["event"] == "subscribed"
    id = await apublish(topic, {"a": 1}, {"color": "red"})
    event = await stream.event()
    assert event["id"] == f"{id},"
    content = json.loads(event["data"])
    assert (content["topic"], content["message"], content["id"]) == (topic, {"a": 1}, id)
    assert content["headers"]["color"] == "red"
    await stream.leave()
    await until(lambda: not this_node().members)


async def test_who_comes_back_gets_what_was_missed(topic: str) -> None:
    stream, first = await open_stream(f"topic={topic}")
    await stream.leave()
    for text in ("one", "two"):
        await apublish(topic, text)
    stream, described = await open_stream(f"topic={topic}", last_event_id=first["id"])
    assert json.loads(described["data"])["topics"][0]["recovered"] is True
    await apublish(topic, "three")
    assert [(await stream.content())["message"] for _ in range(3)] == ["one", "two", "three"]
    await stream.leave()


async def test_who_can_not_get_all_is_told_what_is_lost(topic: str) -> None:
    stream, described = await open_stream(f"topic={topic}&lastEventId=elsewhere-7")
    assert json.loads(described["data"])["topics"][0]["recovered"] is False
    lost = await stream.event()
    assert lost["event"] == "lost"
    assert json.loads(lost["data"]) == {"topic": topic, "reason": "epoch"}
    await stream.leave()


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "topic"),
        ("topic=/queue/a", 400, "topic"),
        ("topic=/topic/a*", 400, "topic"),
        ("topic=/user/queue/a", 403, "detail"),
        ("topic=/topic/a&lastEventId=nonsense", 400, "last-event-id"),
        ("topic=/topic/a&lastEventId=e-1,e-2", 400, "last-event-id"),
        ("&".join(f"topic=/topic/{number}" for number in range(129)), 400, "topic"),
    ],
)
async def test_what_can_not_be_heard_is_refused(query: str, status: int, field: str) -> None:
    answered, content = await Stream(query).answer()
    assert (answered, list(content)) == (status, [field])


async def test_a_refused_origin_is_named_with_what_would_be_allowed_here_and_in_the_log(
    settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.access.origins.refusals", limits.Refusals())
    settings.ALLOWED_ORIGINS = ["https://friend.example"]
    for _ in range(2):
        _, told = await Stream(
            "topic=/topic/a", origin="https://evil.example\n" + 200 * "x"
        ).answer()
    assert told["detail"].startswith("no requests from 'https://evil.example\\nxxx")
    assert told["detail"].endswith(
        "x': allowed are the gateway's own pages on ALLOWED_HOSTS (localhost),"
        " and those from ALLOWED_ORIGINS (https://friend.example)"
    )
    assert len(told["detail"]) < 300
    assert caplog.messages == [f"refused 127.0.0.1 (foreign-origin): {told['detail']}"]


async def test_other_methods_and_origins_are_refused(settings: Any) -> None:
    settings.ALLOWED_ORIGINS = ["https://friend.example"]
    assert (await Stream("topic=/topic/a", "POST").answer())[0] == 405
    assert (await Stream("topic=/topic/a", origin="https://evil.example").answer())[0] == 403
    status, headers = await Stream("", "OPTIONS", origin="https://friend.example").start()
    assert status == 200
    assert headers["access-control-allow-origin"] == "https://friend.example"
    assert headers["access-control-allow-methods"] == "GET"


@pytest.mark.django_db(transaction=True)
async def test_a_token_logs_in_and_a_wrong_one_does_not(settings: Any) -> None:
    settings.STOMP_ANONYMOUS = False
    assert (await Stream("topic=/topic/a").answer())[0] == 401
    assert (await Stream("topic=/topic/a", authorization="Token wrong").answer())[0] == 401
    alice = await User.objects.acreate_user("alice")
    token = await Token.objects.acreate(user=alice)
    stream, _ = await open_stream("topic=/user/queue/a", authorization=f"Token {token.key}")
    await apublish("/user/alice/queue/a", "yours")
    assert (await stream.content())["message"] == "yours"
    await stream.leave()


async def test_while_redis_is_away_a_stream_is_refused_and_says_when_to_come_again(
    redis_away: None,
) -> None:
    stream = Stream("topic=/topic/a")
    status, headers = await stream.start()
    assert (status, headers["retry-after"]) == (503, "2")


async def test_an_idle_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    monkeypatch.setattr("realtime.sse.stream.KEEP_ALIVE_SECONDS", 0.01)
    stream, _ = await open_stream(f"topic={topic}")
    assert await stream.event() == {":": ""}
    await stream.leave()


async def test_who_does_not_read_is_cut_off_with_one_line_in_the_log(
    settings: Any, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.STOMP_SEND_BUFFER_BYTES = 2048
    stream, _ = await open_stream(f"topic={topic}")
    (member,) = this_node().members
    gate = asyncio.Event()
    member._send = lambda event: gate.wait()
    for _ in range(5):
        await apublish(topic, "x" * 1000)
    await until(lambda: not this_node().members)
    [record] = [vars(each) for each in caplog.records if "too slowly" in each.message]
    assert (record["session"], record["address"]) == (member.session.id, "127.0.0.1")
    assert 1000 < record["bytes"] <= 2048
    assert record["subscriptions"] == 1


async def test_for_a_slow_reader_of_the_newest_what_is_in_between_is_left_out(
    settings: Any,
) -> None:
    topic = f"/topic/prices/{uuid4().hex}"
    stream, _ = await open_stream(f"topic={topic}")
    (member,) = this_node().members
    send, gate = member._send, asyncio.Event()

    async def slow_send(event: dict[str, Any]) -> None:
        await gate.wait()
        await send(event)

    member._send = slow_send
    for number in range(20):
        await apublish(topic, number)
    gate.set()
    contents = [await stream.content()]
    while contents[-1]["message"] != 19:
        contents.append(await stream.content())
    assert len(contents) < 20
    assert sum(int(each["headers"].get("dropped", 0)) for each in contents) == 20 - len(contents)
    await stream.leave()


# Too many


async def test_too_many_logins_of_an_address_are_told_when_to_come_again(
    settings: Any, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    monkeypatch.setattr(limits, "_connects", Buckets())
    settings.STOMP_CONNECTS_PER_MINUTE = 2
    for _ in range(2):
        stream, _ = await open_stream(f"topic={topic}")
        await stream.leave()
    stream = Stream(f"topic={topic}")
    status, headers = await stream.start()
    assert status == 429
    assert 30 <= int(headers["retry-after"]) <= 45


@pytest.mark.django_db(transaction=True)
async def test_a_user_has_so_many_streams_until_one_ends(settings: Any, topic: str) -> None:
    settings.STOMP_CONNECTIONS_PER_USER = 1
    alice = await User.objects.acreate_user("alice")
    token = await Token.objects.acreate(user=alice)
    authorization = f"Token {token.key}"
    stream, _ = await open_stream(f"topic={topic}", authorization=authorization)
    another = Stream(f"topic={topic}", authorization=authorization)
    status, content = await another.answer()
    assert (status, content["code"]) == (429, "too-many-connections")
    await stream.leave()
    stream, _ = await open_stream(f"topic={topic}", authorization=authorization)
    await apublish(topic, "heard")
    assert (await stream.content())["message"] == "heard"
    await stream.leave()
