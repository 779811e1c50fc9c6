"""
Frames: what one client is sent, encoded once for all clients that can share it.

An encoder says how messages become frames for some subscriptions; those with equal encoders share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

from realtime.messages.message import Message
from realtime.stomp import ack_id, encode_common_header, encode_header

#: RFC 6455, section 5.2: the last frame of a message, and its kind.
TEXT: Final = 0x81
BINARY: Final = 0x82
_MEDIUM_HEAD: Final = Struct(">BBH")
_LONG_HEAD: Final = Struct(">BBQ")

#: Headers of a MESSAGE that are not the publisher's to choose.
_OWN_HEADERS: Final = frozenset(
    {"destination", "message-id", "content-length", "subscription", "ack"}
)


class Frames:
    """
    Frames that are written at once, to any number of clients.

    Args:
        parts: Each as it travels: a STOMP frame in a WebSocket frame of its own.
        messages: Whose MESSAGE frames they are, if they are.
        encoder: What made them.
    """

    __slots__ = ("count", "encoder", "joined", "messages", "parts", "size")

    def __init__(
        self,
        parts: Sequence[bytes],
        messages: Sequence[Message] = (),
        encoder: Encoder | None = None,
    ) -> None:
        self.parts = parts
        self.messages = messages
        self.encoder = encoder
        #: How many they are, all of them as they travel, and their bytes.
        self.count = len(parts)
        self.joined = parts[0] if self.count == 1 else b"".join(parts)
        self.size = len(self.joined)

    def one_by_one(self) -> Sequence[Frames]:
        """Return each of them alone."""
        if self.count == 1:
            return (self,)
        alone = zip(self.parts, self.messages, strict=True)
        return [Frames((part,), (message,), self.encoder) for part, message in alone]

    def telling(self, headers: Mapping[str, str]) -> Frames:
        """Return the same MESSAGE frames, the first with more headers; they need no escapes."""
        if not headers or self.encoder is None:
            return self
        return self.encoder.encode(SharedFrames(*self.messages), headers)

    def events(self) -> Iterator[dict[str, Any]]:
        """Return what ASGI's ``send`` takes, for servers that offer nothing faster."""
        for part in self.parts:
            head = 2 if part[1] < 126 else 4 if part[1] == 126 else 10
            if part[0] == TEXT:
                yield {"type": "websocket.send", "text": part[head:].decode()}
            else:
                yield {"type": "websocket.send", "bytes": part[head:]}


class Encoder(Protocol):
    """Make frames of messages; equal encoders make the same ones."""

    def encode(self, shared: SharedFrames, told: Mapping[str, str] | None = None) -> Frames:
        """Return the frames of messages, the first with what its client has to be told."""


class StompEncoder(NamedTuple):
    """
    Make MESSAGE frames.

    Args:
        version: The STOMP version of the session.
        subscription: The header of that name; None in STOMP 1.0 without id.
        acknowledged: Whether the client has to acknowledge them.
        binary: Whether all go in binary messages.
    """

    version: str
    subscription: str | None
    acknowledged: bool = False
    binary: bool = False

    def encode(self, shared: SharedFrames, told: Mapping[str, str] | None = None) -> Frames:
        version, subscription, acknowledged, binary = self
        heads = shared.heads(version)
        if told:
            lines = "".join([f"{name}:{value}\n" for name, value in told.items()]).encode()
            command, _, rest = heads[0].partition(b"\n")
            heads = [b"%b\n%b%b" % (command, lines, rest), *heads[1:]]
        line = b""
        if subscription is not None:
            line = encode_common_header("subscription", subscription, version)
        parts = []
        for message, head in zip(shared.messages, heads, strict=True):
            lines = line
            if acknowledged and version == "1.2":
                lines += encode_header("ack", ack_id(subscription or "", message.id), version)
            parts.append(in_websocket_frame(b"%b%b\n%b\0" % (head, lines, message.body), binary))
        return Frames(parts, shared.messages, self)


class SharedFrames:
    """
    The frames of messages that are delivered together, made once for each encoder.

    Args:
        messages: At least one; all to one destination.
    """

    __slots__ = ("_frames", "_heads", "messages")

    def __init__(self, *messages: Message) -> None:
        self.messages = messages
        self._frames: dict[Encoder, Frames] = {}
        self._heads: dict[str, list[bytes]] = {}

    def frames_for(self, encoder: Encoder) -> Frames:
        """Return what subscriptions with this encoder get."""
        frames = self._frames.get(encoder)
        if frames is None:
            frames = self._frames[encoder] = encoder.encode(self)
        return frames

    def heads(self, version: str) -> list[bytes]:
        """Return the lines that all MESSAGE frames of a version share, for each message."""
        heads = self._heads.get(version)
        if heads is None:
            heads = self._heads[version] = self._encode_heads(version)
        return heads

    def _encode_heads(self, version: str) -> list[bytes]:
        heads = []
        headers: Mapping[str, str] | None = None
        common = b""
        for message in self.messages:
            if message.headers != headers:  # most have the same
                headers = message.headers
                common = _encode_common(message, version)
            id_line = _encode_id(message.id, version)
            heads.append(b"%b%bcontent-length:%d\n" % (common, id_line, len(message.body)))
        return heads


def in_websocket_frame(data: bytes, binary: bool = False) -> bytes:
    """Return a STOMP frame as a WebSocket message of its own: text, if it can and may be."""
    return frame_head(len(data), not binary and _is_text(data)) + data


def frame_head(size: int, text: bool) -> bytes:
    """Return what stands before a message of the server; it is never masked (section 5.1)."""
    first = TEXT if text else BINARY
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return _MEDIUM_HEAD.pack(first, 126, size)
    return _LONG_HEAD.pack(first, 127, size)


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _encode_common(message: Message, version: str) -> bytes:
    lines = [b"MESSAGE\n", encode_common_header("destination", message.destination, version)]
    for name, value in message.headers.items():
        if name not in _OWN_HEADERS:
            lines.append(encode_common_header(name, value, version))
    return b"".join(lines)


def _encode_id(id: str, version: str) -> bytes:
    if id.replace("-", "").isalnum() and id.isascii():  # nothing to escape: each id of ours
        return b"message-id:%b\n" % id.encode()
    return encode_header("message-id", id, version)
