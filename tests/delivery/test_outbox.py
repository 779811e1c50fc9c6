"""The outbox against a transport that can be stopped, and against a plain ASGI ``send``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from realtime.delivery.ack_window import AckWindow
from realtime.delivery.frames import Frames, SharedFrames, StompEncoder, in_websocket_frame
from realtime.delivery.outbox import FLUSHES_PER_TURN, WRITE_BYTES, Outbox, this_flusher
from realtime.delivery.slow_clients import LossyQueue
from realtime.messages.message import Message
from realtime.stomp import TooSlow


class StubTransport:
    """Takes everything, and says that the client is to be waited for once ``room`` is used up."""

    def __init__(self, room: float = float("inf")) -> None:
        self.room = room
        self.writes: list[bytes] = []
        self.resume: Callable[[], None] | None = None
        self.buffered = 0

    def write(self, data: bytes) -> bool:
        self.writes.append(data)
        self.room -= len(data)
        self.buffered = max(0, int(-min(self.room, 0)))
        return self.room >= 0

    def drain(self, room: float = float("inf")) -> None:
        self.room, self.buffered = room, 0
        assert self.resume is not None
        self.resume()


class Session:
    """An outbox and what its consumer would see."""

    def __init__(self, **options: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.failures: list[TooSlow] = []
        self.watched = 0
        self.abandoned = 0
        self.let_go = asyncio.Event()
        self.let_go.set()
        options = {"max_bytes": 4096, "max_seconds": 10.0, **options}
        self.outbox = Outbox(
            self.send,
            failed=self.failures.append,
            watch=lambda: setattr(self, "watched", self.watched + 1),
            abandon=lambda: setattr(self, "abandoned", self.abandoned + 1),
            **options,
        )

    async def send(self, event: dict[str, Any]) -> None:
        await self.let_go.wait()
        self.events.append(event)

    def attach(self, **options: Any) -> StubTransport:
        transport = StubTransport(**options)
        self.outbox.attach(transport)
        return transport


async def test_what_waits_for_a_client_is_counted_wherever_it_waits() -> None:
    session = Session()
    assert session.outbox.unsent_bytes == 0
    transport = session.attach(room=0)
    frames = Frames((b"x" * 100,))
    session.outbox.write(frames)
    await asyncio.sleep(0.01)
    assert transport.buffered == frames.size
    session.outbox.write(frames)
    session.outbox.hold(frames)
    assert session.outbox.unsent_bytes == 3 * frames.size


def text(number: int, size: int = 0, destination: str = "/topic/a") -> Message:
    return Message(destination, b"%04d%b" % (number, b"x" * size), {}, f"id-{number:02}")


def frames_of(*messages: Message) -> Frames:
    return SharedFrames(*messages).frames_for(StompEncoder("1.2", "0"))


def message(number: int, size: int = 0, destination: str = "/topic/a") -> Frames:
    return frames_of(text(number, size, destination))


def frame(data: bytes) -> Frames:
    """Return a frame that is no MESSAGE."""
    return Frames((in_websocket_frame(data),))


def numbers(data: bytes) -> list[int]:
    """Return the numbers of the messages in some WebSocket frames."""
    return [int(each) for each in re.findall(rb"MESSAGE\n(?:.+\n)*\n(\d{4})", data)]


async def test_what_is_written_in_one_turn_leaves_in_one_write() -> None:
    session = Session()
    transport = session.attach()
    for number in range(10):
        session.outbox.deliver(message(number))
    assert transport.writes == []
    await this_flusher().flushed()
    (data,) = transport.writes
    assert numbers(data) == list(range(10))
    assert data == b"".join(message(number).joined for number in range(10))
    assert session.outbox.messages == 10
    assert session.outbox.waiting_bytes == 0


@pytest.mark.parametrize("size", [0, 107, 108, 65_517, 65_518, 70_000])
def test_each_frame_is_a_websocket_message_of_its_own(size: int) -> None:
    body = b"MESSAGE\n\n%b\0" % (b"x" * size)
    joined = frame(body).joined
    assert joined[0] == 0x81
    if joined[1] < 126:
        length, head = joined[1], 2
    elif joined[1] == 126:
        length, head = int.from_bytes(joined[2:4], "big"), 4
    else:
        length, head = int.from_bytes(joined[2:10], "big"), 10
    assert joined[head:] == body
    assert length == len(body)
    assert list(frame(body).events()) == [{"type": "websocket.send", "text": body.decode()}]


def test_what_is_no_text_goes_in_a_binary_message() -> None:
    binary = frame(b"MESSAGE\n\n\xff\0")
    assert binary.joined[0] == 0x82
    (event,) = binary.events()
    assert event == {"type": "websocket.send", "bytes": b"MESSAGE\n\n\xff\0"}


async def test_a_client_that_has_to_be_waited_for_is_not_written_to() -> None:
    session = Session()
    transport = session.attach(room=0)
    session.outbox.deliver(message(0))
    await this_flusher().flushed()
    assert session.outbox.blocked
    assert session.watched == 1
    for number in (1, 2):
        session.outbox.deliver(message(number))
        await this_flusher().flushed()
    assert [numbers(data) for data in transport.writes] == [[0]]
    transport.drain()
    await this_flusher().flushed()
    assert [numbers(data) for data in transport.writes] == [[0], [1, 2]]


async def test_the_budget_may_be_used_up_but_not_exceeded() -> None:
    session = Session(max_bytes=10 * message(0).size)
    transport = session.attach(room=0)
    for number in range(11):
        session.outbox.deliver(message(number))
        await this_flusher().flushed()
    assert session.failures == []
    session.outbox.deliver(message(11))
    (failure,) = session.failures
    assert failure.code == "too-slow"
    session.outbox.close(b"ERROR\n\n\0", 4000, "too slow", at_once=True)
    await session.outbox.flushed()
    assert transport.writes[1:] == [frame(b"ERROR\n\n\0").joined]  # what waited is dropped
    assert session.events == [{"type": "websocket.close", "code": 4000, "reason": "too slow"}]


async def test_a_client_that_makes_no_progress_is_too_slow_and_one_that_does_is_not() -> None:
    session = Session(max_seconds=10)
    transport = session.attach(room=0)
    session.outbox.deliver(message(0, 100))
    await this_flusher().flushed()
    start = asyncio.get_running_loop().time()
    for second in range(0, 60, 9):
        transport.buffered -= 1
        session.outbox.check_progress(start + second)
    session.outbox.check_progress(start + 54 + 9.9)
    with pytest.raises(TooSlow):
        session.outbox.check_progress(start + 54 + 10.1)


async def test_writes_are_not_larger_than_they_should_be() -> None:
    session = Session(max_bytes=2**20)
    transport = session.attach()
    for number in range(100):
        session.outbox.deliver(message(number, 8000))
    await this_flusher().flushed()
    assert max(map(len, transport.writes)) < WRITE_BYTES + 8100
    assert numbers(b"".join(transport.writes)) == list(range(100))


async def test_many_outboxes_are_flushed_in_turns_and_all_of_them() -> None:
    sessions = [Session() for _ in range(2 * FLUSHES_PER_TURN + 1)]
    transports = [session.attach() for session in sessions]
    await this_flusher().flushed()
    turns: list[int] = []

    def count() -> None:
        turns.append(sum(bool(transport.writes) for transport in transports))
        if turns[-1] < len(transports):
            asyncio.get_running_loop().call_soon(count)

    for session in sessions:
        session.outbox.deliver(message(0))
    asyncio.get_running_loop().call_soon(count)
    await this_flusher().flushed()
    await asyncio.sleep(0)
    assert turns[-1] == len(transports)
    assert len(turns) >= 3


async def test_one_client_that_fails_does_not_hurt_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, good = Session(), Session()
    broken.attach().write = None  # type: ignore[assignment]
    transport = good.attach()
    broken.outbox.deliver(message(0))
    good.outbox.deliver(message(1))
    await this_flusher().flushed()
    assert numbers(transport.writes[0]) == [1]
    assert "could not write to a client" in caplog.text


async def test_the_close_comes_after_what_waits() -> None:
    session = Session()
    transport = session.attach(room=0)
    for number in range(3):
        session.outbox.deliver(message(number))
        await this_flusher().flushed()
    session.outbox.close(b"RECEIPT\n\n\0", 1000, "")
    session.outbox.deliver(message(3))
    await this_flusher().flushed()
    assert session.events == []
    transport.drain()
    await session.outbox.flushed()
    assert numbers(b"".join(transport.writes[:2])) == [0, 1, 2]
    assert transport.writes[1].endswith(b"RECEIPT\n\n\0")
    assert session.events == [{"type": "websocket.close", "code": 1000, "reason": ""}]


async def test_without_a_transport_each_frame_is_sent_in_order() -> None:
    session = Session()
    for number in range(5):
        session.outbox.deliver(message(number))
    session.outbox.close(None, 1000, "")
    await session.outbox.flushed()
    assert [event.get("text") for event in session.events] == [
        *(event["text"] for number in range(5) for event in message(number).events()),
        None,
    ]


async def test_without_a_transport_a_client_that_takes_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.delivery.outbox.CLOSE_SECONDS", 0.05)
    session = Session(max_bytes=500)
    session.let_go.clear()
    session.outbox.deliver(message(0))
    await this_flusher().flushed()
    await asyncio.sleep(0)
    assert session.outbox.blocked
    start = asyncio.get_running_loop().time()
    with pytest.raises(TooSlow):
        session.outbox.check_progress(start + 11)
    session.outbox.close(b"ERROR\n\n\0", 4000, "too slow", at_once=True)
    async with asyncio.timeout(15):
        while not session.abandoned:
            await asyncio.sleep(0.01)
    assert session.abandoned == 1
    session.outbox.discard()


# Policies for slow clients


async def test_latest_keeps_the_newest_of_each_destination_and_says_how_many_are_missing() -> None:
    session = Session()
    transport = session.attach(room=0)
    queue = LossyQueue(session.outbox, latest=True)
    queue.deliver(message(0))
    await this_flusher().flushed()
    for number in range(1, 9):
        queue.deliver(message(number, destination="/topic/odd" if number % 2 else "/topic/even"))
    transport.drain()
    await this_flusher().flushed()
    assert numbers(transport.writes[0]) == [0]
    assert numbers(transport.writes[1]) == [7, 8]
    assert transport.writes[1].count(b"dropped:6\n") == 1
    queue.deliver(message(9))
    await this_flusher().flushed()
    assert transport.writes[2] == message(9).joined
    assert session.outbox.messages == 4
    assert session.outbox.held_bytes == 0


async def test_what_is_to_be_told_is_told_with_the_first_message_that_is_not_dropped() -> None:
    session = Session()
    transport = session.attach(room=0)
    queue = LossyQueue(session.outbox, latest=True)
    queue.deliver(message(0))
    await this_flusher().flushed()
    queue.tell({"recovered": "true"})
    for number in range(1, 4):
        queue.deliver(message(number))
    transport.drain()
    await this_flusher().flushed()
    assert numbers(transport.writes[1]) == [3]
    assert transport.writes[1].count(b"recovered:true\n") == 1
    queue.tell({"recovered": "true"})
    lost = Message("/topic/a", b"0004", {"recovered": "false"}, "id-04")
    queue.deliver(frames_of(lost))
    await this_flusher().flushed()
    assert b"recovered:true" not in transport.writes[2]


async def test_drop_oldest_keeps_as_many_as_fit() -> None:
    size = message(0).size
    session = Session(max_bytes=10 * size)
    transport = session.attach(room=0)
    queue = LossyQueue(session.outbox, latest=False)
    for number in range(26):
        queue.deliver(message(number))
        await this_flusher().flushed()
    assert session.failures == []
    transport.drain()
    await this_flusher().flushed()
    assert numbers(b"".join(transport.writes)) == [0, *range(16, 26)]
    assert b"dropped:15\n" in transport.writes[1]
    assert session.outbox.held_bytes == 0


async def test_a_burst_in_one_turn_does_not_close_who_may_drop() -> None:
    session = Session(max_bytes=10 * message(0).size)
    transport = session.attach()
    queue = LossyQueue(session.outbox, latest=False)
    for number in range(100):
        queue.deliver(message(number))
    await this_flusher().flushed()
    assert session.failures == []
    got = numbers(b"".join(transport.writes))
    assert got == sorted(set(got))
    assert got[-1] == 99


async def test_who_leaves_gives_back_what_was_held() -> None:
    session = Session()
    session.attach(room=0)
    queue = LossyQueue(session.outbox, latest=False)
    for number in range(5):
        queue.deliver(message(number))
        await this_flusher().flushed()
    assert session.outbox.held_bytes > 0
    queue.discard()
    assert session.outbox.held_bytes == 0
    assert queue.take() is None


# Frames that came together


def burst(*numbers: int) -> Frames:
    return frames_of(*map(text, numbers))


def test_one_frame_is_itself() -> None:
    alone = message(1)
    assert alone.one_by_one() == (alone,)
    both = burst(1, 2)
    assert both.joined == message(1).joined + message(2).joined
    assert (both.count, both.size) == (2, len(both.joined))
    assert [each.joined for each in both.one_by_one()] == [message(1).joined, message(2).joined]


async def test_a_burst_leaves_in_one_write_and_counts_as_its_messages() -> None:
    session = Session()
    transport = session.attach()
    session.outbox.deliver(burst(1, 2, 3))
    await this_flusher().flushed()
    assert [numbers(data) for data in transport.writes] == [[1, 2, 3]]
    assert (session.outbox.messages, session.outbox.waiting_bytes) == (3, 0)


async def test_without_a_transport_the_frames_of_a_burst_are_sent_one_by_one() -> None:
    session = Session()
    session.outbox.deliver(burst(1, 2, 3))
    await session.outbox.flushed()
    assert [numbers(event["text"].encode()) for event in session.events] == [[1], [2], [3]]


@pytest.mark.parametrize("spare", [0, -1])
async def test_a_burst_fits_into_the_budget_or_closes(spare: int) -> None:
    session = Session(max_bytes=burst(1, 2, 3).size + spare)
    session.attach()
    session.outbox.deliver(burst(1, 2, 3))
    assert len(session.failures) == -spare


async def test_of_a_burst_no_more_is_sent_than_may_be_unacknowledged() -> None:
    session = Session()
    transport = session.attach()
    window = AckWindow(session.outbox, cumulative=True, prefetch=2)
    window.deliver(burst(1, 2, 3))
    await this_flusher().flushed()
    assert numbers(b"".join(transport.writes)) == [1, 2]
    window.acknowledge("id-02")
    await this_flusher().flushed()
    assert numbers(b"".join(transport.writes)) == [1, 2, 3]


async def test_who_may_drop_gets_a_burst_whole_while_it_reads() -> None:
    session = Session()
    transport = session.attach()
    queue = LossyQueue(session.outbox, latest=True)
    queue.tell({"recovered": "true"})
    queue.deliver(burst(1, 2, 3))
    queue.deliver(burst(4, 5))
    await this_flusher().flushed()
    data = b"".join(transport.writes)
    assert numbers(data) == [1, 2, 3, 4, 5]
    assert data.count(b"recovered:true") == 1
    assert data.index(b"recovered:true") < data.index(b"0001")


async def test_without_a_transport_too_what_waits_is_dropped_at_the_end() -> None:
    session = Session(max_bytes=burst(*range(10)).size)
    session.let_go.clear()
    session.outbox.deliver(burst(*range(10)))
    await asyncio.sleep(0.01)
    assert session.outbox.waiting_bytes == burst(*range(9)).size
    session.outbox.close(b"ERROR\n\n\0", 1013, "too slow", at_once=True)
    session.let_go.set()
    await session.outbox.flushed()
    sent = [event.get("text", event["type"]) for event in session.events]
    assert [text[:5] for text in sent] == ["MESSA", "ERROR", "webso"]


async def test_of_a_burst_a_slow_client_gets_the_newest() -> None:
    session = Session()
    transport = session.attach(room=0)
    queue = LossyQueue(session.outbox, latest=True)
    queue.deliver(message(0))
    await this_flusher().flushed()
    queue.deliver(burst(1, 2, 3))
    transport.drain()
    await this_flusher().flushed()
    assert numbers(transport.writes[1]) == [3]
    assert b"dropped:2\n" in transport.writes[1]
