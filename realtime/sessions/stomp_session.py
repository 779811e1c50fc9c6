"""
StompSession: one client that speaks STOMP, from its first byte to its last.

It acts on what the client asks for in the order in which it came. What needs Redis is started,
not awaited; its RECEIPT follows when it is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from realtime import __version__
from realtime.access import topic_quota
from realtime.access.addresses import address_of
from realtime.access.authentication import asks, authenticate
from realtime.access.credentials import of_connect
from realtime.access.origins import header
from realtime.access.rules import Decision
from realtime.conf import cached_setting, conf
from realtime.counters import counters
from realtime.delivery.frames import Frames, SharedFrames, StompEncoder, in_websocket_frame
from realtime.delivery.outbox import ATTACH, Outbox, Send
from realtime.destinations.names import APPLICATION, check_destination
from realtime.messages.headers import is_free
from realtime.messages.idempotency import HTTP_IDEMPOTENCY_KEY, IDEMPOTENCY_KEY, key_of_user
from realtime.messages.message import Message, check, check_content
from realtime.routes.rules import Action
from realtime.stomp import (
    Connection,
    Limits,
    ProtocolError,
    Restart,
    StompError,
    TooSlow,
    events,
)

from .authorization import REFRESH, Ahead, Authorization, unless_gone
from .failures import as_stomp_error, is_refusal, note_too_slow
from .handlers import BodyRefused, Calls, HandlerFailed
from .heartbeats import Heartbeats
from .node import Node
from .pace import LOOK_BYTES, Pace
from .publishing import Publishing, look_away
from .session import Session
from .subscriptions import Subscriptions, refusal

#: The WebSocket sub-protocols, the best first.
SUBPROTOCOLS: Final = ("v12.stomp", "v11.stomp", "v10.stomp")

#: After so many requests of one client the others get a turn.
YIELD_EVENTS: Final = 25

_NEVER: Final = float("inf")

#: What has to be awaited before the client's next request, if anything.
Wait = Awaitable[Any] | None


class StompSession:
    """
    Hold one client's connection, outbox, subscriptions and publishing.

    Args:
        scope: The ASGI scope.
        send: ASGI's.
        node: Where it lives.
    """

    def __init__(self, scope: dict[str, Any], send: Send, node: Node) -> None:
        self._scope = scope
        self._asgi_send = send
        self._task: asyncio.Task[Any] | None = None
        self._abandoned = False
        self._node = node
        self._loop = asyncio.get_running_loop()
        self.session = Session(
            address=address_of(scope),
            user_agent=header(scope, b"user-agent") or "",
        )
        self.connection = Connection(limits=_limits(), heartbeat_ms=_heartbeat_ms())
        receipt, fail = self.receipt, self.fail  # bound once, for all that call them
        self.outbox = self.session.outbox = Outbox(
            send,
            max_bytes=conf.STOMP_SEND_BUFFER_BYTES,
            max_seconds=conf.STOMP_SEND_SECONDS,
            failed=fail,
            watch=self._wake,
            abandon=self._abandon,
        )
        connect_by = self._loop.time() + conf.STOMP_CONNECT_SECONDS
        self.heartbeats = Heartbeats(self.connection, self.outbox, connect_by=connect_by)
        self._subscriptions = Subscriptions(
            self.session, self.connection, self.outbox, node.hub, receipt, fail
        )
        self._publishing = Publishing(self.session, self._subscriptions, receipt, fail)
        self._authorization = Authorization(self.session, self._subscriptions, fail)
        self._made_calls: Calls | None = None
        self._allowed = self._authorization.grants.permissions.allowed
        self._topics = topic_quota.quota
        self._ahead = Ahead()
        self._pace = Pace(self.session.address)

    # Its life

    async def run(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """Serve the client until it is gone."""
        self._task = asyncio.current_task()
        self._node.add(self)
        self._node.expect_connect(self)
        self._ahead.receive = receive
        ahead = self._ahead.messages
        try:
            while (message := ahead.pop(0) if ahead else await receive())[
                "type"
            ] != "websocket.disconnect":
                if message["type"] == "websocket.connect":
                    await self._accept()
                else:
                    text = message.get("text")
                    if self.outbox.binary is None:
                        self.outbox.binary = text is None
                    await self.receive(message["bytes"] if text is None else text.encode())
                del message  # or the last would be kept until the next
        except asyncio.CancelledError:
            if not self._abandoned:
                await self._say_goodbye()
                raise
        finally:
            self._node.discard(self)
            self._discard()

    @property
    def _calls(self) -> Calls:
        """What calls functions of the routing table for it; most sessions need none."""
        if self._made_calls is None:
            self._made_calls = Calls(self.session, self._subscriptions, self._publishing)
        return self._made_calls

    def _discard(self) -> None:
        """Forget what waits, and who refers to this: it is gone without the collector."""
        self._subscriptions.discard()
        self._publishing.discard()
        self._authorization.discard()
        self.outbox.discard()
        self._task = None

    async def receive(self, data: bytes) -> None:
        """Take in what the client sent, and act on it."""
        self.heartbeats.heard = _NEVER  # while we are at work, silence is our own
        self.session.heard_at = time.time()
        try:
            counters.bytes_in += len(data)
            self.connection.receive_data(data)
            self._pace.bytes += len(data)
            await self._act()
            if self._pace.bytes >= LOOK_BYTES:
                await asyncio.sleep(self._pace.wait(self._loop.time()))
        except Exception as error:
            await self._fail_in_turn(error)
        finally:
            self.heartbeats.heard = self._loop.time()

    def tick(self, now: float) -> float:
        """Do what the clock demands at ``now``; return when to look again."""
        try:
            return min(self.heartbeats.tick(now), now + self._authorization.tick())
        except StompError as error:
            self.fail(error)
            return _NEVER

    async def recheck(self, user: Any) -> None:
        """Ask the rules again for what is heard: its user has changed."""
        await self._authorization.recheck(user)

    def unsubscribe(self, key: str, error: StompError) -> None:
        """End a subscription, and say why with a MESSAGE."""
        self._subscriptions.refuse(key, error)
        self._authorization.unsubscribed(key)

    def tell(self, key: str, message: Message) -> None:
        """Send a message to this client only, on one of its subscriptions."""
        if (subscription := self.session.heard.get(key)) is not None:
            subscription.deliver(SharedFrames(message).frames_for(subscription.encoder))

    def receipt(self, receipt: str | None, headers: dict[str, str] | None = None) -> None:
        """Say that a request is done, if its frame asked for that."""
        if receipt is not None:
            self._write(self.connection.receipt(receipt, headers))

    def fail(self, error: BaseException, receipt: str | None = None) -> None:
        """Answer any error with ERROR and close: the one place where that is done."""
        stomp_error = as_stomp_error(error)
        if not self._publishing.closed:
            counters.ended[stomp_error.code] += 1
            if isinstance(error, TooSlow):
                note_too_slow(self.session)
        self._publishing.closed = True
        stomp_error.receipt = stomp_error.receipt or receipt
        frame = self.connection.error(stomp_error)
        self.outbox.close(
            frame,
            stomp_error.close_code,
            stomp_error.message,
            at_once=isinstance(error, TooSlow),
        )
        self._subscriptions.unsubscribe_all()

    async def _accept(self) -> None:
        offered = self._scope.get("subprotocols") or ()
        chosen = next((name for name in SUBPROTOCOLS if name in offered), None)
        accept = {"type": "websocket.accept", "subprotocol": chosen}
        # Servers ignore keys that they don't know; ours takes it for an offer: see Transport.
        await self._asgi_send({**accept, ATTACH: self.outbox.attach})

    async def _say_goodbye(self) -> None:
        """Tell the client to come again: the server ends."""
        self.fail(Restart("the gateway restarts: reconnect", code="restart"))
        await self.outbox.flushed()

    def _wake(self) -> None:
        """Look at the clock soon."""
        self._node.wake(self)

    def _abandon(self) -> None:
        """End at once: the server can't even take a close for this client."""
        self._abandoned = True
        if self._task is not None:
            self._task.cancel()

    async def _act(self) -> None:
        """Act on what the client asks for. SENDs that follow each other are published together."""
        while (event := self.connection.next_event()) is not None:
            counters.requests[type(event)] += 1
            if self._publishing.batch and type(event) is not events.Send:
                await self._publish_batch()
            try:
                if (wait := _ACTIONS[type(event)](self, event)) is not None:
                    await wait
            except Exception as error:
                if not self._refuse_softly(event, error):
                    await self._fail_in_turn(error, event.receipt)
            self._pace.frames += 1
            if self._pace.frames >= YIELD_EVENTS:
                await self._publish_batch()
                await asyncio.sleep(self._pace.wait(self._loop.time()))
        if self._publishing.batch:
            await self._publish_batch()

    async def _publish_batch(self) -> None:
        if (wait := self._publishing.publish_batch()) is not None:
            await wait

    async def _fail_in_turn(self, error: Exception, receipt: str | None = None) -> None:
        """Fail once all that came before has been begun."""
        try:
            await self._publish_batch()
        except Exception as earlier:
            error, receipt = earlier, None
        self.fail(error, receipt)

    def _refuse_softly(self, event: events.Event, error: Exception) -> bool:
        """Say that a SUBSCRIBE or a SEND is refused, and go on, if the client asked for that."""
        if not self._authorization.soft_errors or not is_refusal(error):
            return False
        refused = as_stomp_error(error)
        if isinstance(event, events.Subscribe):
            self.connection.end_subscription(event.key)
            told = refusal(event.destination, refused, event.receipt)
            subscription = event.id
        elif isinstance(event, events.Send) and event.transaction is None:
            told = refusal(event.destination, refused, event.receipt)
            subscription = None
        else:
            return False
        self._tell_refused(told, subscription)
        return True

    def _tell_refused(self, told: Message, subscription: str | None = None) -> None:
        binary = bool(self.outbox.binary)
        encoder = StompEncoder(self.connection.version, subscription, binary=binary)
        self.outbox.write(SharedFrames(told).frames_for(encoder))

    def _write(self, frame: bytes) -> None:
        self.outbox.write(Frames((in_websocket_frame(frame, bool(self.outbox.binary)),)))

    # What the client asks for

    async def _connect(self, event: events.Connect) -> None:
        self.heartbeats.connect_by = _NEVER  # how long it takes now is not the client's fault
        self._node.heard_connect(self)
        credentials = of_connect(self._scope, event)
        del self._scope  # 2 KiB
        work = authenticate(credentials)
        if asks(credentials):
            work = unless_gone(work, self._ahead)
        self._authorization.log_in(event, await work)
        self._node.enter(self)
        self.session.version = self.connection.version
        self._write(
            self.connection.connected(
                session=self.session.id,
                server=f"stomp-gateway/{__version__}",
                user=self.session.user_name or None,
            )
        )
        self.receipt(event.receipt)
        self._wake()

    async def _subscribe(self, event: events.Subscribe) -> None:
        self._pace.subscribes += 1
        if not self._may_hear(event):
            await self._authorization.check_hearing(event)
        if event.destination.startswith(APPLICATION):
            await self._ask_application(event)
        else:
            self._subscriptions.subscribe(event)

    async def _ask_application(self, event: events.Subscribe) -> None:
        """Answer a SUBSCRIBE once, with what a function of the routing table returns."""
        content = self._calls.answer(check_destination(event.destination))
        deliver = self._subscriptions.expect_answer(event)
        await self._calls.in_flight.ready()
        work = _deliver_answer(content, deliver)
        self._calls.in_flight.start(work, partial(self._handled, event))

    def _unsubscribe(self, event: events.Unsubscribe) -> None:
        self._pace.subscribes += 1
        self._subscriptions.unsubscribe(event.key)
        self._authorization.unsubscribed(event.key)
        self.receipt(event.receipt)

    def _send(self, event: events.Send) -> Wait:
        decision = self._known("send", event.destination)
        if decision is None:
            return self._send_if_allowed(event)
        return self._send_allowed(event, decision)

    async def _send_if_allowed(self, event: events.Send) -> None:
        check_destination(event.destination)
        if event.destination == REFRESH:
            if event.transaction is not None:
                raise ProtocolError("a login is no part of a transaction", code="bad-header")
            await self._refresh(event)
            return
        decision = await self._authorization.grants.check("send", event.destination)
        if (wait := self._send_allowed(event, decision)) is not None:
            await wait

    def _send_allowed(self, event: events.Send, decision: Decision) -> Wait:
        if event.destination.startswith(APPLICATION):
            return self._send_to_application(event, decision)
        message = check(self._message(event, decision))
        if hash(event.destination) not in self._topics.known:
            self._topics.check(self.session.account, event.destination)
        if event.transaction is not None:
            self.receipt(event.receipt)  # it is kept; COMMIT publishes it
            return None
        return self._publishing.add(message, event.receipt)

    async def _refresh(self, event: events.Send) -> None:
        await self._authorization.refresh(event)
        self._node.logged_in(self)
        self.receipt(event.receipt)
        self._wake()

    def _known(self, action: Action, destination: str) -> Decision | None:
        """Return that something is allowed, if the session has asked lately."""
        decision = self._allowed.get((action, destination))
        if decision is not None and decision.until > time.monotonic():
            return decision
        return None

    def _may_hear(self, event: events.Subscribe) -> bool:
        if self._known("subscribe", event.destination) is None or "token" in event.headers:
            return False
        past = "last-message-id" in event.headers or "replay" in event.headers
        return not past or self._known("history", event.destination) is not None

    async def _send_to_application(self, event: events.Send, decision: Decision) -> None:
        """Hand a SEND to a function of the routing table."""
        call = self._calls.find(self._message(event, decision))
        if event.transaction is not None:
            check_content(call.message)
            self.receipt(event.receipt)  # it is kept; COMMIT makes the call
            return
        await self._publish_batch()
        await self._calls.start(call, partial(self._handled, event))

    def _ack(self, event: events.Ack) -> None:
        if event.transaction is None:
            self._subscriptions.acknowledge(event)
        else:
            self._subscriptions.check_waits(event)
        self.receipt(event.receipt)

    def _begin_or_abort(self, event: events.Begin | events.Abort) -> None:
        self.receipt(event.receipt)

    async def _commit(self, event: events.Commit) -> None:
        sends = [request for request in event.requests if isinstance(request, events.Send)]
        allowed = self._authorization.grants.check  # what can fail and has no effect comes first
        decisions = [await allowed("send", send.destination) for send in sends]
        for request in event.requests:
            if isinstance(request, events.Ack):
                self._subscriptions.acknowledge(request)
        work = [await self._commit_send(*each) for each in zip(sends, decisions, strict=True)]
        # It may hold handlers, so it counts with them.
        self._calls.in_flight.start(_all_done(work), partial(self._handled, event))

    async def _commit_send(self, event: events.Send, decision: Decision) -> asyncio.Future[Any]:
        message = self._message(event, decision)
        if event.destination.startswith(APPLICATION):
            return await self._calls.start(self._calls.find(message), look_away)
        return await self._publishing.publish(check(message))

    async def _disconnect(self, event: events.Disconnect) -> None:
        await self._subscriptions.certain()
        await self._publishing.ended()
        await self._calls.in_flight.ended()
        last = self.connection.receipt(event.receipt) if event.receipt is not None else None
        self.outbox.close(last, 1000, "")

    # What it sends

    def _message(self, event: events.Send, decision: Decision) -> Message:
        headers = {name: value for name, value in event.headers.items() if is_free(name)}
        if decision.rule is not None and decision.rule.sender and self.session.user_name:
            headers["sender"] = self.session.user_name
        key = event.headers.get(IDEMPOTENCY_KEY, event.headers.get(HTTP_IDEMPOTENCY_KEY))
        scoped = None if key is None else self._scoped(key)
        return Message(event.destination, event.body, headers, idempotency_key=scoped)

    def _scoped(self, key: str) -> str:
        try:
            return key_of_user(self.session.user_name, key)
        except ValueError as error:
            raise ProtocolError(str(error), code="bad-header") from None

    # What becomes of it

    def _handled(self, event: events.Event, future: asyncio.Future[Any]) -> None:
        """Say that a request is done; a handler's error hurts its own frame only."""
        error = future.exception()
        if error is None:
            self.receipt(event.receipt)
        elif isinstance(error, BodyRefused):
            if self._authorization.soft_errors and isinstance(event, events.Send):
                self._tell_refused(error.answer(event.receipt))
        elif not isinstance(error, HandlerFailed):
            self.fail(error, event.receipt)


