"""Inbound: from the bytes of a client to the messages that wait for its application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

TEXT: Final = 0x81  # section 5.2: the last frame of a message, and its kind
BINARY: Final = 0x82
_MASKED: Final = 0x80

#: What may wait for an application before its client is not read from any more.
MAX_WAITING_MESSAGES: Final = 256
MAX_WAITING_BYTES: Final = 256 * 1024


def take_messages(data: bytes, largest: int, deliver: Callable[[bytes, bool], bool]) -> bytes:
    """
    Hand over the whole messages of a client that data begins with; return the rest.

    Only what is plain is taken: masked data frames of at most ``largest`` bytes that are a message
    of their own. The rest begins with whatever is not, or not complete.

    Args:
        deliver: Takes a message, and whether it is text; returns whether to go on.
    """
    start, end = 0, len(data)
    while end - start >= 6:
        first, second = data[start], data[start + 1]
        size = second - _MASKED
        if (first != TEXT and first != BINARY) or size < 0 or size == 127:
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
        if not deliver(body, first == TEXT):
            break
    return data[start:]


def is_incomplete(data: bytes, largest: int) -> bool:
    """Return whether data is the beginning of what :func:`take_messages` will take."""
    if data[0] != TEXT and data[0] != BINARY:
        return False
    if len(data) < 2:
        return True
    head, size = 6, data[1] - _MASKED
    if size < 0 or size == 127:
        return False
    if size == 126:
        if len(data) < 4:
            return True
        head, size = 8, int.from_bytes(data[2:4], "big")
    return len(data) < head + size and size <= largest


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
