"""STOMP frames as they travel to any number of clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .websocket_frames import TEXT, frame_head


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
