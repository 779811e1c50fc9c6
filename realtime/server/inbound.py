"""
Inbound: WebSocket frames in the bytes of a client, and the messages that wait for its application.

Sections are those of RFC 6455. Each frame costs the same, however much was read with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_FINAL: Final = 0x80
_MASKED: Final = 0x80
_WHOLE_TEXT: Final = _FINAL | TEXT
_WHOLE_BINARY: Final = _FINAL | BINARY
_MAX_CONTROL_BYTES: Final = 125

#: What may wait for an application before its client is not read from any more.
MAX_WAITING_MESSAGES: Final = 256
MAX_WAITING_BYTES: Final = 256 * 1024


class FrameRefused(Exception):
    """A frame that ends its WebSocket; what follows it is not looked at, or goes on at ``end``."""

    def __init__(self, code: int, reason: str, end: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.end = end


class Head(NamedTuple):
    """The head of a frame: what it is, and where its payload begins and ends."""

    opcode: int
    final: bool
    body: int
    end: int


def take_messages(
    data: bytes, start: int, largest: int, most: int, deliver: Callable[[bytes, bool], bool]
) -> tuple[int, int]:
    """
    Hand over the whole messages of a client that data has from start on.

    Only what is plain is taken: masked data frames of at most ``largest`` bytes, and below 64 KiB,
    that are a message of their own.

    Args:
        most: How many are taken at most.
        deliver: Takes a message, and whether it is text; returns whether to go on.

    Returns:
        Where what was not taken begins, and how many were taken.
    """
    end, left = len(data), most
    while left and end - start >= 6:
        first, second = data[start], data[start + 1]
        size = second - _MASKED
        if (first != _WHOLE_TEXT and first != _WHOLE_BINARY) or size < 0 or size == 127:
            break
        mask_at = start + 2
        if size == 126:
            size = int.from_bytes(data[start + 2 : start + 4], "big")
            mask_at = start + 4
        body_at = mask_at + 4
        if size > largest or end < body_at + size or (mask_at > start + 2 and size < 126):
            break
        body = unmask(data[body_at : body_at + size], data[mask_at:body_at])
        start = body_at + size
        left -= 1
        if not deliver(body, first == _WHOLE_TEXT):
            break
    return start, most - left


def read_head(data: bytes, start: int) -> Head | None:
    """
    Return the head of the frame that begins at start, or None if it is not complete.

    Raises:
        FrameRefused: If no client may send such a frame.
    """
    if len(data) - start < 2:
        return None
    first, second = data[start], data[start + 1]
    _check(first, second)
    size, size_at, least = second & 0x7F, start + 2, 0
    mask_at = size_at
    if size > _MAX_CONTROL_BYTES:
        mask_at, least = (size_at + 2, 126) if size == 126 else (size_at + 8, 65536)
        size = int.from_bytes(data[size_at:mask_at], "big")
    body = mask_at + 4
    if len(data) < body:
        return None
    if size < least:
        raise FrameRefused(1002, "a length in more bytes than it needs")
    return Head(first & 0x0F, first >= _FINAL, body, body + size)


def _check(first: int, second: int) -> None:
    if first & 0x70:
        raise FrameRefused(1002, "a reserved bit is set, and no extension was negotiated")
    if not second & _MASKED:
        raise FrameRefused(1002, "a frame of a client without a mask")
    opcode, size = first & 0x0F, second & 0x7F
    if BINARY < opcode < CLOSE or opcode > PONG:
        raise FrameRefused(1002, f"the opcode {opcode} is reserved")
    if opcode >= CLOSE:
        if first < _FINAL or size > _MAX_CONTROL_BYTES:
            raise FrameRefused(1002, "a control frame in parts, or over 125 bytes")
        if opcode == CLOSE and size == 1:
            raise FrameRefused(1002, "half a close code")


def unmask(data: bytes, mask: bytes) -> bytes:
    """Return data without its mask (section 5.3); as one large number, which is fast."""
    size = len(data)
    masks = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(data, "little") ^ int.from_bytes(masks, "little")
    return number.to_bytes(size, "little")


class Source(Protocol):
    """Where an :class:`Inbox` is filled from."""

    def pause_reading(self) -> None:
        """Take no more from the client; called when much waits."""

    def resume_reading(self) -> None:
        """Go on; called when the application has taken half of it."""


class Inbox:
    """
    What waits for one application, whose ``receive`` is :meth:`get`.

    It takes the place of daphne's ``asyncio.Queue``, which is unbounded (and weighs 3 KiB).
    """

    __slots__ = ("_messages", "_receivers", "_sizes", "_source", "_full")

    def __init__(self, source: Source | None = None) -> None:
        self._messages: list[dict[str, Any]] = []
        self._sizes = 0
        self._receivers: list[asyncio.Future[None]] = []
        self._source = source
        self._full = False

    def put_nowait(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        self._sizes += _size(message)
        for receiver in self._receivers:
            if not receiver.done():
                receiver.set_result(None)
        if self._source is not None and not self._full and self._over(1):
            self._full = True
            self._source.pause_reading()

    async def get(self) -> dict[str, Any]:
        while not self._messages:
            receiver = asyncio.get_running_loop().create_future()
            self._receivers.append(receiver)
            try:
                await receiver
            finally:
                self._receivers.remove(receiver)
        message = self._messages.pop(0)
        self._sizes -= _size(message)
        if self._source is not None and self._full and not self._over(0.5):
            self._full = False
            self._source.resume_reading()
        return message

    def _over(self, part: float) -> bool:
        return (
            len(self._messages) >= MAX_WAITING_MESSAGES * part
            or self._sizes >= MAX_WAITING_BYTES * part
        )


def _size(message: dict[str, Any]) -> int:
    return len(message.get("text") or message.get("bytes") or b"")
