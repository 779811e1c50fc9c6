"""One topic of a process, without Redis: a history that is read is a function of the test."""

from __future__ import annotations

import asyncio

from realtime.delivery.frames import Frames
from realtime.history.log import Log
from realtime.history.positions import Position
from realtime.hub.feed import Feed
from realtime.hub.subscription import Start
from realtime.messages.message import Message
from realtime.routes.topics import History
from tests.kit.listening import stomp_frames, subscription

NAME = "/topic/a"


def log_of(count: int, epoch: str = "e", **ended: int) -> Log:
    """A history of so many messages."""
    log = Log(Position(epoch, 0), ended, 100, 60)
    for offset in range(1, count + 1):
        position = Position(epoch, offset)
        assert log.append(position, message(position))
    return log


def message(position: Position) -> Message:
    return Message(NAME, b"%d" % position.offset, {}, str(position))


class Redis:
    """What is there, and who reads it: an answer comes when the test lets it."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.reads = 0
        self.answer = asyncio.Event()
        self.answer.set()

    async def read(self, count: int) -> Log:
        self.reads += 1
        log = self.log  # as it was when the question came
        await self.answer.wait()
        return log if count else Log(log.position, log.ended, log.size, log.ttl)


class Listener:
    """A subscription that keeps what it gets."""

    def __init__(self, resume: Position | None = None) -> None:
        self.start: Start | None = None
        self.got: list[bytes] = []
        self.subscription = subscription(
            NAME, "0", "1.2", self.deliver, resume=resume, began=self.began
        )

    def began(self, start: Start) -> dict[str, str]:
        self.start = start
        return {}

    def deliver(self, frames: Frames) -> None:
        self.got += [each.partition(b"\n\n")[2][:-1] for each in stomp_frames(frames)]


async def topic_of(redis: Redis) -> Feed:
    return Feed(History(NAME), redis.read)


async def subscribed(topic: Feed, listener: Listener) -> None:
    topic.add(listener.subscription)
    await asyncio.wait_for(topic.begin(listener.subscription), 15)


async def test_who_was_ahead_elsewhere_is_not_refused_by_a_process_that_is_behind() -> None:
    redis = Redis(log_of(3))
    topic = await topic_of(redis)
    await subscribed(topic, Listener(Position("e", 1)))  # so the history is kept here
    redis.log = log_of(5)  # what has been published since has not come here yet
    ahead = Listener(Position("e", 4))
    await subscribed(topic, ahead)
    assert ahead.start == Start(Position("e", 4), True, None)
    assert ahead.got == [b"5"]


async def test_who_saw_an_epoch_begin_elsewhere_is_not_refused_either() -> None:
    redis = Redis(log_of(3))
    topic = await topic_of(redis)
    await subscribed(topic, Listener(Position("e", 1)))
    redis.log = log_of(5, "f", e=3)
    ahead = Listener(Position("f", 4))
    await subscribed(topic, ahead)
    assert ahead.start == Start(Position("f", 4), True, None)
    assert ahead.got == [b"5"]


async def test_who_comes_while_something_older_is_being_read_has_it_read_again() -> None:
    redis = Redis(log_of(3))
    topic = await topic_of(redis)
    redis.answer.clear()
    first = asyncio.create_task(subscribed(topic, Listener(Position("e", 3))))
    await asyncio.sleep(0.01)
    redis.log = log_of(5)
    ahead = Listener(Position("e", 5))
    second = asyncio.create_task(subscribed(topic, ahead))
    await asyncio.sleep(0.01)
    redis.answer.set()
    await asyncio.gather(first, second)
    assert ahead.start == Start(Position("e", 5), True, None)
    assert redis.reads == 2


async def test_who_wants_messages_while_only_the_position_is_being_read_gets_them() -> None:
    redis = Redis(log_of(3))
    topic = await topic_of(redis)
    redis.answer.clear()
    first = asyncio.create_task(subscribed(topic, Listener()))
    await asyncio.sleep(0.01)
    back = Listener(Position("e", 1))
    second = asyncio.create_task(subscribed(topic, back))
    await asyncio.sleep(0.01)
    redis.answer.set()
    await asyncio.gather(first, second)
    assert back.got == [b"2", b"3"]


async def test_who_can_not_be_where_it_says_is_refused_after_one_reading() -> None:
    redis = Redis(log_of(3))
    topic = await topic_of(redis)
    await subscribed(topic, Listener(Position("e", 1)))
    strange = Listener(Position("other", 1))
    await subscribed(topic, strange)
    assert strange.start == Start(Position("e", 3), False, "epoch")
    assert redis.reads == 2
    topic.receive([message(Position("e", 4))], str(Position("e", 4)))
    assert strange.got == [b"4"]


async def test_what_was_delivered_before_a_loss_is_not_delivered_again_after_it() -> None:
    """An older copy of Redis comes back, from before an epoch in which this process stood."""
    redis = Redis(log_of(3, "first"))
    topic = await topic_of(redis)
    listener = Listener()
    await subscribed(topic, listener)
    redis.log = log_of(5, "second", first=3)
    topic.compare(redis.log.position)
    await asyncio.sleep(0.01)
    assert listener.got == [b"4", b"5"]
    redis.log = log_of(6, "third", first=2)
    topic.compare(redis.log.position)
    await asyncio.sleep(0.01)
    assert listener.got == [b"4", b"5"]


async def test_what_was_heard_before_all_was_lost_is_not_delivered_again_from_a_copy() -> None:
    redis = Redis(log_of(3, "first"))
    topic = await topic_of(redis)
    listener = Listener()
    await subscribed(topic, listener)
    for log in (log_of(1, "empty"), log_of(4, "copy", first=3)):
        redis.log = log
        topic.compare(log.position)
        await asyncio.sleep(0.01)
    assert listener.got == [b"1"]


def messages(first: int, last: int) -> list[Message]:
    return [message(Position("e", offset)) for offset in range(first, last + 1)]


async def test_of_messages_that_come_together_what_is_known_is_left_out() -> None:
    topic = await topic_of(Redis(log_of(3)))
    listener = Listener()
    await subscribed(topic, listener)
    assert topic.receive(messages(2, 3), str(Position("e", 2))) == 0
    assert topic.receive(messages(2, 5), str(Position("e", 2))) == 2
    assert topic.receive(messages(6, 6), str(Position("e", 6))) == 1
    assert listener.got == [b"4", b"5", b"6"]


async def test_after_a_gap_what_comes_together_waits_for_the_history() -> None:
    redis = Redis(log_of(3))
    topic = await topic_of(redis)
    listener = Listener()
    await subscribed(topic, listener)
    redis.log = log_of(6)
    redis.answer.clear()
    assert topic.receive(messages(5, 6), str(Position("e", 5))) == 0
    await asyncio.sleep(0)
    assert topic.receive(messages(6, 8), str(Position("e", 6))) == 0  # comes while it is being read
    redis.answer.set()
    async with asyncio.timeout(15):
        while len(listener.got) < 5:
            await asyncio.sleep(0.01)
    assert listener.got == [b"4", b"5", b"6", b"7", b"8"]
    assert topic.receive(messages(9, 9), str(Position("e", 9))) == 1
