"""Traffic: what comes and goes on an open WebSocket, with back-pressure both ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.protocol import Protocol

from realtime.conf import conf
from realtime.delivery.frames import in_websocket_frame
from realtime.stomp import AccessDenied, Frame, StompError, encode

from .bounds import BYTES_PER_FRAME, Budget
from .flow import Paced
from .inbound import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameRefused,
    Head,
    Inbox,
    read_head,
    take_messages,
    unmask,
)

#: After so many frames it is looked whether the client may send more.
FRAMES_PER_TURN: Final = 256

#: What comes of a socket, or that its client has gone, takes up to 0.2 ms.
SOCKETS_PER_TURN: Final = 100

_FINAL: Final = 0x80

#: In how many fragments a message may come.
MAX_FRAGMENTS: Final = 4096

#: What a client may send before its WebSocket is open.
MAX_EARLY_BYTES: Final = 64 * 1024

#: How far a WebSocket is.
CONNECTING: Final = 0
OPEN: Final = 1
CLOSING: Final = 2
CLOSED: Final = 3


class Fragments:
    """The beginning of a message that comes in fragments."""

    __slots__ = ("count", "data", "text")

    def __init__(self, *, text: bool) -> None:
        self.data = bytearray()
        self.text = text
        self.count = 0


class Traffic(Paced, Protocol):
    """The ways in and out of a WebSocket, once its handshake has begun."""

    state = CONNECTING

    #: Whether the application writes by itself.
    attached = False

    #: Whether the client is read from.
    reading = True

    #: Whether the client's first message was a binary one; None until it has come.
    binary: bool | None = None

    #: Called when all that was written has left, after a :meth:`write` that returned False.
    resume: Callable[[], None] | None = None

    #: The largest frame, and the largest message.
    largest = 2**20

    #: Whether what comes is dropped: it follows what can't be read, or the end.
    deaf = False

    #: Whether the application hears no more.
    muted = False

    server: Any
    inbox: Inbox | None = None
    client_addr: list[Any] | None
    data: bytes | bytearray = b""  # what was read and not taken
    heard: float
    _needed = 0  # so much of it makes a whole frame
    _skip = 0  # so much is to be dropped: it is of a frame that is too large
    _full = _throttled = False  # why the client is not read from
    _fragments: Fragments | None = None
    _begun = 0.0  # when the message began that is not whole yet
    _unanswered: bytes | None = None  # the last ping
    _budget: Budget | None = None
    _direct = False  # what is written goes to the socket itself

    # Bytes

    def dataReceived(self, data: bytes) -> None:
        self.heard = time.time()
        if self.state == CONNECTING:
            self._receive_early(data)
        elif not self.deaf:
            if self.data:
                self.data += data  # a bytearray: nothing is copied again with each read
                if len(self.data) < self._needed:
                    return
                data = bytes(self.data)
            self._consume(data)

    def _receive_early(self, data: bytes) -> None:
        """Keep what comes before the handshake is answered."""
        self.data += data
        if self.reading and len(self.data) > MAX_EARLY_BYTES:
            self.pause_reading()

    def read_early(self) -> None:
        """Read what came before the handshake was answered."""
        if self.reading:
            self._consume(bytes(self.data))
        else:
            self.resume_reading()

    def _consume(self, data: bytes) -> None:
        start = at = 0
        if self._skip:
            start = at = min(self._skip, len(data))
            self._skip -= at
        taken: list[bytes] = []
        try:
            at = self._take(data, at, taken)
        except FrameRefused as refused:
            self._hand_over(taken)
            self.fail(refused.code, refused.reason)
            at = min(refused.end, len(data))
            self._skip = refused.end - at
        except UnicodeDecodeError:
            self._hand_over(taken)
            self.fail(1007, "the text is not valid UTF-8")
        if taken:
            self._hand_over(taken)
        if at < len(data) or self.data or self._begun:
            self._keep(data, at, progress=at > start)
        if self._unanswered is not None and not self.paused:
            self._answer_ping()

    def _keep(self, data: bytes, at: int, *, progress: bool) -> None:
        """Keep what is not taken, and note since when the client owes the rest of a message."""
        if at == len(data) or self.deaf:
            self.data = b""
            if self._fragments is None:
                self._begun = 0.0
        else:
            self.data = bytearray(data[at:])
            if not self._begun or (progress and self._fragments is None):
                self._begun = self.heard

    # Frames

    def _take(self, data: bytes, at: int, taken: list[bytes]) -> int:
        """Take whole frames from at on; return where the rest begins."""
        collect = partial(self._collect, taken) if self.attached else self._deliver
        while at < len(data) and self.reading and not self.deaf:
            start, frames = at, 0
            if self._fragments is None and self.state == OPEN:
                deliver = self._deliver_first if self.binary is None else collect
                at, frames = take_messages(data, at, self.largest, FRAMES_PER_TURN, deliver)
            if not frames:
                self._hand_over(taken)
                at, frames = self._take_frame(data, at), 1
                if at == start:
                    break
            if at - start < BYTES_PER_FRAME * frames:
                self._charge(frames - (at - start) // BYTES_PER_FRAME)
        return at

    def _take_frame(self, data: bytes, at: int) -> int:
        """Take any one frame, if it is whole."""
        self._needed = 0
        head = read_head(data, at) if self.state != CLOSED else None
        if head is None:
            return at
        if head.opcode < CLOSE:
            if self.state != OPEN:
                return self._pass(head, data)
            self._check_place(head)
        if head.end > len(data):
            self._needed = head.end - at
            return at
        payload = unmask(data[head.body : head.end], data[head.body - 4 : head.body])
        if head.opcode >= CLOSE:
            self._take_control_frame(head.opcode, payload)
        else:
            self._take_fragment(head, payload)
        return head.end

    def _pass(self, head: Head, data: bytes) -> int:
        """Drop a frame that comes after our close, and what is still to come of it."""
        at = min(head.end, len(data))
        self._skip = head.end - at
        return at

    def _check_place(self, head: Head) -> None:
        begun = self._fragments
        if (head.opcode == CONTINUATION) != (begun is not None):
            raise FrameRefused(1002, "a message begins within another, or goes on without one")
        size = head.end - head.body + (0 if begun is None else len(begun.data))
        if size > self.largest:
            reason = f"a message is over {self.largest} bytes"
            raise FrameRefused(1009, reason, head.end)

    def _take_fragment(self, head: Head, payload: bytes) -> None:
        begun = self._fragments
        if begun is None:
            if head.final:
                self._put_message(payload, head.opcode == TEXT)
                return
            begun = self._fragments = Fragments(text=head.opcode == TEXT)
            self._begun = self.heard
        begun.data += payload
        begun.count += 1
        if head.final:
            self._fragments = None
            self._put_message(bytes(begun.data), begun.text)
        elif begun.count >= MAX_FRAGMENTS:
            self.refuse(_too_many(f"a message may have {MAX_FRAGMENTS} fragments"))

    def _take_control_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._unanswered = payload
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else None
            self.take_close(code, payload[2:])

    def _answer_ping(self) -> None:
        """Answer the last ping, which answers those before it too (section 5.5.3)."""
        payload, self._unanswered = self._unanswered, None
        self.send_control(PONG, payload or b"")

    # Messages

    def _deliver(self, data: bytes, text: bool) -> bool:
        self._put_message(data, text)
        return self.reading and not self.deaf and self.state == OPEN

    def _deliver_first(self, data: bytes, text: bool) -> bool:
        self._deliver(data, text)
        return False

    def _collect(self, taken: list[bytes], data: bytes, text: bool) -> bool:
        """Add a message to those that an application which writes bytes takes together."""
        if text and not data.isascii():
            data.decode()  # raises, if it is no UTF-8
        taken.append(data)
        return True

    def _hand_over(self, taken: list[bytes]) -> None:
        if taken:
            self._put_message(b"".join(taken), False)
            taken.clear()

    def _put_message(self, payload: bytes, text: bool) -> None:
        if self.state == OPEN and not self.muted and self.inbox is not None:
            self.inbox.put_nowait(self._received(payload, text))

    def _received(self, payload: bytes, text: bool) -> dict[str, Any]:
        """
        Return the event of a message. An application that writes bytes gets bytes, too, but for the
        first message: by it the application knows in which kind its client wants the answers.
        """
        first = self.binary is None
        if first:
            self.binary = not text
        if self.attached and not first:
            if text and not payload.isascii():
                payload.decode()
            return {"type": "websocket.receive", "bytes": payload}
        content: dict[str, Any] = {"text": payload.decode()} if text else {"bytes": payload}
        return {"type": "websocket.receive", **content}

    # Not too many, and not for ever

    def _charge(self, frames: int) -> None:
        """Let the client wait that sends more small frames than it may."""
        now = time.monotonic()
        budget = self._budget = self._budget or Budget()
        seconds = budget.spend(frames, now)
        if not seconds:
            return
        if self.state != OPEN:
            self.deaf = True
        elif budget.is_out_of_patience(now):
            limit = f"{conf.STOMP_FRAMES_PER_SECOND} small WebSocket frames a second"
            self.refuse(_too_many(f"more than {limit}"))
        else:
            self._throttle(seconds)

    def _throttle(self, seconds: float) -> None:
        self._throttled = True
        self._stop_reading()
        asyncio.get_running_loop().call_later(seconds, self._unthrottle)

    def _unthrottle(self) -> None:
        self._throttled = False
        self._go_on_reading()

    def check_message(self, now: float) -> None:
        """Refuse a message whose end does not come."""
        seconds = conf.STOMP_MESSAGE_SECONDS
        if self._begun and self.reading and now - self._begun > seconds:
            text = f"a WebSocket message did not end within {seconds} s"
            self.refuse(AccessDenied(text, code="message-timeout"))

    def refuse(self, error: StompError) -> None:
        """Close with the code of an error; a client that speaks STOMP gets its ERROR before."""
        if self.state != OPEN:
            return
        self.server.refusals.note(error.code, self.client_addr, error.message)
        frame = in_websocket_frame(_error_frame(error), bool(self.binary)) if self.attached else b""
        self.fail(error.close_code, error.message, frame)

    # Reading or not

    def pause_reading(self) -> None:
        self._full = True
        self._stop_reading()

    def resume_reading(self) -> None:
        self._full = False
        self._go_on_reading()

    def read_to_the_end(self) -> None:
        """Read, whatever is in the way: the answer to a close frame is still to come."""
        self._throttled = False
        self.resume_reading()

    def _stop_reading(self) -> None:
        if self.reading:
            self.reading = False
            self.transport.pauseProducing()

    def _go_on_reading(self) -> None:
        if not self.reading and not self._full and not self._throttled:
            self.reading = True
            self.heard = time.time()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._begun:
            self._begun = self.heard  # it was not the client that kept it waiting
        if self.state != CONNECTING:
            self._consume(bytes(self.data))  # what had been read before
        if self.reading:
            self.transport.resumeProducing()

    # What the end of it is: of GatewayProtocol

    def fail(self, code: int, reason: str, last: bytes = b"") -> None:
        """Close because of what the client sent, after a last frame."""
        raise NotImplementedError

    def take_close(self, code: int | None, reason: bytes) -> None:
        """Take in a close frame."""
        raise NotImplementedError

    # Out

    def write(self, data: bytes) -> bool:
        """
        Send complete frames at once; return whether the client keeps up.

        The data is taken in any case. After a False, wait for :attr:`resume`.
        """
        transport = self.transport
        if self.state != OPEN:
            return True
        if self._direct and not (transport.dataBuffer or transport._tempDataLen):
            sent = send_at_once(transport, data)
            if sent == len(data):
                return True
            data = data[sent:]
        transport.write(data)
        return not self.paused

    @property
    def buffered(self) -> int:
        """The bytes written that the operating system has not taken yet."""
        return unsent_bytes(self.transport)

    def send_control(self, opcode: int, payload: bytes) -> None:
        """Send a control frame, of at most 125 bytes."""
        self.write(control_frame(opcode, payload))

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self._unanswered is not None:
            self._answer_ping()
        if self.resume is not None:
            self.resume()


def unsent_bytes(transport: Any) -> int:
    """Return the bytes written that the operating system has not taken yet."""
    transport = getattr(transport, "transport", transport)  # below TLS
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


def send_at_once(transport: Any, data: bytes) -> int:
    """
    Send by the socket itself; return how much it takes: the rest is for the transport to write.

    Saves Twisted's two changes of the selector per write: 20 us became 8.
    """
    try:
        return transport.socket.send(data)
    except OSError:
        return 0  # it takes nothing now, or the connection is lost: the reactor finds out


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Return a control frame of the server, of at most 125 bytes; RFC 6455, section 5.5."""
    return bytes((_FINAL | opcode, len(payload))) + payload


def _too_many(text: str) -> StompError:
    return AccessDenied(text, code="too-many-frames")


def _error_frame(error: StompError) -> bytes:
    headers = {"message": error.message, "code": error.code}
    return encode(Frame("ERROR", headers, f"{error.message}\n".encode()), "1.0")


def bound_sockets(loop: Any) -> None:
    """
    Let a turn of the event loop look at some of the sockets that are ready; the kernel keeps the
    others in line for the next.

    When an attacker's process ends, its thousands of sockets are ready at once. asyncio (3.11) asks
    for all that are, and has no setting for it.
    """
    selector: Any = getattr(loop, "_selector", None)
    waits_for = getattr(selector, "_selector", None)
    if hasattr(waits_for, "poll"):  # that of Linux; select and kqueue have no such method
        selector._selector = _SomeOfEpoll(waits_for)


class _SomeOfEpoll:
    """An epoll that returns no more than so many events at once."""

    def __init__(self, epoll: Any) -> None:
        self._epoll = epoll
        for name in ("register", "modify", "unregister", "close", "fileno"):
            setattr(self, name, getattr(epoll, name))

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        events: list[tuple[int, int]] = self._epoll.poll(timeout, min(most, SOCKETS_PER_TURN))
        return events
