"""
Resuming, against a model: any order of publishing, cutting, coming back, and of what can happen
to Redis, on a real Valkey.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import uuid4

import redis
from channels.layers import get_channel_layer
from django.conf import settings
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from realtime.broker import apublish
from realtime.delivery.frames import Frames
from realtime.destinations.groups import group_name
from realtime.history.log import MAX_REPLAY
from realtime.history.positions import Position, Reason
from realtime.hub.hub import Hub
from realtime.hub.subscription import Start, Subscription
from realtime.layer.scripts import history_keys
from realtime.routes.table import topic_options
from tests.kit.listening import stomp_frames, subscription

SIZE = 100  # of the default history

OPERATIONS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 60)),
    st.tuples(st.just("cut"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("trim"), st.integers(0, 60)),
    st.tuples(st.just("expire"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("roll back"), st.integers(0, 40)),
    st.tuples(st.just("lose"), st.integers(1, 5)),
    st.tuples(st.just("forget"), st.just(0)),
)


@dataclass
class Model:
    """What Redis holds: the numbers of the messages, from the first of the topic on."""

    numbers: list[int] = field(default_factory=list)
    first_kept: int = 0  # an index
    common: dict[str, int] = field(default_factory=dict)  # of each epoch, how many still count
    published: int = 0

    def begin_epoch(self, kept: int) -> None:
        del self.numbers[kept:]
        self.first_kept = min(self.first_kept, kept)
        self.common = {epoch: min(count, kept) for epoch, count in self.common.items()}

    def due(self, position: Position, epoch: str) -> list[int] | None:
        """Return what somebody at a position has missed, or None if it can't be had."""
        counted = (
            len(self.numbers) if position.epoch == epoch else self.common.get(position.epoch, -1)
        )
        missing = len(self.numbers) - position.offset
        if position.offset > counted or missing > MAX_REPLAY:
            return None
        kept = max(self.first_kept, len(self.numbers) - SIZE)
        return self.numbers[position.offset :] if not missing or position.offset >= kept else None

    def left(self, position: Position, epoch: str) -> list[int]:
        """Return what can still be had of what somebody who hears has missed."""
        known = position.offset if position.epoch == epoch else self.common.get(position.epoch, 0)
        kept = max(self.first_kept, len(self.numbers) - SIZE, known)
        return self.numbers[kept:]


