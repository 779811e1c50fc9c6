"""
EventStream: what one client hears on its topics, as a response that does not end.

It hears through the node's hub and writes through an outbox, as a STOMP session does: with the
same budget, the same replay of what it missed, and a row among the sessions of the admin.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from realtime.conf import conf
from realtime.counters import counters
from realtime.delivery.outbox import Outbox, Send
from realtime.history.positions import Position
from realtime.messages.json import as_notification
from realtime.messages.message import Message
from realtime.sessions.authorization import Grants
from realtime.sessions.failures import note_too_slow
from realtime.sessions.node import this_node
from realtime.sessions.session import Session
from realtime.stomp import AccessDenied, StompError, TooSlow

from .events import EventFrames, EventTopic, as_json

#: Seconds after which a comment is sent, so that nobody in between takes the stream for dead.
KEEP_ALIVE_SECONDS: Final = 15.0

#: Milliseconds that a client waits before it comes again, at random: not all at once.
RETRY_MS: Final = (1000, 5000)

_KEEP_ALIVE: Final = EventFrames((b":\n\n",))
_NEVER: Final = float("inf")


class EventStream:
    """
    One client; :meth:`run` is its life.

    Args:
        session: Who it is; its row among the sessions.
        grants: By what it may hear its topics.
        wanted: Its topics: as the client says them, as the hub hears them, and after which
            position it wants what it missed.
        send: The ASGI ``send``.
        headers: Of the response.
    """

    def __init__(
        self,
        session: Session,
        grants: Grants,
        wanted: Sequence[tuple[str, str, Position | None]],
        send: Send,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self.session = session
        self._grants = grants
        #: Whether the response has begun: before, another one can be given.
        self.began = False
        self._send = send
        self._headers = headers
        self._node = this_node()
        self._ready = asyncio.Event()  # what is delivered may be written
        self._ended = asyncio.Event()  # it may hear nothing any more
        self._cut = False
        self._task: asyncio.Task[Any] | None = None
        self._outbox = session.outbox = Outbox(
            self._write,
            max_bytes=conf.STOMP_SEND_BUFFER_BYTES,
            max_seconds=conf.STOMP_SEND_SECONDS,
            failed=self._cut_off,
            watch=partial(self._node.wake, self),
            abandon=lambda: None,
        )
        self._topics = [
            EventTopic(place, *each, self._outbox, session.user_name)
            for place, each in enumerate(wanted)
        ]
        session.heard = {topic.name: topic.subscription for topic in self._topics}

    async def run(self, receive: Any) -> None:
        """
        Answer with what is heard, until the client leaves, or is too slow and cut off.

        Raises:
            TooMany: If its user has too many connections.
            DestinationError: If a topic can't be heard.
            redis.RedisError: If Redis is away.
        """
        self._task = asyncio.current_task()
        self._node.add(self)
        try:
            self._node.enter(self)
            await self._subscribe()
            await self._begin()
            await self._heard_out(receive)
        except asyncio.CancelledError:
            if not self._cut:
                raise
        finally:
            self._end()

    def tick(self, now: float) -> float:
        """Do what the clock demands at ``now``; return when to look again."""
        try:
            ends_at = now + self._grants.seconds_left()
            if self._grants.expired():
                raise AccessDenied("the token has expired", code="token-expired")
        except StompError as error:
            self.fail(error)
            return _NEVER
        return min(self._tick(now), ends_at)

    async def recheck(self, user: Any) -> None:
        """Ask the rules again for what is heard: its user has changed."""
        heard = [(topic.name, topic.name) for topic in self._topics]
        async for _, _, error in self._grants.recheck(user, heard):
            self.fail(error)
            return

    def fail(self, error: StompError) -> None:
        """End the stream, and say why: who comes again gets an answer that says so, too."""
        counters.ended[error.code] += 1
        content = as_json({"code": error.code, "detail": error.message})
        self._outbox.write(EventFrames((b"event: refused\ndata: %b\n\n" % content,)))
        self._ended.set()

    def unsubscribe(self, key: str, error: StompError) -> None:
        """End the stream: what it hears was settled when it began."""
        self.fail(error)

    def tell(self, key: str, message: Message) -> None:
        """Send a message to this client only; where its topics stand stays as it is."""
        self._outbox.write(EventFrames((b"data: %b\n\n" % as_json(as_notification(message)),)))

    def _tick(self, now: float) -> float:
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

    async def _heard_out(self, receive: Any) -> None:
        """Return when the client leaves, or when it may hear nothing any more."""
        left = asyncio.ensure_future(_disconnected(receive))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({left, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not left.done():
                await self._outbox.flushed()
                await self._send({"type": "http.response.body", "body": b""})
        finally:
            left.cancel()
            ended.cancel()

    async def _subscribe(self) -> None:
        hub = self._node.hub
        heard = [asyncio.ensure_future(hub.subscribe(each.subscription)) for each in self._topics]
        await asyncio.gather(*heard)

    async def _begin(self) -> None:
        """Begin the response, and say where it starts: who is cut off now can resume there."""
        self.began = True
        await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
        topics = as_json({"topics": [topic.description() for topic in self._topics]})
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
        if not self._cut:
            counters.ended[error.code] += 1
            note_too_slow(self.session)
        self._cut = True
        if self._task is not None:
            self._task.cancel()

    def _end(self) -> None:
        self._outbox.discard()
        self._node.discard(self)
        for topic in self._topics:
            self._node.hub.unsubscribe(topic.subscription)
            topic.subscription.end()
        self.session.heard = {}


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
