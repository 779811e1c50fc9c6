"""The consumer: carries one client's STOMP connection between ASGI, hub and broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from django.conf import settings

from . import __version__
from .access.authentication import authenticate_session
from .access.origins import header
from .access.rules import check_may_send
from .delivery.frames import Payload
from .delivery.outbox import ATTACH, Outbox
from .destinations.names import APPLICATION, check_destination
from .hub.subscription import Start
from .messages.message import check_content
from .sessions.failures import as_stomp_error
from .sessions.handlers import HandlerFailed, find_subscriber
from .sessions.heartbeats import Heartbeats
from .sessions.node import this_node
from .sessions.publishing import Sends, all_done
from .sessions.session import Session
from .sessions.subscriptions import Subscriptions
from .stomp import Connection, Limits, StompError, TooSlow, events

#: The WebSocket sub-protocols, the best first.
SUBPROTOCOLS: Final = ("v12.stomp", "v11.stomp", "v10.stomp")

#: After so many requests of one client the others get a turn.
YIELD_EVENTS: Final = 25


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
        self.connection = _new_connection()
        self.outbox = self.session.outbox = self._new_outbox()
        self._task = asyncio.current_task()
        self._abandoned = False
        self._loop = asyncio.get_running_loop()
        self.heartbeats = Heartbeats(
            self.connection,
            self.outbox,
            connect_by=self._loop.time() + settings.STOMP_CONNECT_SECONDS,
        )
        self.subscriptions = Subscriptions(
            self.session, self.connection, self.outbox, self.node.hub, self.fail
        )
        self.sends = Sends(
            self.session, self.subscriptions, partial(self._heard, None), self._answer
        )
        self._acted = 0
        await self._serve(receive)

    def _new_outbox(self) -> Outbox:
        return Outbox(
            self.base_send,
            max_bytes=settings.STOMP_SEND_BUFFER_BYTES,
            max_seconds=settings.STOMP_SEND_SECONDS,
            failed=self.fail,
            watch=partial(self.node.wake, self),
            abandon=self._abandon,
        )

    async def _serve(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self.node.add(self)
        try:
            while True:
                message = await receive()
                if message["type"] == "websocket.receive":  # most are: a shorter way
                    await self.websocket_receive(message)
                else:
                    await self.dispatch(message)
        except StopConsumer:
            pass
        except asyncio.CancelledError:
            if self._abandoned:
                return
            self.fail(StompError("the gateway restarts: reconnect", code="restart"), close=1012)
            await self.outbox.flushed()
            raise
        finally:
            self.node.discard(self)
            self.subscriptions.unsubscribe_all()
            self.outbox.discard()

    async def dispatch(self, message: dict[str, Any]) -> None:
        # Not AsyncConsumer's, which goes through a thread before each event (channels#2132).
        await getattr(self, message["type"].replace(".", "_"))(message)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        offered = self.scope.get("subprotocols") or ()
        chosen = next((name for name in SUBPROTOCOLS if name in offered), None)
        accept = {"type": "websocket.accept", "subprotocol": chosen}
        # Servers ignore keys that they don't know; ours takes it for an offer: see Transport.
        await self.base_send({**accept, ATTACH: self.outbox.attach})

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        self.heartbeats.heard = float("inf")  # while we are at work, silence is our own
        self.session.heard_at = time.time()
        text = message.get("text")
        try:
            self.connection.receive_data(message["bytes"] if text is None else text.encode())
            await self._act()
        except Exception as error:
            await self._fail_in_turn(error)
        finally:
            self.heartbeats.heard = self._loop.time()

    async def _act(self) -> None:
        """Act on what the client asks for. SENDs that follow each other are begun together."""
        while (event := self.connection.next_event()) is not None:
            if type(event) is not events.Send:
                await self._begin_sends()
            try:
                if (wait := _ACTIONS[type(event)](self, event)) is not None:
                    await wait
            except Exception as error:
                await self._fail_in_turn(error, event.receipt)
            self._acted += 1
            if self._acted % YIELD_EVENTS == 0:
                await self._begin_sends()
                await asyncio.sleep(0)
        await self._begin_sends()

    async def _begin_sends(self) -> None:
        if (wait := self.sends.begin()) is not None:
            await wait

    async def _fail_in_turn(self, error: Exception, receipt: str | None = None) -> None:
        """Fail once all that came before has been begun."""
        try:
            await self._begin_sends()
        except Exception as earlier:
            error, receipt = earlier, None
        self.fail(error, receipt)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    def tick(self, now: float) -> float:
        """Do what the clock demands at ``now``; return when to look again."""
        try:
            return self.heartbeats.tick(now)
        except StompError as error:
            self.fail(error)
            return float("inf")

    def fail(
        self, error: BaseException, receipt: str | None = None, close: int | None = None
    ) -> None:
        """Answer any error with ERROR and close: the one place where that is done."""
        self.sends.closed = True
        stomp_error = as_stomp_error(error)
        stomp_error.receipt = stomp_error.receipt or receipt
        frame = self.connection.error(stomp_error)
        self.outbox.close(
            frame,
            close or stomp_error.close_code,
            stomp_error.message,
            at_once=isinstance(error, TooSlow),
        )
        self.subscriptions.unsubscribe_all()

    # What the client asks for; each returns what has to be awaited before the next, if anything

    async def _connect(self, event: events.Connect) -> None:
        self.session.user = await authenticate_session(self.scope, event)
        self.session.version = self.connection.version
        frame = self.connection.connected(
            session=self.session.id,
            server=f"stomp-gateway/{__version__}",
            user=self.session.user_name or None,
        )
        self.outbox.write(Payload(frame))
        self._receipt(event.receipt)
        self.node.wake(self)

    async def _subscribe(self, event: events.Subscribe) -> None:
        if event.destination.startswith(APPLICATION):
            handle, variables = find_subscriber(check_destination(event.destination))
            answer = self.subscriptions.expect_answer(event)
            await self.sends.handling.room()
            work = _answered(handle(self.session, **variables), answer)
            self.sends.handling.start(work, done=partial(self.sends.handled, event.receipt))
        else:
            heard = self.subscriptions.subscribe(event, partial(self._began, event))
            self.sends.subscribing.start(heard, done=partial(self._heard, event.receipt))

    def _began(self, event: events.Subscribe, start: Start) -> None:
        self._receipt(event.receipt, start.headers)

    def _unsubscribe(self, event: events.Unsubscribe) -> None:
        self.subscriptions.unsubscribe(event.key)
        self._receipt(event.receipt)

    def _send(self, event: events.Send) -> Awaitable[Any] | None:
        check_may_send(check_destination(event.destination))
        message = self.sends.message(event)
        if event.transaction is not None:
            check_content(message)
            self._receipt(event.receipt)  # it is kept; COMMIT publishes it
            return None
        return self.sends.start(message, event.receipt)

    def _ack(self, event: events.Ack) -> None:
        if event.transaction is None:
            self.subscriptions.acknowledge(event)
        else:
            self.subscriptions.check_waits(event)
        self._receipt(event.receipt)

    def _begin_or_abort(self, event: events.Begin | events.Abort) -> None:
        self._receipt(event.receipt)

    async def _commit(self, event: events.Commit) -> None:
        for request in event.requests:  # first what can fail and has no effect on others
            if isinstance(request, events.Ack):
                self.subscriptions.acknowledge(request)
        work = []
        for request in event.requests:
            if isinstance(request, events.Send):
                work.append(await self.sends.publish(self.sends.message(request)))
        # It may hold handlers, so it counts with them.
        self.sends.handling.start(all_done(work), done=partial(self.sends.handled, event.receipt))

    async def _disconnect(self, event: events.Disconnect) -> None:
        await self.sends.ended()
        last = self.connection.receipt(event.receipt) if event.receipt is not None else None
        self.outbox.close(last, 1000, "")

    # What becomes of it

    def _answer(self, receipt: str | None, error: BaseException | None) -> None:
        """Say that a request is done, or fail; a handler's error hurts its own frame only."""
        if error is None:
            self._receipt(receipt)
        elif not isinstance(error, HandlerFailed):
            self.fail(error, receipt)

    def _heard(self, receipt: str | None, future: asyncio.Future[Any]) -> None:
        """Fail if a subscription has failed; its RECEIPT was sent when it began."""
        if not future.cancelled() and (error := future.exception()) is not None:
            self.fail(error, receipt)

    def _receipt(self, receipt: str | None, headers: dict[str, str] | None = None) -> None:
        if receipt is not None:
            self.outbox.write(Payload(self.connection.receipt(receipt, headers)))

    def _abandon(self) -> None:
        """End at once: the server can't even take a close for this client."""
        self._abandoned = True
        if self._task is not None:
            self._task.cancel()


def _new_connection() -> Connection:
    limits = Limits(
        max_frame_bytes=settings.STOMP_MAX_FRAME_BYTES,
        max_subscriptions=settings.STOMP_MAX_SUBSCRIPTIONS,
    )
    return Connection(limits=limits, heartbeat_ms=(settings.STOMP_HEARTBEAT_MS,) * 2)


async def _answered(content: Awaitable[Any], answer: Callable[[Any], None]) -> None:
    """Answer with the content once it is there, unless it is None."""
    if (awaited := await content) is not None:
        answer(awaited)


_ACTIONS: Final[dict[type[events.Event], Callable[[StompConsumer, Any], Awaitable[Any] | None]]] = {
    events.Connect: StompConsumer._connect,
    events.Subscribe: StompConsumer._subscribe,
    events.Unsubscribe: StompConsumer._unsubscribe,
    events.Send: StompConsumer._send,
    events.Ack: StompConsumer._ack,
    events.Nack: StompConsumer._ack,
    events.Begin: StompConsumer._begin_or_abort,
    events.Abort: StompConsumer._begin_or_abort,
    events.Commit: StompConsumer._commit,
    events.Disconnect: StompConsumer._disconnect,
}
