"""What comes by a WebSocket: past autobahn where it is plain, and no more than is wanted."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any, Final

from daphne.ws_protocol import WebSocketProtocol

from .flow import Paced
from .inbound import is_incomplete, take_messages

#: Of a message that is not complete so many bytes are kept; each read copies them.
MAX_WAITING_DATA: Final = 4096


class IncomingProtocol(Paced, WebSocketProtocol):
    """
    The way in of one WebSocket.

    To an application that writes by itself what comes is a stream of bytes: messages that were read
    together are one event.
    """

    #: Whether the application writes by itself.
    attached = False

    #: Whether the client is read from.
    reading = True

    data: bytes
    message_data: list[bytes] | None

    def dataReceived(self, data: bytes) -> None:
        self.heard = time.time()
        self.data += data
        self._consume()

    def _consume(self) -> None:
        if self.data and self._takes_messages():
            # autobahn (26.10) spends 20 us on each, most of it on what is not used here.
            taken: list[bytes] = []
            take = partial(self._collect, taken) if self.attached else self._take_message
            self.data = take_messages(self.data, self.maxFramePayloadSize, take)
            self._hand_over(taken)
        if self.data and not self._waits_for_more():
            self.consumeData()

    def _waits_for_more(self) -> bool:
        """Whether the next read will complete a message; what is large is autobahn's to collect."""
        small = len(self.data) < MAX_WAITING_DATA and self._takes_messages()
        return small and is_incomplete(self.data, self.maxFramePayloadSize)

    def _takes_messages(self) -> bool:
        open_ = self.state == self.STATE_OPEN and self.reading and not self.failedByMe
        return open_ and self.current_frame is None and not self.inside_message

    def _take_message(self, data: bytes, text: bool) -> bool:
        try:
            self.onMessage(data, not text)
        except UnicodeDecodeError:
            self._invalid_payload("the text is not valid UTF-8")
        return self._takes_messages()

    def _collect(self, taken: list[bytes], data: bytes, text: bool) -> bool:
        """Add a message to those that an application which writes bytes takes together."""
        try:
            taken.append(self._received(data, text)["bytes"])
        except UnicodeDecodeError:
            self._hand_over(taken)
            self._invalid_payload("the text is not valid UTF-8")
            return False
        return True

    def _hand_over(self, taken: list[bytes]) -> None:
        if taken:
            self.onMessage(b"".join(taken), True)
            taken.clear()

    def processData(self) -> bool:
        return self.reading and super().processData()

    def onMessageFrame(self, payload: list[bytes]) -> None:
        # Empty fragments count for no limit of autobahn's.
        super().onMessageFrame([part for part in payload if part])

    def onMessageEnd(self) -> None:
        # Not autobahn's, which makes four Deferreds for observers that don't exist.
        payload, self.message_data = b"".join(self.message_data or ()), None
        if not self.failedByMe:
            self.onMessage(payload, self.message_is_binary)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state == self.STATE_OPEN and not self.muted:
            self.application_queue.put_nowait(self._received(payload, not isBinary))

    def _received(self, payload: bytes, text: bool) -> dict[str, Any]:
        """Return the event of a message; an application that writes bytes gets bytes, too."""
        if self.attached:
            if text and not payload.isascii():
                payload.decode()  # raises, if it is no UTF-8
            return {"type": "websocket.receive", "bytes": payload}
        content: dict[str, Any] = {"text": payload.decode()} if text else {"bytes": payload}
        return {"type": "websocket.receive", **content}

    def pause_reading(self) -> None:
        self.reading = False
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        if not self.reading:
            self.reading = True
            self.heard = time.time()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self._consume()  # what had been read before
        if self.reading:
            self.transport.resumeProducing()
