"""The subscriptions of one session, and what acknowledges their messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from realtime.delivery.ack_window import AckWindow, prefetch_count
from realtime.delivery.frames import Burst, MessageFrames, Payload
from realtime.delivery.lossy_queue import LossyQueue
from realtime.delivery.outbox import Outbox
from realtime.delivery.replay import Replay
from realtime.destinations.names import heard_destination, is_pattern, reply_address
from realtime.history.log import MAX_REPLAY
from realtime.history.positions import Position, Reason
from realtime.hub.hub import Hub
from realtime.hub.subscription import Start, Subscription
from realtime.messages.message import Message
from realtime.routes.topics import history_of, policy_of
from realtime.stomp import Connection, MessagesLost, ProtocolError, StompError, events

from .session import Session


@dataclass(slots=True)
class _Entry:
    """A live subscription; ``queue`` is None where its messages go straight to the outbox."""

    subscription: Subscription
    queue: AckWindow | LossyQueue | Replay | None = None


class Subscriptions:
    """
    What one session hears through the node's hub, by the keys of its SUBSCRIBE frames.

    Args:
        session: Whose they are.
        connection: Knows the version and counts the subscriptions.
        outbox: Where MESSAGE frames go.
        hub: Where they come from.
        failed: Called with the reason when the session has to end.
    """

    def __init__(
        self,
        session: Session,
        connection: Connection,
        outbox: Outbox,
        hub: Hub,
        failed: Callable[[StompError], None],
    ) -> None:
        self._failed = failed
        self._session = session
        self._connection = connection
        self._outbox = outbox
        self._hub = hub
        self._entries: dict[str, _Entry] = {}

    def subscribe(self, event: events.Subscribe, began: Callable[[Start], None]) -> Awaitable[None]:
        """
        Begin to hear a destination; await what this returns until it is certain.

        ``began`` is called before the first MESSAGE, with where the subscription starts.

        Raises:
            StompError: If the client may not, or asks for something wrong.
            DestinationError: If nothing can be heard there.
        """
        destination = heard_destination(event.destination, self._session.user_name)
        resume, replay = _missed(event, destination)
        queue = self._queue_for(event, destination)
        subscription = self._keep(event.key, destination, event.id, queue)
        subscription.resume, subscription.replay = resume, replay
        subscription.begin = partial(self._begin, self._entries[event.key], event, began)
        subscription.lost = partial(self._lost, subscription)
        return self._hub.subscribe(subscription)

    def unsubscribe(self, key: str) -> None:
        """Stop hearing; nothing happens where there is no such subscription."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._end(entry)

    def unsubscribe_all(self) -> None:
        """Stop hearing anything."""
        while self._entries:
            self._end(self._entries.popitem()[1])

    def hear_replies(self, reply_to: str) -> tuple[str, Awaitable[None] | None]:
        """
        Subscribe the session to its own ``/temp-queue/NAME``, as RabbitMQ does.

        Return the address at which others reach it, and what to await until it is heard: None
        if it is heard already.
        """
        address = reply_address(reply_to, self._session.id)
        entry = self._entries.get(reply_to)
        if entry is not None and entry.subscription.destination == address:
            return address, None
        self._connection.add_subscription(reply_to)
        return address, self._hub.subscribe(self._keep(reply_to, address, reply_to, None))

    def expect_answer(self, event: events.Subscribe) -> Callable[[Any], None]:
        """
        Add a subscription to an application destination. It hears one MESSAGE, which is for this
        client only: call what this returns with the content, once it is there.

        Raises:
            ProtocolError: If the client asks for something wrong.
        """
        queue = self._queue_for(event, event.destination)
        subscription = self._keep(event.key, event.destination, event.id, queue)

        def answer(content: Any) -> None:
            entry = self._entries.get(event.key)
            if entry is not None and entry.subscription is subscription:
                message = Message.of(event.destination, content)
                subscription.deliver(MessageFrames(message).frame_for(subscription.key))

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
            entries = list(self._entries.values())
        else:
            entries = [self._entries[key] for key in [event.subscription] if key in self._entries]
        for entry in entries:
            if isinstance(entry.queue, AckWindow) and event.message_id in entry.queue:
                return entry.queue
        raise ProtocolError(
            f"no message {event.message_id!r} waits for an acknowledgement", code="unknown-ack"
        )

    def _queue_for(
        self, event: events.Subscribe, destination: str
    ) -> AckWindow | LossyQueue | None:
        """Return what messages go through before the outbox, if anything."""
        if event.ack != "auto":
            prefetch = prefetch_count(event.headers.get("prefetch-count"))
            return AckWindow(self._outbox, cumulative=event.ack == "client", prefetch=prefetch)
        policy = policy_of(destination)
        return LossyQueue(self._outbox, latest=policy == "latest") if policy != "close" else None

    def _keep(
        self, key: str, destination: str, id: str | None, queue: AckWindow | LossyQueue | None
    ) -> Subscription:
        subscription = Subscription(
            destination=destination,
            id=id,
            version=self._connection.version,
            deliver=self._outbox.deliver if queue is None else queue.deliver,
            acknowledged=isinstance(queue, AckWindow),
        )
        self._entries[key] = _Entry(subscription, queue)
        self._session.subscriptions = len(self._entries)
        return subscription

    def _begin(
        self,
        entry: _Entry,
        event: events.Subscribe,
        began: Callable[[Start], None],
        start: Start,
        missed: Sequence[MessageFrames],
    ) -> None:
        """Say where a subscription starts, and deliver what it missed."""
        began(start)
        subscription = entry.subscription
        # Who asks for no receipt is told with the first MESSAGE.
        told = start.headers if event.receipt is None and start.recovered is not None else {}
        if entry.queue is None and missed:
            done = partial(self._replayed, entry)
            entry.queue = Replay(self._outbox, missed, subscription.key, told, done)
            subscription.deliver = entry.queue.deliver
            return
        if told:
            _tell_with_first_message(entry, told)
        for frames in missed:
            subscription.deliver(frames.frame_for(subscription.key))

    def _replayed(self, entry: _Entry) -> None:
        entry.queue = None
        entry.subscription.deliver = self._outbox.deliver

    def _lost(self, subscription: Subscription, position: Position, reason: Reason) -> None:
        """Tell a client that messages for it are lost, or end its session, as the route says."""
        history = history_of(subscription.destination)
        if history is not None and history.on_gap == "close":
            self._failed(MessagesLost("messages are lost: reconnect", code="messages-lost"))
            return
        headers = {"recovered": "false", "reason": reason}
        told = Message(subscription.destination, b"", headers, str(position))
        subscription.deliver(MessageFrames(told).frame_for(subscription.key))

    def _end(self, entry: _Entry) -> None:
        self._hub.unsubscribe(entry.subscription)
        if entry.queue is not None:
            entry.queue.discard()
        self._session.subscriptions = len(self._entries)


