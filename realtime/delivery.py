"""What is delivered: a subscription as the hub knows it, and the frames that it shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .history import Position, Reason
from .messages import Message
from .payload import Burst, Payload, together
from .stomp import ack_id, encode_common_header, encode_header

#: Makes of a message something else than a MESSAGE frame; equal ones make the same.
Encode = Callable[[Message], Payload]

#: What makes frames differ: the version, the ``subscription`` header, and whether it has ``ack``;
#: or what encodes them.
FrameKey = tuple[str, str | None, bool] | Encode


#: Headers of a MESSAGE that are not the publisher's to choose.
_OWN_HEADERS: Final = frozenset(
    {"destination", "message-id", "content-length", "subscription", "ack"}
)


class MessageFrames:
    """
    The MESSAGE frames of messages that are delivered together, each made once for all who can share
    it.

    Args:
        messages: At least one; all to one destination.
    """

    __slots__ = ("_frames", "_heads", "_messages")

    def __init__(self, *messages: Message) -> None:
        self._messages = messages
        self._frames: dict[FrameKey, Payload | Burst] = {}
        self._heads: dict[str, list[bytes]] = {}

    def frame_for(self, key: FrameKey) -> Payload | Burst:
        """Return what subscriptions with this key get."""
        payload = self._frames.get(key)
        if payload is None:
            if callable(key):
                payloads = [key(message) for message in self._messages]
            else:
                payloads = self._encode(*key)
            payload = self._frames[key] = together(payloads)
        return payload

    def _encode(
        self, version: str, subscription_id: str | None, acknowledged: bool
    ) -> list[Payload]:
        heads = self._heads.get(version)
        if heads is None:
            heads = self._heads[version] = self._encode_heads(version)
        line = b""
        if subscription_id is not None:
            line = encode_common_header("subscription", subscription_id, version)
        payloads = []
        for message, head in zip(self._messages, heads, strict=True):
            lines = line
            if acknowledged and version == "1.2":
                lines += encode_header("ack", ack_id(subscription_id or "", message.id), version)
            data = b"%b%b\n%b\0" % (head, lines, message.body)
            payloads.append(Payload(data, message.destination, message.id))
        return payloads

    def _encode_heads(self, version: str) -> list[bytes]:
        """Return the lines that all subscriptions share; most messages have the same headers."""
        heads = []
        headers: Mapping[str, str] | None = None
        common = b""
        for message in self._messages:
            if message.headers != headers:
                headers = message.headers
                common = _encode_common(message, version)
            id_line = encode_header("message-id", message.id, version)
            heads.append(b"%b%bcontent-length:%d\n" % (common, id_line, len(message.body)))
        return heads


def _encode_common(message: Message, version: str) -> bytes:
    lines = [b"MESSAGE\n", encode_common_header("destination", message.destination, version)]
    for name, value in message.headers.items():
        if name not in _OWN_HEADERS:
            lines.append(encode_common_header(name, value, version))
    return b"".join(lines)


@dataclass(frozen=True, slots=True)
class Start:
    """
    Where a subscription starts.

    Args:
        position: After which its messages come; None where there is no history.
        recovered: Whether all that it missed comes first; None where it did not ask.
        reason: Why not.
    """

    position: Position | None = None
    recovered: bool | None = None
    reason: Reason | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the client is told."""
        headers = {} if self.position is None else {"position": str(self.position)}
        if self.recovered is not None:
            headers["recovered"] = "true" if self.recovered else "false"
        if self.reason is not None:
            headers["reason"] = self.reason
        return headers


@dataclass(eq=False, slots=True)
class Subscription:
    """
    A client's SUBSCRIBE, as the hub knows it; nothing that it is called with may block or raise.

    Args:
        destination: What it hears: a destination, or a pattern of topics.
        id: The ``subscription`` header of its MESSAGE frames; None in STOMP 1.0 without id.
        version: The STOMP version of its session.
        deliver: Takes MESSAGE frames.
        acknowledged: Whether its MESSAGE frames are to be acknowledged.
        resume: After which position it wants what it missed.
        replay: How many of the newest messages it wants first.
        begin: Called once it is certain, with where it starts and what comes first.
        lost: Called where messages are lost for good, with where it goes on and why.
        encode: Makes what ``deliver`` takes, where that is no MESSAGE frame.
    """

    destination: str
    id: str | None
    version: str
    deliver: Callable[[Payload | Burst], None]
    acknowledged: bool = False
    resume: Position | None = None
    replay: int = 0
    begin: Callable[[Start, Sequence[MessageFrames]], None] = lambda start, missed: None
    lost: Callable[[Position, Reason], None] = lambda position, reason: None
    encode: Encode | None = None

    @property
    def key(self) -> FrameKey:
        """Who has the same key shares the frames of each message."""
        return self.encode or (self.version, self.id, self.acknowledged)