@cached_setting
def _limits() -> Limits:
    """Return what a client may ask for: the same for all."""
    return Limits(
        max_frame_bytes=conf.STOMP_MAX_FRAME_BYTES,
        max_subscriptions=conf.STOMP_MAX_SUBSCRIPTIONS,
    )


@cached_setting
def _heartbeat_ms() -> tuple[int, int]:
    return conf.STOMP_HEARTBEAT_MS, conf.STOMP_HEARTBEAT_MS


async def _deliver_answer(content: Awaitable[Any], deliver: Callable[[Any], None]) -> None:
    """Deliver an answer once it is there, unless it is None."""
    if (awaited := await content) is not None:
        deliver(awaited)


async def _all_done(work: list[asyncio.Future[Any]]) -> None:
    """Wait for all; raise the error that matters most, if any: a handler's own matters least."""
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, HandlerFailed)):
        raise error


_ACTIONS: Final[dict[type[events.Event], Callable[[StompSession, Any], Wait]]] = {
    events.Connect: StompSession._connect,
    events.Subscribe: StompSession._subscribe,
    events.Unsubscribe: StompSession._unsubscribe,
    events.Send: StompSession._send,
    events.Ack: StompSession._ack,
    events.Nack: StompSession._ack,
    events.Begin: StompSession._begin_or_abort,
    events.Abort: StompSession._begin_or_abort,
    events.Commit: StompSession._commit,
    events.Disconnect: StompSession._disconnect,
}