class Client:
    """Follows a topic, and checks each thing that it is told against the model."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.position: Position | None = None
        self.subscription: Subscription | None = None
        self.expected: list[int | None] = []  # None where messages are lost
        self.got: list[int | None] = []

    async def subscribe(self) -> None:
        model, hub = self.world.model, self.world.hub
        epoch = await self.world.epoch()
        due = model.due(self.position, epoch) if self.position is not None else []
        self.expected += [None] if due is None else due
        self.subscription = subscription(
            self.world.topic, "0", "1.2", self.deliver, resume=self.position,
            began=self.began, lost=self.lost,
        )  # fmt: skip
        await hub.subscribe(self.subscription)

    def cut(self) -> None:
        assert self.subscription is not None
        self.world.hub.unsubscribe(self.subscription)
        self.subscription = None

    def began(self, start: Start) -> dict[str, str]:
        assert start.recovered in (None, True, False)
        self.position = start.position
        if start.recovered is False:
            self.got.append(None)
        return {}

    def deliver(self, frames: Frames) -> None:
        for message, frame in zip(frames.messages, stomp_frames(frames), strict=True):
            head, _, body = frame.partition(b"\n\n")
            self.got.append(int(body[:-1]))
            position = Position.parse(message.id)
            assert position is not None and self.position is not None
            assert position.offset == self.position.offset + 1
            self.position = position

    def lost(self, subscription: Subscription, position: Position, reason: Reason) -> None:
        self.position = position
        self.got.append(None)


class World:
    """A hub, a topic and a Valkey to which things happen."""

    def __init__(self, client: redis.Redis) -> None:
        self.redis = client
        self.topic = f"/topic/model/{uuid4().hex}"
        self.hub = Hub()
        self.model = Model()
        self.client = Client(self)
        self.keys = history_keys(f"gateway__group__{group_name(self.topic)}")

    async def epoch(self) -> str:
        history = topic_options(self.topic).history
        assert history is not None
        log = await get_channel_layer().reader.read(group_name(self.topic), history, 0)
        epoch: str = log.position.epoch
        self.model.common.setdefault(epoch, len(self.model.numbers))
        return epoch

    async def settled(self) -> None:
        """Wait until the client got what it is to get; what should not come has had its time."""
        async with asyncio.timeout(15):
            while len(self.client.got) < len(self.client.expected):
                await asyncio.sleep(0.005)

    async def do(self, operation: str, number: int) -> None:
        await getattr(self, operation.replace(" ", "_"))(number)
        await self.settled()

    async def publish(self, count: int) -> None:
        client = self.client
        await self.notice()
        for _ in range(count):
            self.model.published += 1
            await apublish(self.topic, str(self.model.published))
            self.model.numbers.append(self.model.published)
            if client.subscription is not None:
                client.expected.append(self.model.published)
        epoch = await self.epoch()
        self.model.common[epoch] = len(self.model.numbers)

    async def notice(self) -> None:
        """What has happened to Redis is seen by who hears with the next message at the latest."""
        client = self.client
        if client.subscription is None or client.position is None:
            return
        await self.settled()
        epoch = await self.epoch()
        due = self.model.due(client.position, epoch)
        left = self.model.left(client.position, epoch)
        client.expected += [None, *left] if due is None else due
        self.hub._check_now.set()

    async def cut(self, _: int) -> None:
        if self.client.subscription is not None:
            await self.notice()
            await self.settled()
            self.client.cut()

    async def resume(self, _: int) -> None:
        if self.client.subscription is None:
            await self.client.subscribe()

    async def trim(self, count: int) -> None:
        self.redis.xtrim(self.keys[1], maxlen=count, approximate=False)
        self.model.first_kept = max(self.model.first_kept, len(self.model.numbers) - count)

    async def expire(self, _: int) -> None:
        self.redis.delete(self.keys[1])
        self.model.first_kept = len(self.model.numbers)

    async def restart(self, _: int) -> None:
        await self.another_run(len(self.model.numbers))

    async def roll_back(self, count: int) -> None:
        """Come back with an older snapshot."""
        kept = max(0, len(self.model.numbers) - count)
        entries = self.redis.xrange(self.keys[1])
        self.redis.delete(self.keys[1])  # which knows no younger ones then
        for entry_id, fields in entries:
            if int(entry_id.partition(b"-")[2]) <= kept:
                self.redis.xadd(self.keys[1], fields, id=entry_id)
        if self.redis.exists(self.keys[0]):
            self.redis.hset(self.keys[0], "offset", str(kept))
        await self.another_run(kept)

    async def another_run(self, kept: int) -> None:
        if self.redis.exists(self.keys[0]):
            self.redis.hset(self.keys[0], "run", "another")
        self.model.begin_epoch(kept)
        await self.notice()

    async def lose(self, count: int) -> None:
        """Publish what this process does not hear; it finds out by itself."""
        if self.client.subscription is None:
            return
        layer = get_channel_layer()._get_layer()
        channel = self.hub._channel.result()  # type: ignore[union-attr]
        heard = layer.sinks[channel]
        layer.sinks[channel] = lambda messages, first, pattern: None
        await self.publish(count)
        layer.sinks[channel] = heard
        self.hub._check_now.set()

    async def forget(self, _: int) -> None:
        """Come back without any data."""
        self.redis.delete(*self.keys, "gateway__generation")
        self.model.numbers.clear()
        self.model.first_kept = 0
        self.model.common.clear()
        await self.notice()

    async def close(self) -> None:
        if self.client.subscription is not None:
            self.client.cut()
        await self.hub.close()
        await get_channel_layer().flush()


@example([("cut", 0), ("forget", 0), ("publish", 1), ("resume", 0)])
@example([("cut", 0), ("publish", 3), ("forget", 0), ("publish", 2), ("resume", 0)])
@example([("forget", 0), ("publish", 1), ("forget", 0), ("publish", 1)])
@given(operations=st.lists(OPERATIONS, max_size=12))
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
def test_who_comes_back_gets_all_or_is_told_exactly_when_that_can_not_be(
    operations: list[tuple[str, int]],
) -> None:
    async def run() -> None:
        world = World(client)
        try:
            await world.client.subscribe()
            for operation, number in [*operations, ("publish", 1)]:
                await world.do(operation, number)
            await asyncio.sleep(0.01)
            assert world.client.got == world.client.expected
        finally:
            await world.close()

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        asyncio.run(run())