def _missed(event: events.Subscribe, destination: str) -> tuple[Position | None, int]:
    """
    Return what a SUBSCRIBE wants first: all after a position, or so many of the newest messages.

    Raises:
        ProtocolError: If that can't be had.
    """
    last, replay = event.headers.get("last-message-id"), event.headers.get("replay")
    if last is None and replay is None:
        return None, 0
    if is_pattern(destination) or history_of(destination) is None:
        raise ProtocolError(f"{event.destination!r} has no history", code="no-history")
    if last is not None and replay is not None:
        raise ProtocolError("either last-message-id or replay, not both", code="bad-header")
    if replay is not None:
        return None, _replay_count(replay)
    position = Position.parse(last or "")
    if position is None:
        raise ProtocolError("last-message-id is none of a message here", code="bad-header")
    return position, 0


def _replay_count(header: str) -> int:
    if header == "all":
        return MAX_REPLAY
    if not (header.isascii() and header.isdecimal() and len(header) <= 10):
        raise ProtocolError("replay is neither a number nor all", code="bad-header")
    return int(header)


def _tell_with_first_message(entry: _Entry, headers: dict[str, str]) -> None:
    subscription, queue = entry.subscription, entry.queue
    deliver, lost = subscription.deliver, subscription.lost

    def first(payload: Payload | Burst) -> None:
        subscription.deliver, subscription.lost = deliver, lost
        if isinstance(queue, LossyQueue):  # it may drop this one
            queue.tell(headers)
            deliver(payload)
        else:
            deliver(payload.with_headers(headers))

    def outdated(position: Position, reason: Reason) -> None:
        subscription.deliver, subscription.lost = deliver, lost
        lost(position, reason)

    subscription.deliver, subscription.lost = first, outdated
