"""What one subscription was sent and has not acknowledged, and what waits for that."""

from __future__ import annotations

from collections import deque
from typing import Final

from realtime.stomp import ProtocolError

from .frames import Burst, Payload
from .outbox import Outbox

#: What a client may have unacknowledged at most; ``prefetch-count`` may ask for less.
MAX_PREFETCH: Final = 1000


class AckWindow:
    """
    Deliver to a subscription of ack mode ``client`` or ``client-individual``.

    At most ``prefetch`` messages are unacknowledged; the rest waits, within the session's
    send budget. Nothing is delivered again: a topic keeps no message for one subscriber.
    """

    def __init__(self, outbox: Outbox, *, cumulative: bool, prefetch: int) -> None:
        self._outbox = outbox
        self._cumulative = cumulative
        self._prefetch = prefetch
        self._unacknowledged: dict[str, None] = {}
        self._waiting: deque[Payload] = deque()

    def deliver(self, payload: Payload | Burst) -> None:
        """Send MESSAGE frames now, or when the client has acknowledged enough."""
        if len(self._unacknowledged) + payload.count <= self._prefetch:
            for each in payload.payloads:
                self._unacknowledged[each.message_id] = None
            self._outbox.deliver(payload)
        else:
            for each in payload.payloads:
                self._deliver(each)

    def _deliver(self, payload: Payload) -> None:
        if len(self._unacknowledged) < self._prefetch:
            self._unacknowledged[payload.message_id] = None
            self._outbox.deliver(payload)
        elif self._outbox.hold(payload):
            self._waiting.append(payload)

    def __contains__(self, message_id: str) -> bool:
        """Whether a message was sent and is unacknowledged."""
        return message_id in self._unacknowledged

    def acknowledge(self, message_id: str) -> None:
        """
        Take note that the client is done with a message that is unacknowledged, or with all up
        to it where acks are cumulative.
        """
        if self._cumulative:
            while next(iter(self._unacknowledged)) != message_id:
                del self._unacknowledged[next(iter(self._unacknowledged))]
        del self._unacknowledged[message_id]
        while self._waiting and len(self._unacknowledged) < self._prefetch:
            payload = self._waiting.popleft()
            self._unacknowledged[payload.message_id] = None
            self._outbox.release(payload)
            self._outbox.deliver(payload)

    def discard(self) -> None:
        """Forget what waits: the subscription ended."""
        for payload in self._waiting:
            self._outbox.release(payload)
        self._waiting.clear()


def prefetch_count(header: str | None) -> int:
    """
    Return how many messages may be unacknowledged, given the header ``prefetch-count``.

    Raises:
        ProtocolError: If it is no number. 0 means no limit, as with RabbitMQ: then
            :data:`MAX_PREFETCH` is.
    """
    if header is None:
        return MAX_PREFETCH
    if not (header.isascii() and header.isdecimal() and len(header) <= 10):
        raise ProtocolError("prefetch-count is not a number", code="bad-header")
    return min(int(header) or MAX_PREFETCH, MAX_PREFETCH)
