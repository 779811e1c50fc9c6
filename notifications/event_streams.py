"""
Server-sent events: what one client hears on its topics, as a response that does not end.

It hears through the node's hub and writes through an outbox, as a STOMP session does: with the
same budget, the same replay of what it missed, and a row among the sessions of the admin.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from django.conf import settings

from realtime.broker import Message
from realtime.delivery import MessageFrames, Start, Subscription
from realtime.history import Position
from realtime.node import this_node
from realtime.outbox import Outbox, Payload, Send
from realtime.replay import Replay
from realtime.sessions import Session
from realtime.slow_clients import LossyQueue, policy_of
from realtime.stomp import TooSlow

from .serializers import as_notification

#: Seconds after which a comment is sent, so that nobody in between takes the stream for dead.
KEEP_ALIVE_SECONDS: Final = 15.0

#: Milliseconds that a client waits before it comes again, at random: not all at once.
RETRY_MS: Final = (1000, 5000)

#: What stands in for a STOMP version in the admin.
VERSION: Final = "SSE"

_NEVER: Final = float("inf")


class EventPayload(Payload):
    """
    One event, but for its ``id``: the same for all streams that have the topic in this place.

    Args:
        data: Its fields.
        place: Of the topic among those of the stream; None where it is about none.
        position: Where the topic stands after it.
        message: Whose event it is, if it is a message's.
    """

    __slots__ = ("_message", "_place", "_position")

    def __init__(
        self,
        data: bytes,
        place: int | None = None,
        position: Position | None = None,
        message: Message | None = None,
    ) -> None:
        super().__init__(data, *((message.destination, message.id) if message else ()))
        self._place = place
        self._position = position
        self._message = message

    def with_headers(self, headers: Any) -> Payload:
        if self._message is None or self._place is None or not headers:
            return self
        message = replace(self._message, headers={**self._message.headers, **headers})
        return EncodeEvent(self._place)(message)

    @property
    def event(self) -> dict[str, Any]:
        """What :class:`EventStream` makes the ASGI event of."""
        return {"place": self._place, "position": self._position, "data": self.data}


@dataclass(frozen=True, slots=True)
class EncodeEvent:
    """Make the event of a message, for streams that have its topic in this place."""

    place: int

    def __call__(self, message: Message) -> EventPayload:
        data = b"data: %b\n\n" % _as_json(as_notification(message))
        return EventPayload(data, self.place, Position.parse(message.id), message)


_KEEP_ALIVE: Final = EventPayload(b":\n\n")


class EventTopic:
    """
    One topic of a stream, and where the stream stands there.

    Args:
        place: Its place among the topics of the stream.
        name: As the client says it.
        destination: What the hub hears for it.
        resume: After which position the client wants what it missed.
    """

    def __init__(
        self, place: int, name: str, destination: str, resume: Position | None, outbox: Outbox
    ) -> None:
        self.name = name
        #: Of what was written last; None where there is no history.
        self.position: Position | None = None
        self._place = place
        self._resume = resume
        self._outbox = outbox
        self._start = Start()
        self._queue: LossyQueue | Replay | None = None
        policy = policy_of(destination)
        if policy != "close":
            self._queue = LossyQueue(outbox, latest=policy == "latest")
        self.subscription = Subscription(
            destination=destination,
            id=None,
            version=VERSION,
            deliver=outbox.deliver if self._queue is None else self._queue.deliver,
            resume=resume,
            begin=self._begin,
            lost=self._tell_lost,
            encode=EncodeEvent(place),
        )

    def description(self) -> dict[str, str | bool]:
        """Return what the client is told at first."""
        content: dict[str, str | bool] = {"topic": self.name}
        if self._start.position is not None:
            content["position"] = str(self._start.position)
        if self._resume is not None:
            content["recovered"] = self._start.recovered is True
        return content

    def discard(self) -> None:
        """Forget what waits."""
        if self._queue is not None:
            self._queue.discard()

    def _begin(self, start: Start, missed: Sequence[MessageFrames]) -> None:
        self._start = start
        self.position = start.position
        if self._resume is not None and not start.recovered:
            if start.position is not None:  # until the loss is told, who comes back has to hear it
                self.position = self._resume
            self._tell_lost(start.position, start.reason or "no-history")
        elif missed and self._queue is None:
            key, done = self.subscription.key, self._replayed
            self._queue = Replay(self._outbox, missed, key, {}, done)
            self.subscription.deliver = self._queue.deliver
        else:
            for frames in missed:
                self.subscription.deliver(frames.frame_for(self.subscription.key))

    def _replayed(self) -> None:
        self._queue = None
        self.subscription.deliver = self._outbox.deliver

    def _tell_lost(self, position: Position | None, reason: str) -> None:
        content = _as_json({"topic": self.name, "reason": reason})
        data = b"event: lost\ndata: %b\n\n" % content
        self.subscription.deliver(EventPayload(data, self._place, position))


class EventStream:
    """
    One client; :meth:`run` is its life.

    Args:
        session: Who it is; its row among the sessions.
        wanted: Its topics: as the client says them, as the hub hears them, and after which
            position it wants what it missed.
        send: The ASGI ``send``.
        headers: Of the response.
    """

    def __init__(
        self,
        session: Session,
        wanted: Sequence[tuple[str, str, Position | None]],
        send: Send,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self.session = session
        #: Whether the response has begun: before, another one can be given.
        self.began = False
        self._send = send
        self._headers = headers
        self._node = this_node()
        self._ready = asyncio.Event()  # what is delivered may be written
        self._cut = False
        self._task: asyncio.Task[Any] | None = None
        self._outbox = session.outbox = Outbox(
            self._write,
            max_bytes=settings.STOMP_SEND_BUFFER_BYTES,
            max_seconds=settings.STOMP_SEND_SECONDS,
            failed=self._cut_off,
            watch=partial(self._node.wake, self),
            abandon=lambda: None,
        )
        self._topics = [EventTopic(place, *each, self._outbox) for place, each in enumerate(wanted)]
        session.subscriptions = len(self._topics)

    async def run(self, receive: Any) -> None:
        """
        Answer with what is heard, until the client leaves, or is too slow and cut off.

        Raises:
            DestinationError: If a topic can't be heard.
            redis.RedisError: If Redis is away.
        """
        self._task = asyncio.current_task()
        self._node.add(self)
        try:
            await self._subscribe()
            await self._begin()
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not self._cut:
                raise
        finally:
            self._end()

    def tick(self, now: float) -> float:
        """Do what the clock demands at ``now``; return when to look again."""
        outbox = self._outbox
        if not self._ready.is_set():
            return now
        try:
            due = outbox.check_progress(now)
        except TooSlow as error:
            self._cut_off(error)
            return _NEVER
        if outbox.blocked:
            return due
        if now >= outbox.last_sent + KEEP_ALIVE_SECONDS:
            outbox.write(_KEEP_ALIVE)
            return now + KEEP_ALIVE_SECONDS
        return outbox.last_sent + KEEP_ALIVE_SECONDS

    async def _subscribe(self) -> None:
        hub = self._node.hub
        heard = [asyncio.ensure_future(hub.subscribe(each.subscription)) for each in self._topics]
        await asyncio.gather(*heard)

    async def _begin(self) -> None:
        """Begin the response, and say where it starts: who is cut off now can resume there."""
        self.began = True
        await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
        topics = _as_json({"topics": [topic.description() for topic in self._topics]})
        event = b"%bevent: subscribed\ndata: %b\n\n" % (self._id(), topics)
        await self._send_body(b"retry: %d\n%b" % (random.randint(*RETRY_MS), event))
        self._outbox.last_sent = asyncio.get_running_loop().time()
        self._ready.set()

    async def _write(self, event: dict[str, Any]) -> None:
        """Write what the outbox gives: one event, with where all topics stand after it."""
        await self._ready.wait()
        if event["place"] is None:
            await self._send_body(event["data"])
            return
        topic = self._topics[event["place"]]
        if topic.position is not None:
            topic.position = event["position"]
        await self._send_body(self._id() + event["data"])

    async def _send_body(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def _id(self) -> bytes:
        """Return the line with which the client can resume all topics, if it can any."""
        positions = [topic.position for topic in self._topics]
        if not any(positions):
            return b""
        return b"id: %b\n" % ",".join([str(each or "") for each in positions]).encode()

    def _cut_off(self, error: TooSlow) -> None:
        """End at once; a response that is cut off tells the client to come again."""
        self._cut = True
        if self._task is not None:
            self._task.cancel()

    def _end(self) -> None:
        self._outbox.discard()
        self._node.discard(self)
        for topic in self._topics:
            self._node.hub.unsubscribe(topic.subscription)
            topic.discard()


def _as_json(content: Any) -> bytes:
    """Return JSON on one line."""
    return json.dumps(content, ensure_ascii=False).encode()
