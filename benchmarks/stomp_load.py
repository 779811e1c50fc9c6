"""The workloads over WebSocket: STOMP, and what other servers speak in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis

from .clients import Client, Failed, Publisher, RedisClient
from .load import Result, Target, all_heard, in_batches, measure, until, workload
from .meter import resident_bytes

BODY_BYTES = 100
#: Seconds after which who was refused comes again.
AGAIN_SECONDS = 1.0
OUTBOUND = "TEST_EVENT_TO_BACKEND"


async def stop(publisher: Publisher) -> None:
    publisher.stopped = True
    await until(
        lambda: publisher.taken >= publisher.sent,
        lambda: f"lost: {publisher.sent - publisher.taken} answers",
    )


@workload
async def fan_out(
    target: Target, *, seconds: float, subscribers: int, window: int, publishers: int = 1
) -> Result:
    """Few publishers, many subscribers; counts deliveries."""
    clients = await target.connect_many(subscribers)
    await in_batches(client.subscribe("/topic/fan-out") for client in clients)
    publisher = Publisher(
        await target.connect_many(publishers),
        ["/topic/fan-out"],
        size=BODY_BYTES,
        window=window,
        delivered=lambda: clients[-1].messages,
    )
    clients[-1].heard = lambda _: publisher.pump()
    publisher.pump()
    result = await measure(target, seconds, lambda: sum(client.messages for client in clients))
    await stop(publisher)
    await all_heard(clients, lambda _: publisher.sent)
    # Messages of several publishers may come in any order.
    last = publisher.sent - publishers
    if any(int(client.body(client.last)[:8]) < last for client in clients):
        raise Failed("the last message is not what some subscribers heard last")
    return result | {"bytes": len(clients[-1].last)}


@workload
async def one_to_one(
    target: Target, *, seconds: float, topics: int, window: int, publishers: int = 1
) -> Result:
    """Few publishers, one subscriber for each topic; counts messages."""
    names = [f"/topic/one-to-one-{number}" for number in range(topics)]
    clients = await target.connect_many(topics)
    await in_batches(client.subscribe(name) for client, name in zip(clients, names, strict=True))
    arrived = 0

    def heard(_: bytes) -> None:
        nonlocal arrived
        arrived += 1
        publisher.pump()

    for client in clients:
        client.heard = heard
    publisher = Publisher(
        await target.connect_many(publishers),
        names,
        size=BODY_BYTES,
        window=window,
        delivered=lambda: arrived,
    )
    publisher.pump()
    result = await measure(target, seconds, lambda: arrived)
    await stop(publisher)
    await all_heard(clients, lambda index: (publisher.sent - index + topics - 1) // topics)
    return result


@workload
async def processes(target: Target, *, seconds: float, window: int) -> Result:
    """One publisher, one subscriber on each process; counts publishes."""
    clients = [await target.connect(index) for index in range(len(target.stomp))]
    for client in clients:
        await client.subscribe("/topic/processes")
    publisher = Publisher(
        [await target.connect()],
        ["/topic/processes"],
        size=BODY_BYTES,
        window=window,
        delivered=lambda: min(client.messages for client in clients),
    )
    for client in clients:
        client.heard = lambda _: publisher.pump()
    publisher.pump()
    result = await measure(target, seconds, lambda: publisher.taken)
    await stop(publisher)
    await all_heard(clients, lambda _: publisher.sent)
    return result


@workload
async def send_to_channel(target: Target, *, seconds: float, window: int) -> Result:
    """SENDs to ``/app/greet``; counts receipts, and what a service hears on the Redis channel."""
    service = RedisClient(b"x" * (BODY_BYTES - 8))
    await service.start(target.redis)
    service.command(b"SUBSCRIBE", b"GREETING_CHANNEL_OUTBOUND")
    return await _send_to_redis(target, "/app/greet", seconds, window, lambda: service.count)


@workload
async def send_to_stream(target: Target, *, seconds: float, window: int) -> Result:
    """SENDs to ``/app/test``; counts receipts, and what the Redis stream got."""
    with redis.Redis.from_url(target.redis) as client:
        client.delete(OUTBOUND)

        def added() -> int:
            return int(client.xinfo_stream(OUTBOUND)["entries-added"])

        return await _send_to_redis(target, "/app/test", seconds, window, added)


async def _send_to_redis(
    target: Target, destination: str, seconds: float, window: int, arrived: Callable[[], int]
) -> Result:
    publisher = Publisher([await target.connect()], [destination], size=BODY_BYTES, window=window)
    publisher.pump()
    result = await measure(target, seconds, lambda: publisher.taken)
    await stop(publisher)
    await until(
        lambda: arrived() == publisher.sent,
        lambda: f"{publisher.sent} were sent, but {arrived()} arrived",
    )
    return result


@workload
async def connections(
    target: Target, *, seconds: float, at_once: int, destination: str = ""
) -> Result:
    """WebSocket handshake, login, a subscription if asked for, and away; counts sessions."""
    made, ending = 0, False

    async def come_and_go() -> None:
        nonlocal made
        while not ending:
            client = await target.connect()
            if destination:
                await client.subscribe(destination)
            made += 1
            client.close()

    clients = [asyncio.create_task(come_and_go()) for _ in range(at_once)]
    result = await measure(target, seconds, lambda: made)
    ending = True
    await asyncio.gather(*clients)
    return result


@workload
async def subscriptions(target: Target, *, seconds: float, window: int) -> Result:
    """SUBSCRIBE to a topic that is new each time, and UNSUBSCRIBE; counts subscriptions."""
    made, ending = 0, False

    async def come_and_go(client: Client) -> None:
        nonlocal made
        while not ending:
            await client.subscribe(f"/topic/new/{made}")
            client.write(b"UNSUBSCRIBE\nid:s\n\n\0")
            made += 1

    clients = await target.connect_many(window)
    coming = [asyncio.create_task(come_and_go(client)) for client in clients]
    result = await measure(target, seconds, lambda: made)
    ending = True
    await asyncio.gather(*coming)
    return result


@workload
async def idle_memory(target: Target, *, seconds: float, sessions: int) -> Result:
    """Many sessions that subscribed and do nothing; counts those alive, and bytes for each."""
    warm = await target.connect_many(20)
    await in_batches(client.subscribe("/topic/idle") for client in warm)
    pids = target.pids["server"]
    before, meter = sum(map(resident_bytes, pids)), target.meter()
    clients = await target.connect_many(sessions)
    await in_batches(client.subscribe("/topic/idle") for client in clients)
    await asyncio.sleep(max(2.0, seconds))
    bytes_each = (sum(map(resident_bytes, pids)) - before) / sessions
    result = meter.interval()
    warm[0].send("/topic/idle", b"x" * BODY_BYTES)
    await all_heard(clients, lambda _: 1)
    return {"count": len(clients), "bytes_each": bytes_each} | result


@workload
async def reconnects(
    target: Target, *, seconds: float, sessions: int, topics: int, at_once: int, missed: int
) -> Result:
    """
    Many sessions are cut at once, miss some messages and come back, so many at once; counts those
    that have caught up. The interval starts with the cut.
    """
    names = [f"/topic/reconnects-{number}" for number in range(topics)]
    publisher = await target.connect()
    await publish(publisher, names)  # a topic has positions from its first message on
    clients = await target.connect_many(sessions)
    heard = [names[index % topics] for index in range(sessions)]
    await in_batches(each.resume(topic) for each, topic in zip(clients, heard, strict=True))
    meter = target.meter()
    for client in clients:
        client.cut()
    await publish(publisher, names * missed)
    away = zip(heard, [client.position for client in clients], strict=True)
    returning = Returning(target, away, most_refused=sessions)
    await asyncio.gather(*(returning.come_back() for _ in range(at_once)))
    await all_heard(returning.clients, lambda _: missed)
    return {"count": len(returning.clients), "refused": returning.refused} | meter.interval()


async def publish(client: Client, topics: Sequence[str]) -> None:
    """Publish to each topic in turn, and wait until the server has taken it all."""
    answers = 0

    def received() -> None:
        nonlocal answers
        answers += 1

    client.received = received
    for number, topic in enumerate(topics):
        client.send(topic, b"x" * BODY_BYTES, number)
    await until(lambda: answers == len(topics), lambda: f"{answers} of {len(topics)} were taken")


class Returning:
    """Sessions that come back, each until it is let in, and resume: topics and positions."""

    def __init__(
        self, target: Target, away: Iterator[tuple[str, Any]], *, most_refused: int
    ) -> None:
        self.target = target
        self.away = away
        self.most_refused = most_refused
        self.refused = 0
        self.clients: list[Client] = []

    async def come_back(self) -> None:
        """Come back, one after the other, as long as some are away."""
        for topic, position in self.away:
            while not await self._is_let_in(topic, position):
                await asyncio.sleep(AGAIN_SECONDS)

    async def _is_let_in(self, topic: str, position: Any) -> bool:
        try:
            client = await self.target.connect()
            await client.resume(topic, position)
        except (Failed, OSError, TimeoutError) as error:
            self.refused += 1
            if self.refused > self.most_refused:
                raise Failed(f"{self.refused} attempts failed, the last: {error!r}") from error
            return False
        self.clients.append(client)
        return True


@workload
async def latency(
    target: Target,
    *,
    seconds: float,
    sessions: int,
    rooms: int,
    rate: int,
    stopped: int,
    firehose_bytes: int,
) -> Result:
    """
    Every room gets ``rate`` messages a second, sent when they are due; counts deliveries.

    A few sessions also subscribe to a firehose, which fills any buffer; ``stopped`` of them
    read nothing. Latency is that of the others, from when a message was due.
    """
    crowd = await Crowd.enter(target, sessions, rooms, stopped)
    watcher = await target.connect()
    await longest_block(target, watcher, "from now on")
    pace = asyncio.create_task(crowd.publish(rooms * rate, firehose_bytes))
    result = await measure(target, seconds, lambda: len(crowd.delays))
    pace.cancel()
    block = await longest_block(target, watcher, "until now")
    await all_heard(crowd.readers, lambda index: crowd.due[crowd.rooms[index]])
    return result | block | crowd.percentiles() | {"cut_off": await crowd.cut_off()}


async def longest_block(target: Target, client: Client, name: str) -> dict[str, float]:
    """Return for how many milliseconds the server heard nobody at most, if it says so."""
    if not target.longest_turn:
        return {}
    before = client.messages
    await client.subscribe(target.longest_turn, name)
    await until(lambda: client.messages > before, lambda: "the longest turn is not said")
    return {"longest_block": float(client.body(client.last).rstrip(b"\0"))}


class Crowd:
    """The sessions of :func:`latency`, each in a room, and what they measured."""

    #: Sessions that hear the firehose.
    LISTENERS = 5
    #: Messages a second on the firehose.
    FIREHOSE = 12

    def __init__(self, rooms: int, stopped: int) -> None:
        self.stopped = stopped
        self.names = [f"/topic/room-{number}" for number in range(rooms)]
        self.readers: list[Client] = []
        self.rooms: list[int] = []
        self.due = [0] * rooms
        self.delays: list[int] = []

    @classmethod
    async def enter(cls, target: Target, sessions: int, rooms: int, stopped: int) -> Crowd:
        crowd = cls(rooms, stopped)
        listeners = await target.connect_many(cls.LISTENERS, small=True)
        await in_batches(each.subscribe("/topic/firehose") for each in listeners)
        await in_batches(each.subscribe(crowd.names[0], "room") for each in listeners)
        for client in listeners[:stopped]:
            client.stop_reading()
        crowd.listeners = listeners
        crowd.readers = await target.connect_many(sessions - cls.LISTENERS)
        crowd.rooms = [index % rooms for index in range(len(crowd.readers))]
        await in_batches(
            client.subscribe(crowd.names[room])
            for client, room in zip(crowd.readers, crowd.rooms, strict=True)
        )
        for client in crowd.readers:
            client.heard = crowd.heard
        crowd.publisher, crowd.firehose = await target.connect_many(2)
        return crowd

    def heard(self, message: bytes) -> None:
        self.delays.append(time.monotonic_ns() - int(self.publisher.body(message)[:20]))

    async def publish(self, rate: int, firehose_bytes: int) -> None:
        started = time.monotonic_ns()
        sent = poured = 0
        while True:
            elapsed = (time.monotonic_ns() - started) / 1e9
            while sent < elapsed * rate:
                self._send(sent % len(self.names), started + int(sent / rate * 1e9))
                sent += 1
            while poured < elapsed * self.FIREHOSE:
                self.firehose.send("/topic/firehose", b"y" * firehose_bytes)
                poured += 1
            await asyncio.sleep(0.001)

    def _send(self, room: int, due_at: int) -> None:
        self.due[room] += 1
        body = b"%020d" % due_at + b"x" * (BODY_BYTES - 20)
        self.publisher.send(self.names[room], body)

    def percentiles(self) -> dict[str, float]:
        ordered = sorted(self.delays)
        ranks = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        return {name: ordered[int(len(ordered) * rank)] / 1e6 for name, rank in ranks.items()}

    async def cut_off(self) -> int:
        """Return how many of those who heard the firehose the server has closed."""
        for client in self.listeners[: self.stopped]:
            client.read_on()
        if self.stopped:
            await asyncio.sleep(5)
        return sum(bool(client.error) for client in self.listeners)
