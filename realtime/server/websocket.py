"""GatewayProtocol: one WebSocket from its handshake to its end, which has reasons."""

from __future__ import annotations

import asyncio
import time
from random import uniform
from typing import Any, Final

from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection

from realtime.access.addresses import FORWARDED_FOR, client_address
from realtime.delivery.frames import in_websocket_frame
from realtime.stomp import Restart

from . import handshake
from .bounds import Counted
from .handshake import HandshakeRefused
from .http import TOO_MANY, GatewayRequest, client_shown
from .inbound import CLOSE, PING
from .traffic import CLOSED, CLOSING, CONNECTING, OPEN, Traffic, control_frame

#: Seconds for the answer to a close frame, and for the last bytes after it.
ANSWER_SECONDS: Final = 4.0
CLOSE_SECONDS: Final = 1.0

#: The close code "service restart" in IANA's registry, with which sessions end too.
RESTART: Final = Restart.close_code

#: Bytes of a reason (RFC 6455, section 5.5).
MAX_REASON_BYTES: Final = 123

#: Close codes: no code came (section 7.1.5), and the connection was lost (section 7.4.1).
NO_CODE: Final = 1005
LOST: Final = 1006


class GatewayProtocol(Counted, Traffic):
    """
    One WebSocket.

    To an application that accepts with ``"realtime.attach": attach`` it hands itself, for frames
    that the application has encoded: :meth:`write`, :attr:`resume`, :attr:`buffered`. What comes
    for it is a stream of bytes: messages that were read together are one event.
    """

    _key = b""
    _offered: list[str]
    _code = LOST  # with which it ended
    _opened = 0.0
    _pinged = 0.0
    _unsent = 0

    def __init__(self, server: Any) -> None:
        self.server = server
        self.largest = server.largest_message
        self.client_addr: list[Any] | None = None
        self.path = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r}>"

    # Beginning

    def begin(self, request: GatewayRequest) -> None:
        """Check what a client asks for, and ask the application."""
        self.heard = self._opened = time.time()
        # A TLS transport encrypts what is written to it, not what is sent by its socket.
        self._direct = isinstance(self.transport, Connection) and not self.transport.TLS
        self.data = request.early or b""
        self.path = request.path
        self.client_addr = request.client_addr
        try:
            handshake.check(request)
            self._count(request)
        except HandshakeRefused as refused:
            self._deny(refused)
            return
        self._key = request.header(b"sec-websocket-key")
        self._offered = handshake.offered(request)
        self.server.protocol_connected(self)
        scope = request.scope("websocket") | {"subprotocols": self._offered}
        self.server.prepare(self, scope)
        self.inbox = self.server.create_application(self, scope)
        self._put({"type": "websocket.connect"})
        self._log("connecting")

    def _count(self, request: GatewayRequest) -> None:
        """Count the connection among those of its address."""
        peer = request.client_addr[0] if request.client_addr else ""
        address = client_address(peer, [(FORWARDED_FOR, request.header(FORWARDED_FOR))])
        if address and not self.server.addresses.enter(self, address):
            self.server.refusals.note("too-many-connections", (address,), TOO_MANY)
            raise HandshakeRefused(429, TOO_MANY)

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Take what the application sends."""
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close" and self.state == CONNECTING:
            self._reject(message.get("reason") or "access denied")
        elif kind == "websocket.send":
            self._send(message)
        elif kind == "websocket.close":
            self.close(message.get("code") or 1000, message.get("reason") or "")
        else:
            raise ValueError(f"{kind} is nothing that a WebSocket is sent")

    def _accept(self, message: dict[str, Any]) -> None:
        if self.state != CONNECTING:
            return
        if self.server.draining:
            self._deny(HandshakeRefused(503, "the server restarts"))
            return
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and subprotocol not in self._offered:
            raise ValueError(f"the client has not offered the sub-protocol {subprotocol!r}")
        more = message.get("headers") or ()
        self._open(handshake.accepted(self._key, subprotocol, more, self.server.server_name))
        attach = message.get("realtime.attach")
        if attach is not None:
            self.attached = True
            attach(self)

    def _open(self, answer: bytes) -> None:
        transport: Any = self.transport
        self.state = OPEN
        self.write(answer)
        transport.registerProducer(self, True)
        # Who came together need not be asked together whether they live.
        self.heard -= uniform(0, self.server.ping_interval)
        del self._key, self._offered
        self._log("connected")
        if self.data or not self.reading:  # it has sent something before it was answered
            asyncio.get_running_loop().call_soon(self.read_early)

    def _reject(self, reason: str) -> None:
        self._log("rejected")
        self._deny(HandshakeRefused(403, reason))

    def _deny(self, refused: HandshakeRefused) -> None:
        transport: Any = self.transport
        transport.write(handshake.denied(refused))
        self.state = CLOSED
        self._hang_up()

    def _send(self, message: dict[str, Any]) -> None:
        if self.state == CONNECTING:
            raise ValueError("the WebSocket has not been accepted")
        data, text = message.get("bytes"), message.get("text")
        payload = data if data is not None else str(text).encode()
        self.write(in_websocket_frame(payload, data is not None))

    # End

    def close(self, code: int, reason: str = "", last: bytes = b"") -> None:
        """Begin the closing handshake, after a last frame."""
        if self.state == OPEN:
            self._send_close(code, reason, last)
            self._cut_off_in(ANSWER_SECONDS)

    def _send_close(self, code: int, reason: str = "", last: bytes = b"") -> None:
        text = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
        self.write(last + control_frame(CLOSE, code.to_bytes(2, "big") + text))
        self.state = CLOSING
        self.read_to_the_end()  # or the answer is not seen

    def take_close(self, code: int | None, reason: bytes) -> None:
        """Answer a close frame, or end after the answer to ours."""
        if code is not None and not _is_close_code(code):
            self.fail(1002, f"the close code {code} is not one that is sent")
            return
        reason.decode()  # raises, if it is no UTF-8
        self._code = NO_CODE if code is None else code
        if self.state == OPEN:
            self._send_close(1000)
        self._hang_up()

    def _hang_up(self) -> None:
        """End the connection in order; who never reads is cut off."""
        self.deaf = True
        transport: Any = self.transport
        transport.loseConnection()
        self._cut_off_in(CLOSE_SECONDS)

    def _cut_off_in(self, seconds: float) -> None:
        transport: Any = self.transport
        asyncio.get_running_loop().call_later(seconds, transport.abortConnection)

    def fail(self, code: int, reason: str, last: bytes = b"") -> None:
        """Close because of what the client sent, after a last frame."""
        self.close(code, reason, last)
        if code != 1009:  # what follows a frame that is too large can still be read
            self.deaf = True

    def end(self, application: asyncio.Future[Any]) -> None:
        """Tell client and application that the server restarts."""
        if self.state == CONNECTING:
            self._deny(HandshakeRefused(503, "the server restarts"))
        if self.attached or self.state == CLOSED:
            application.cancel()  # if attached, it has something to say first
        elif self.state == OPEN:
            self.close(RESTART, "the server restarts")
            self._put({"type": "websocket.disconnect", "code": RESTART})
            self.muted = True

    def application_ended(self, error: BaseException | None) -> None:
        """Close what the application has left open."""
        if self.state == CONNECTING:
            self._deny(HandshakeRefused(500, "internal server error"))
        elif self.server.draining:
            self.close(RESTART, "the server restarts")
        else:
            self.close(1000 if error is None else 1011)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self.state = CLOSED
        self.resume = None
        self.stopProducing()
        self.server.protocol_disconnected(self)
        self._put({"type": "websocket.disconnect", "code": self._code})
        self._log("disconnected")

    def forget(self) -> None:
        """
        Let go of what refers to this: thousands of connections that had ended kept 12 KiB each
        until the garbage collector came, which looked at all that live for 300 ms.
        """
        self.inbox = None

    def _put(self, message: dict[str, Any]) -> None:
        if not self.muted and self.inbox is not None:
            self.inbox.put_nowait(message)

    def _log(self, action: str) -> None:
        if self.server.action_logger is not None:
            details = {"path": self.path, "client": client_shown(self.client_addr)}
            self.server.log_action("websocket", action, details)

    # The clock

    def check_timeouts(self) -> None:
        now = time.time()
        age = now - self._opened
        if self.state == CONNECTING:
            if age > self.server.websocket_connect_timeout:
                self._reject("access denied")
        elif self.state == OPEN:
            if 0 <= self.server.websocket_timeout < age:
                self.close(1000)
            self.check_message(now)
            self._check_alive(now)

    def _check_alive(self, now: float) -> None:
        # Not daphne's: there one ping's timer may drop a client that has answered the next.
        if self.paused:
            unsent, self._unsent = self._unsent, self.buffered
            if self._unsent < unsent:
                self.heard = now  # slow, but there
        asked = self._pinged > self.heard
        if asked and self.reading:
            if now - self._pinged > self.server.ping_timeout:
                self.transport.abortConnection()
        elif now - max(self.heard, self._pinged) > self.server.ping_interval:
            self._pinged = now
            self.send_control(PING, b"")


def _is_close_code(code: int) -> bool:
    """Return whether an endpoint may send a code; section 7.4."""
    return code in _CODES or 3000 <= code < 5000


#: Those of the registry that are sent: not 1004, nor those that stand for none (1005, 1006, 1015).
_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015)})
