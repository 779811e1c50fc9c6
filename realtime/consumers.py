"""The consumer: carries one client's STOMP connection between ASGI, hub and broker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from django.conf import settings
from redis import RedisError

from . import __version__, broker
from .access import authenticate_session, check_may_send, header
from .broker import Message, MessageTooLarge
from .destinations import APPLICATION, DestinationError, check_destination, check_topic
from .handlers import find_handler
from .hub import Subscription
from .node import TICK_SECONDS, this_node
from .outbox import Outbox, Payload
from .sessions import Session
from .stomp import (
    HEARTBEAT,
    Connection,
    FrameTooLarge,
    HeartbeatMissed,
    Limits,
    ProtocolError,
    State,
    StompError,
    TooSlow,
    Unavailable,
    events,
)

logger = logging.getLogger(__name__)

#: The WebSocket sub-protocols, the best first.
SUBPROTOCOLS: Final = ("v12.stomp", "v11.stomp", "v10.stomp")

#: How many SENDs of one session may be under way; the next waits, and the client with it.
MAX_IN_FLIGHT: Final = 500

#: Silence of so many heart-beat intervals ends a session.
MISSED_HEARTBEATS: Final = 3

#: Headers of a SEND that are between client and server, not part of the message.
_NOT_FORWARDED: Final = frozenset(
    {"destination", "receipt", "transaction", "content-length"}
    | {"message-id", "subscription", "ack"}
)

_HEARTBEAT: Final = Payload(HEARTBEAT)
_NEVER: Final = float("inf")


class StompConsumer(AsyncConsumer):
    """
    One client. It holds no channel of its own: messages come from the node's hub.

    Events are acted on in the order in which they came. What needs Redis is started, not
    awaited; its RECEIPT follows when it is done.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.base_send = send
        self.node = this_node()
        self.session = Session(
            address=(scope.get("client") or ("",))[0],
            user_agent=header(scope, b"user-agent") or "",
        )
        self.connection = Connection(
            limits=Limits(
                max_frame_bytes=settings.STOMP_MAX_FRAME_BYTES,
                max_subscriptions=settings.STOMP_MAX_SUBSCRIPTIONS,
            ),
            heartbeat_ms=(settings.STOMP_HEARTBEAT_MS, settings.STOMP_HEARTBEAT_MS),
        )
        self.outbox = Outbox(
            send, max_bytes=settings.STOMP_SEND_BUFFER_BYTES, overflow=self._overflow
        )
        self._loop = asyncio.get_running_loop()
        self._opened = self._heard = self._loop.time()
        self._subscriptions: dict[str, Subscription] = {}
        self._subscribing: set[asyncio.Future[Any]] = set()
        self._sending: set[asyncio.Future[Any]] = set()
        await self._serve(receive)

    async def _serve(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self.node.add(self)
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        except asyncio.CancelledError:
            self.fail(StompError("the gateway restarts: reconnect", code="restart"), close=1012)
            await self.outbox.flushed()
            raise
        finally:
            self.node.discard(self)
            self._unsubscribe_all()
            self.outbox.discard()

    async def dispatch(self, message: dict[str, Any]) -> None:
        # Not AsyncConsumer's, which goes through a thread before each event (channels#2132).
        await getattr(self, message["type"].replace(".", "_"))(message)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        offered = self.scope.get("subprotocols") or ()
        chosen = next((name for name in SUBPROTOCOLS if name in offered), None)
        await self.send({"type": "websocket.accept", "subprotocol": chosen})

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        self._heard = self._loop.time()
        self.session.heard_at = time.time()
        text = message.get("text")
        try:
            self.connection.receive_data(message["bytes"] if text is None else text.encode())
            while (event := self.connection.next_event()) is not None:
                await self._act(event)
        except Exception as error:
            self.fail(error)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    def fail(
        self, error: BaseException, receipt: str | None = None, close: int | None = None
    ) -> None:
        """Answer any error with ERROR and close: the one place where that is done."""
        stomp_error = _as_stomp_error(error)
        stomp_error.receipt = stomp_error.receipt or receipt
        frame = self.connection.error(stomp_error)
        self.outbox.close(frame, close or stomp_error.close_code, stomp_error.message)
        self._unsubscribe_all()

    # What the client asks for

    async def _act(self, event: events.Event) -> None:
        try:
            await _ACTIONS[type(event)](self, event)
        except Exception as error:
            self.fail(error, event.receipt)

    async def _connect(self, event: events.Connect) -> None:
        self.session.user = await authenticate_session(self.scope, event)
        self.session.version = self.connection.version
        frame = self.connection.connected(
            session=self.session.id,
            server=f"stomp-gateway/{__version__}",
            user=self.session.user_name or None,
        )
        self.outbox.write(Payload(frame))
        self._receipt(event)
        self.node.wake(self)

    async def _subscribe(self, event: events.Subscribe) -> None:
        if event.ack != "auto":
            raise ProtocolError(f"ack:{event.ack} is not supported", code="not-supported")
        subscription = Subscription(
            destination=check_topic(event.destination),
            id=event.id,
            version=self.connection.version,
            deliver=self._deliver,
        )
        self._subscriptions[event.key] = subscription
        self.session.subscriptions = len(self._subscriptions)
        self._start(self.node.hub.subscribe(subscription), event, self._subscribing)

    async def _unsubscribe(self, event: events.Unsubscribe) -> None:
        self.node.hub.unsubscribe(self._subscriptions.pop(event.key))
        self.session.subscriptions = len(self._subscriptions)
        self._receipt(event)

    async def _send(self, event: events.Send) -> None:
        if event.transaction is not None:
            raise ProtocolError("transactions are not supported", code="not-supported")
        check_may_send(check_destination(event.destination))
        if self._subscribing:  # people subscribe, then publish, and expect to hear it
            await asyncio.wait(self._subscribing)
        if len(self._sending) >= MAX_IN_FLIGHT:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
        self.session.messages_in += 1
        headers = {n: v for n, v in event.headers.items() if n not in _NOT_FORWARDED}
        message = Message(event.destination, event.body, headers)
        if event.destination.startswith(APPLICATION):
            work = find_handler(event.destination)(message, self.session)
        else:
            work = broker.send(message)
        self._start(work, event, self._sending)

    async def _disconnect(self, event: events.Disconnect) -> None:
        while under_way := self._sending | self._subscribing:
            await asyncio.wait(under_way)
        last = self.connection.receipt(event.receipt) if event.receipt is not None else None
        self.outbox.close(last, 1000, "")

    async def _unsupported(self, event: events.Event) -> None:
        name = type(event).__name__.upper()
        raise ProtocolError(f"{name} is not supported", code="not-supported")

    # What becomes of it

    def _start(
        self, work: Awaitable[Any], event: events.Event, under_way: set[asyncio.Future[Any]]
    ) -> None:
        """Let work begin, in the order of the calls, and answer the event when it is done."""
        future = asyncio.ensure_future(work)
        under_way.add(future)
        future.add_done_callback(partial(self._finished, event, under_way))

    def _finished(
        self,
        event: events.Event,
        under_way: set[asyncio.Future[Any]],
        future: asyncio.Future[Any],
    ) -> None:
        under_way.discard(future)
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._receipt(event)
        else:
            self.fail(error, event.receipt)

    def _receipt(self, event: events.Event) -> None:
        if event.receipt is not None:
            self.outbox.write(Payload(self.connection.receipt(event.receipt)))

    def _deliver(self, payload: Payload) -> None:
        self.session.messages_out += 1
        self.outbox.write(payload)

    def _overflow(self) -> None:
        self.fail(TooSlow("this client reads too slowly: reconnect", code="too-slow"))

    def _unsubscribe_all(self) -> None:
        for subscription in self._subscriptions.values():
            self.node.hub.unsubscribe(subscription)
        self._subscriptions.clear()

    # What the clock demands

    def tick(self, now: float) -> float:
        """Do what is due at ``now``; return when to look again."""
        if self.connection.state is State.CONNECTING:
            return self._tick_connecting(now)
        if self.connection.state is State.CONNECTED:
            return min(self._tick_heard(now), self._tick_sent(now))
        return _NEVER

    def _tick_connecting(self, now: float) -> float:
        deadline = self._opened + settings.STOMP_CONNECT_SECONDS
        if now >= deadline:
            message = f"no CONNECT within {settings.STOMP_CONNECT_SECONDS} s"
            self.fail(ProtocolError(message, code="connect-timeout"))
        return deadline

    def _tick_heard(self, now: float) -> float:
        silence = self.connection.heartbeat_in_ms / 1000 * MISSED_HEARTBEATS
        if not silence:
            return _NEVER
        if now - self._heard > silence:
            message = f"no heart-beat for {silence:g} s"
            self.fail(HeartbeatMissed(message, code="heart-beat-missed"))
        return self._heard + silence

    def _tick_sent(self, now: float) -> float:
        interval = self.connection.heartbeat_out_ms / 1000
        if not interval:
            return _NEVER
        ahead = interval - TICK_SECONDS  # the next look would be too late
        if now >= self.outbox.last_sent + ahead:
            self.outbox.write(_HEARTBEAT)
            return now + ahead
        return self.outbox.last_sent + ahead


_ACTIONS: Final[dict[type[events.Event], Callable[[StompConsumer, Any], Awaitable[None]]]] = {
    events.Connect: StompConsumer._connect,
    events.Subscribe: StompConsumer._subscribe,
    events.Unsubscribe: StompConsumer._unsubscribe,
    events.Send: StompConsumer._send,
    events.Ack: StompConsumer._unsupported,
    events.Nack: StompConsumer._unsupported,
    events.Begin: StompConsumer._unsupported,
    events.Commit: StompConsumer._unsupported,
    events.Abort: StompConsumer._unsupported,
    events.Disconnect: StompConsumer._disconnect,
}


def _as_stomp_error(error: BaseException) -> StompError:
    """Say any error in STOMP's terms; what is our own fault is logged and not told."""
    if isinstance(error, StompError):
        return error
    if isinstance(error, DestinationError):
        return ProtocolError(error.message, code=error.code)
    if isinstance(error, MessageTooLarge):
        return FrameTooLarge(str(error), code="body-too-large")
    if isinstance(error, RedisError):
        logger.warning("Redis did not do what a client asked for: %s", error)
        return Unavailable("Redis is away: try again", code="unavailable")
    logger.error("a client's request failed", exc_info=error)
    return StompError("internal error", code="internal-error")
