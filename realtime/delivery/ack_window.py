"""AckWindow: bound what a subscription has unacknowledged."""

from __future__ import annotations

from collections import deque
from typing import Final

from realtime.stomp import ProtocolError

from .frames import Frames
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
        self._waiting: deque[Frames] = deque()

    def deliver(self, frames: Frames) -> None:
        """Send MESSAGE frames now, or when the client has acknowledged enough."""
        if len(self._unacknowledged) + frames.count <= self._prefetch:
            self._send(frames)
        else:
            for each in frames.one_by_one():
                self._send_or_keep(each)

    def _send_or_keep(self, frames: Frames) -> None:
        if len(self._unacknowledged) < self._prefetch:
            self._send(frames)
        elif self._outbox.hold(frames):
            self._waiting.append(frames)

    def _send(self, frames: Frames) -> None:
        for message in frames.messages:
            self._unacknowledged[message.id] = None
        self._outbox.deliver(frames)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def unacknowledged(self) -> int:
        """How many messages were sent and are unacknowledged."""
        return len(self._unacknowledged)

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
            frames = self._waiting.popleft()
            self._outbox.release(frames)
            self._send(frames)

    def discard(self) -> None:
        """Forget what waits: the subscription ended."""
        for frames in self._waiting:
            self._outbox.release(frames)
        self._waiting.clear()


def prefetch_count(header: str | None) -> int:
    """
    Return how many messages may be unacknowledged, given the header ``prefetch-count``.

    Raises:
        ProtocolError: If it is not a number. 0 means no limit, as with RabbitMQ: then
            :data:`MAX_PREFETCH` is.
    """
    if header is None:
        return MAX_PREFETCH
    if not (header.isascii() and header.isdecimal() and len(header) <= 10):
        raise ProtocolError("prefetch-count is not a number", code="bad-header")
    return min(int(header) or MAX_PREFETCH, MAX_PREFETCH)
