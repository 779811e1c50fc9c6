"""Inbox: the messages of a client that wait for its application."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

#: What may wait for an application before its client is not read from any more.
MAX_WAITING_MESSAGES: Final = 256
MAX_WAITING_BYTES: Final = 256 * 1024


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
