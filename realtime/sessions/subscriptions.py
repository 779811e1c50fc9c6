"""Subscriptions: what one session hears, and what acknowledges its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from realtime.concurrency import nothing
from realtime.delivery.ack_window import AckWindow, prefetch_count
from realtime.delivery.frames import SharedFrames, StompEncoder
from realtime.delivery.outbox import Direct, Outbox
from realtime.delivery.queue import Queue
from realtime.delivery.slow_clients import LossyQueue
from realtime.destinations.names import (
    APPLICATION,
    TEMPORARY,
    heard_destination,
    is_pattern,
    reply_address,
)
from realtime.history.log import MAX_REPLAY
from realtime.history.positions import Position, Reason
from realtime.hub.hub import Hub
from realtime.hub.subscription import Start, Subscription
from realtime.messages.message import Message
from realtime.routes.table import topic_options
from realtime.stomp import Connection, MessagesLost, ProtocolError, StompError, events

from .session import Session


class Subscriptions:
    """
    What one session hears through the node's hub, by the keys of its SUBSCRIBE frames.

    Args:
        session: Whose they are.
        connection: Knows the version and counts the subscriptions.
        outbox: Where MESSAGE frames go.
        hub: Where they come from.
        receipt: Called with the ``receipt`` of a SUBSCRIBE, and headers, when it is certain.
        fail: Called with the error of a SUBSCRIBE, and its ``receipt``, or with why the session
            has to end.
    """

    def __init__(
        self,
        session: Session,
        connection: Connection,
        outbox: Outbox,
        hub: Hub,
        receipt: Callable[[str | None, dict[str, str]], None],
        fail: Callable[[BaseException, str | None], None],
    ) -> None:
        self._session = session
        self._connection = connection
        self._outbox = outbox
        self._hub = hub
        self._receipt = receipt
        self._fail = fail
        self._by_key: dict[str, Subscription] = {}
        session.heard = self._by_key
        #: Those that Redis has not confirmed yet.
        self.uncertain: list[asyncio.Future[None]] = []

    def subscribe(self, event: events.Subscribe) -> None:
        """
        Begin to hear a destination. The RECEIPT is sent when that is certain, before the first
        MESSAGE, and says where the subscription starts.

        Raises:
            StompError: If the client asks for something wrong.
            DestinationError: If nothing can be heard there.
        """
        destination = heard_destination(event.destination, self._session.user_name)
        resume, replay = _missed(event, destination)
        subscription = Subscription(
            destination,
            self._encoder(event.id, event.ack),
            self._queue(event, destination),
            resume=resume,
            replay=replay,
            user=self._session.user_name,
            began=partial(self._began, event.receipt),
            lost=self._lost,
        )
        self._keep(event.key, subscription)
        self._hear(subscription, event.receipt)

    async def certain(self) -> None:
        """Return when all that was subscribed to is heard, or has failed."""
        if self.uncertain:
            await asyncio.wait(self.uncertain)

    def unsubscribe(self, key: str) -> None:
        """Stop hearing; nothing happens where there is no such subscription."""
        subscription = self._by_key.pop(key, None)
        if subscription is not None:
            self._end(subscription)

    def unsubscribe_all(self) -> None:
        """Stop hearing anything."""
        while self._by_key:
            self._end(self._by_key.popitem()[1])

    def discard(self) -> None:
        """Stop hearing anything, and tell nobody: the client is gone."""
        self.unsubscribe_all()
        self._receipt = self._fail = nothing

    def named(self) -> list[tuple[str, str]]:
        """Return the keys and destinations of what SUBSCRIBE frames asked for."""
        return [
            (key, subscription.destination)
            for key, subscription in self._by_key.items()
            if not subscription.destination.startswith((APPLICATION, TEMPORARY))
        ]

    def refuse(self, key: str, error: StompError) -> None:
        """End a subscription, and say why with a MESSAGE."""
        subscription = self._by_key.get(key)
        if subscription is not None:
            told = refusal(subscription.destination, error)
            self._outbox.write(SharedFrames(told).frames_for(subscription.encoder))
            self._connection.end_subscription(key)
            self.unsubscribe(key)

    def hear_replies(self, reply_to: str) -> str:
        """
        Subscribe the session to its own ``/temp-queue/NAME``, as RabbitMQ does; return the address
        at which others reach it.
        """
        address = reply_address(reply_to, self._session.id)
        known = self._by_key.get(reply_to)
        if known is not None and known.destination == address:
            return address
        self._connection.add_subscription(reply_to)
        subscription = Subscription(address, self._encoder(reply_to), Direct(self._outbox))
        self._keep(reply_to, subscription)
        self._hear(subscription, None)
        return address

    def expect_answer(self, event: events.Subscribe) -> Callable[[Any], None]:
        """
        Add a subscription to an application destination. It hears one MESSAGE, which is for this
        client only: call what this returns with the content, once it is there.

        Raises:
            ProtocolError: If the client asks for something wrong.
        """
        queue = self._queue(event, event.destination)
        encoder = self._encoder(event.id, event.ack)
        subscription = Subscription(event.destination, encoder, queue)
        self._keep(event.key, subscription)

        def answer(content: Any) -> None:
            if self._by_key.get(event.key) is subscription:
                message = Message.of(event.destination, content)
                subscription.deliver(SharedFrames(message).frames_for(encoder))

        return answer

    def acknowledge(self, event: events.Ack) -> None:
        """
        Act on an ACK, or on a NACK: on these destinations nothing is delivered again.

        Raises:
            ProtocolError: If no such message waits for it.
        """
        self.check_waits(event).acknowledge(event.message_id)

    def check_waits(self, event: events.Ack) -> AckWindow:
        """
        Return where the message of an ACK or a NACK waits for it.

        Raises:
            ProtocolError: If it waits nowhere.
        """
        if event.subscription is None:  # STOMP 1.0 does not say which
            subscriptions = list(self._by_key.values())
        else:
            named = self._by_key.get(event.subscription)
            subscriptions = [] if named is None else [named]
        for subscription in subscriptions:
            queue = subscription.queue
            if isinstance(queue, AckWindow) and event.message_id in queue:
                return queue
        raise ProtocolError(
            f"no message {event.message_id!r} waits for an acknowledgement", code="unknown-ack"
        )

    def _encoder(self, id: str | None, ack: str = "auto") -> StompEncoder:
        binary = bool(self._outbox.binary)
        return StompEncoder(self._connection.version, id, ack != "auto", binary)

    def _queue(self, event: events.Subscribe, destination: str) -> Queue:
        """Return what messages go through before the outbox."""
        if event.ack != "auto":
            prefetch = prefetch_count(event.headers.get("prefetch-count"))
            return AckWindow(self._outbox, cumulative=event.ack == "client", prefetch=prefetch)
        return queue_for_slow_clients(self._outbox, destination)

    def _keep(self, key: str, subscription: Subscription) -> None:
        self._by_key[key] = subscription
        self._session.changed = True

    def _hear(self, subscription: Subscription, receipt: str | None) -> None:
        heard = asyncio.ensure_future(self._hub.subscribe(subscription))
        self.uncertain.append(heard)
        heard.add_done_callback(partial(self._heard, receipt))

    def _heard(self, receipt: str | None, heard: asyncio.Future[None]) -> None:
        """Fail if a subscription has failed; its RECEIPT was sent when it began."""
        self.uncertain.remove(heard)
        if not heard.cancelled() and (error := heard.exception()) is not None:
            self._fail(error, receipt)

    def _began(self, receipt: str | None, start: Start) -> Mapping[str, str]:
        """Say where a subscription starts: in its RECEIPT, or else with the first MESSAGE."""
        if receipt is None:
            return start.headers if start.recovered is not None else {}
        self._receipt(receipt, start.headers)
        return {}

    def _lost(self, subscription: Subscription, position: Position, reason: Reason) -> None:
        """Tell a client that messages for it are lost, or end its session, as the route says."""
        history = topic_options(subscription.destination).history
        if history is not None and history.on_gap == "close":
            self._fail(MessagesLost("messages are lost: reconnect", code="messages-lost"), None)
            return
        headers = {"recovered": "false", "reason": reason}
        told = Message(subscription.destination, b"", headers, str(position))
        subscription.deliver(SharedFrames(told).frames_for(subscription.encoder))

    def _end(self, subscription: Subscription) -> None:
        self._hub.unsubscribe(subscription)
        subscription.end()
        self._session.changed = True


def refusal(destination: str, error: StompError, receipt: str | None = None) -> Message:
    """Return the message that says what was refused: its body for people, its headers not."""
    headers = {"refused": error.code, "content-type": "text/plain;charset=UTF-8"}
    if receipt is not None:
        headers["receipt-id"] = receipt
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return Message(destination, error.message.encode(), headers)


def queue_for_slow_clients(outbox: Outbox, destination: str) -> Queue:
    """Return what the routing table wants messages to go through for a client that is slow."""
    policy = topic_options(destination).slow_clients
    return Direct(outbox) if policy == "close" else LossyQueue(outbox, latest=policy == "latest")


def _missed(event: events.Subscribe, destination: str) -> tuple[Position | None, int]:
    """
    Return what a SUBSCRIBE wants first: all after a position, or so many of the newest messages.

    Raises:
        ProtocolError: If that can't be had.
    """
    last, replay = event.headers.get("last-message-id"), event.headers.get("replay")
    if last is None and replay is None:
        return None, 0
    if is_pattern(destination) or topic_options(destination).history is None:
        raise ProtocolError(f"{event.destination!r} has no history", code="no-history")
    if last is not None and replay is not None:
        raise ProtocolError("either last-message-id or replay, not both", code="bad-header")
    if replay is not None:
        return None, _replay_count(replay)
    position = Position.parse(last or "")
    if position is None:
        raise ProtocolError(
            "last-message-id is not the id of a message with a history", code="bad-header"
        )
    return position, 0


def _replay_count(header: str) -> int:
    if header == "all":
        return MAX_REPLAY
    if not (header.isascii() and header.isdecimal() and len(header) <= 10):
        raise ProtocolError("replay is neither a number nor all", code="bad-header")
    return int(header)
