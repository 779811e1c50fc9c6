"""Presence: who is on a topic, over all nodes, without doubles, and right in the end."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from channels.layers import get_channel_layer

from realtime import presence
from realtime.hub.hub import Hub
from realtime.hub.notices import _Contents
from realtime.hub.subscription import Subscription
from realtime.layer.layer import TopicLayer
from realtime.presence import Presence, users_on
from realtime.routes import allow, anyone, topic
from realtime.routes.table import routing_table

TABLE = ModuleType("tests.presence")
TABLE.routes = [  # type: ignore[attr-defined]
    topic("/topic/rooms/**", presence=True),
    allow("/topic/rooms/**", subscribe=anyone),
]


class Ears:
    """Hears who comes and goes on a topic, as one client does."""

    waiting = 0

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def deliver(self, frames: Any) -> None:
        for message in frames.messages:
            content = json.loads(message.body)
            self.said.append((content["event"], content["user"]))

    def discard(self) -> None: ...

    def users(self) -> set[str]:
        """Return who is there after all that was said, and check that nothing was said twice."""
        there: set[str] = set()
        for event, user in self.said:
            assert (event == "leave") == (user in there), self.said
            there ^= {user}
        return there


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tests.presence", TABLE)
    settings.STOMP_ROUTING = "tests.presence"
    monkeypatch.setattr(presence, "HOLD_OFF_SECONDS", 0.4)
    monkeypatch.setattr(presence, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(presence, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(presence, "ROUND_SECONDS", 0.01)


@pytest.fixture
async def room() -> AsyncIterator[str]:
    yield f"/topic/rooms/{uuid4().hex}"
    layer: Any = get_channel_layer()
    await layer.flush()


def subscription(room: str, user: str, queue: Any = None) -> Subscription:
    return Subscription(room, _Contents(), queue or Ears(), user=user)


async def heard_on(hub: Hub, room: str) -> Ears:
    ears = Ears()
    await hub.subscribe(subscription(f"{room}/$presence", "", ears))
    return ears


async def until(condition: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def now_on(room: str) -> list[str]:
    return await asyncio.to_thread(users_on, room)


def test_the_table_says_which_topics_have_it() -> None:
    assert routing_table().topic("/topic/rooms/a").presence
    assert not routing_table().topic("/topic/rooms/*").presence
    assert not routing_table().topic("/topic/other").presence
    assert not routing_table().topic("/topic/rooms/a/$presence").presence


async def test_who_comes_and_goes_is_said_once_over_all_nodes(room: str) -> None:
    here, there = Hub(), Hub()
    ears = [await heard_on(here, room), await heard_on(there, room)]
    sessions = [(hub, subscription(room, "alice")) for hub in (here, here, there)]
    for hub, each in sessions:
        await hub.subscribe(each)
    await until(lambda: all(each.said for each in ears))
    assert await now_on(room) == ["alice"]
    for hub, each in sessions:
        hub.unsubscribe(each)
    await until(lambda: all(len(each.said) > 1 for each in ears))
    for each in ears:
        assert each.said == [("join", "alice"), ("leave", "alice")]
    assert await now_on(room) == []
    for hub in (here, there):
        await hub.close()


async def test_who_comes_back_soon_has_never_left(room: str) -> None:
    here, there = Hub(), Hub()
    ears = await heard_on(here, room)
    first, second = subscription(room, "alice"), subscription(room, "alice")
    await here.subscribe(first)
    await until(lambda: ears.said)
    here.unsubscribe(first)
    await asyncio.sleep(0.2)  # half of the hold-off
    assert await now_on(room) == ["alice"]
    await there.subscribe(second)
    await asyncio.sleep(0.8)
    assert ears.said == [("join", "alice")]
    for hub in (here, there):
        await hub.close()


async def test_the_users_of_a_node_that_dies_leave_for_those_who_watch(room: str) -> None:
    dying, living = Hub(), Hub()
    ears = await heard_on(living, room)
    for user in ("alice", "bob"):
        await dying.subscribe(subscription(room, user))
    await until(lambda: len(ears.said) == 2)
    began = time.monotonic()
    await dying.close()  # without a word: its leases are all that is left
    await until(lambda: not ears.users())
    assert 0.5 < time.monotonic() - began < 5
    assert await now_on(room) == []
    await living.close()


async def test_anonymous_clients_and_patterns_are_nobody(room: str) -> None:
    hub = Hub()
    ears = await heard_on(hub, room)
    await hub.subscribe(subscription(room, ""))
    await hub.subscribe(subscription("/topic/rooms/*", "alice"))
    everything = Ears()
    await hub.subscribe(subscription("/topic/rooms/**", "", everything))
    await hub.subscribe(subscription(room, "bob"))
    await until(lambda: ears.said)
    await asyncio.sleep(0.1)
    assert ears.said == [("join", "bob")]
    assert everything.said == []  # no wildcard stands for what begins with $
    await hub.close()


async def test_what_redis_forgot_is_said_again(room: str) -> None:
    hub = Hub()
    ears = await heard_on(hub, room)
    await hub.subscribe(subscription(room, "alice"))
    await until(lambda: ears.said)
    layer = get_channel_layer()
    assert isinstance(layer, TopicLayer)
    client: Any = layer.client(0)
    client.delete(*client.keys("*$presence*"), *client.keys("*_24presence*"))
    await until(lambda: len(ears.said) == 2)
    assert ears.said[1] == ("join", "alice")
    assert await now_on(room) == ["alice"]
    await hub.close()


async def test_after_much_flapping_on_two_nodes_the_list_is_right_and_nothing_was_said_twice(
    room: str,
) -> None:
    rng = random.Random(7)
    hubs = [Hub(), Hub()]
    ears = [await heard_on(hub, room) for hub in hubs]
    there: list[tuple[Hub, Subscription]] = []
    for _ in range(1000):
        if there and rng.random() < 0.5:
            hub, gone = there.pop(rng.randrange(len(there)))
            hub.unsubscribe(gone)
        else:
            hub, came = rng.choice(hubs), subscription(room, f"user-{rng.randrange(40)}")
            await hub.subscribe(came)
            there.append((hub, came))
        if rng.random() < 0.2:
            await asyncio.sleep(rng.random() * 0.02)
    expected = {each.user for _, each in there}
    await until(lambda: all(each.users() == expected for each in ears))
    await asyncio.sleep(1)
    assert all(each.users() == expected for each in ears)
    assert await now_on(room) == sorted(expected)
    for hub in hubs:
        await hub.close()


async def test_redis_that_comes_back_is_told(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    ears = await heard_on(hub, room)
    failing = True
    call = Presence._call

    def fails(self: Presence, *arguments: Any) -> Any:
        if failing:
            raise ConnectionError("away")
        return call(self, *arguments)

    monkeypatch.setattr(Presence, "_call", fails)
    await hub.subscribe(subscription(room, "alice"))
    await asyncio.sleep(0.5)
    assert not ears.said
    failing = False
    await until(lambda: ears.said == [("join", "alice")])
    await hub.close()
