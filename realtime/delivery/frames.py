"""STOMP frames as they travel to any number of clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from realtime.messages.message import Message
from realtime.stomp import ack_id, encode_common_header, encode_header

#: RFC 6455, section 5.2: the last frame of a message, and its kind.
TEXT: Final = 0x81
BINARY: Final = 0x82
_MEDIUM_HEAD: Final = Struct(">BBH")
_LONG_HEAD: Final = Struct(">BBQ")


def frame_head(size: int, text: bool) -> bytes:
    """Return what stands before a message of the server; it is never masked (section 5.1)."""
    first = TEXT if text else BINARY
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return _MEDIUM_HEAD.pack(first, 126, size)
    return _LONG_HEAD.pack(first, 127, size)


class Payload:
    """
    One STOMP frame, ready for any number of sessions.

    Args:
        data: The STOMP frame.
        destination, message_id: Of the message, if it is a MESSAGE.
    """

    __slots__ = ("_head", "destination", "frame", "message_id", "size")

    #: How many frames it is.
    count = 1

    def __init__(self, data: bytes, destination: str = "", message_id: str = "") -> None:
        head = frame_head(len(data), _is_text(data))
        self._head = len(head)
        self.destination = destination
        self.message_id = message_id
        #: The STOMP frame in a WebSocket frame of its own, as it travels, and its size.
        self.frame = head + data
        self.size = len(self.frame)

    @property
    def payloads(self) -> Sequence[Payload]:
        """Its frames, one by one."""
        return (self,)

    @property
    def data(self) -> bytes:
        """The STOMP frame."""
        return self.frame[self._head :]

    def with_headers(self, headers: Mapping[str, str]) -> Payload:
        """Return the same MESSAGE with more headers, which need no escapes."""
        if not headers:
            return self
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        command, _, rest = self.data.partition(b"\n")
        data = b"%b\n%b%b" % (command, lines.encode(), rest)
        return Payload(data, self.destination, self.message_id)

    @property
    def event(self) -> dict[str, Any]:
        """What ASGI's ``send`` takes."""
        if self.frame[0] == TEXT:
            return {"type": "websocket.send", "text": self.data.decode()}
        return {"type": "websocket.send", "bytes": self.data}


class Burst:
    """MESSAGE frames that came together: written at once, to any number of sessions."""

    __slots__ = ("count", "frame", "payloads", "size")

    def __init__(self, payloads: Sequence[Payload]) -> None:
        self.payloads = payloads
        self.count = len(payloads)
        self.frame = b"".join([payload.frame for payload in payloads])
        self.size = len(self.frame)

    def with_headers(self, headers: Mapping[str, str]) -> Burst:
        """Return the same frames, the first of which has more headers; they need no escapes."""
        first, *others = self.payloads
        return Burst([first.with_headers(headers), *others])


def together(payloads: Sequence[Payload]) -> Payload | Burst:
    """Return frames, at least one, as one thing to write."""
    return payloads[0] if len(payloads) == 1 else Burst(payloads)


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


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
