"""GatewayProtocol: daphne's WebSocket from its handshake to its end, which has reasons."""

from __future__ import annotations

import asyncio
import time
from http.client import responses
from random import uniform
from types import SimpleNamespace
from typing import Any, Final

from autobahn.util import encode_truncate
from autobahn.websocket.types import ConnectionDeny
from daphne.ws_protocol import WebSocketFactory
from twisted.internet import reactor
from twisted.internet.tcp import Connection

from realtime.access.addresses import FORWARDED_FOR, client_address

from . import slim
from .bounds import Counted
from .http import TOO_MANY
from .shutdown import RESTART
from .traffic import Traffic

#: Seconds that the last bytes to a client have after the closing handshake.
CLOSE_SECONDS: Final = 1.0


class GatewayProtocol(Counted, Traffic):
    """
    One WebSocket.

    To an application that accepts with ``"realtime.attach": attach`` it hands itself, for frames
    that the application has encoded: :meth:`write`, :attr:`resume`, :attr:`buffered`. What comes
    for it is a stream of bytes: messages that were read together are one event.
    """

    #: Seconds for the answer to a close frame. autobahn counts in whole ones, rounded down:
    #: its default, 1, may be no time at all.
    closeHandshakeTimeout = 5

    request: Any
    _transport_details: Any = None
    _pinged = 0.0
    _unsent = 0

    # Beginning

    def connectionMade(self) -> None:
        self.heard = time.time()
        # A TLS transport encrypts what is written to it, not what is sent by its socket.
        self._direct = isinstance(self.transport, Connection) and not self.transport.TLS
        super().connectionMade()
        slim.share_statistics(self)

    def onConnect(self, request: Any) -> Any:
        server, peer = self.factory.server_class, self.transport.getPeer()
        forwarded = request.headers.get("x-forwarded-for", "").encode()
        address = client_address(getattr(peer, "host", ""), [(FORWARDED_FOR, forwarded)])
        if address and not server.addresses.enter(self, address):
            server.refusals.note("too-many-connections", (address,), TOO_MANY)
            raise ConnectionDeny(429, TOO_MANY)
        return super().onConnect(request)

    def onOpen(self) -> None:
        super().onOpen()
        self.transport.unregisterProducer()  # the HTTPChannel, and all that it holds
        self.transport.registerProducer(self, True)
        self.request = SimpleNamespace(path=self.request.path)
        # Who came together need not be asked together whether they live.
        self.heard -= uniform(0, self.server.ping_interval)
        slim.forget_handshake(self)
        self.resume_reading()  # if it had sent too much to wait for

    def handle_reply(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close" and self.state == self.STATE_CONNECTING:
            self._deny(403, message.get("reason") or "access denied")
            self.server.protocol_disconnected(self)
        elif self.state == self.STATE_CONNECTING:
            super().handle_reply(message)
        elif kind == "websocket.send":
            self._send(message)
        elif kind == "websocket.close":
            self.close(message.get("code") or 1000, message.get("reason") or "")

    def _accept(self, message: dict[str, Any]) -> None:
        if self.state != self.STATE_CONNECTING:
            return
        if self.server.draining:
            self._deny(503, "the server restarts")
            return
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and subprotocol not in self.websocket_protocols:
            raise ValueError(f"the client has not offered the sub-protocol {subprotocol!r}")
        self.serverAccept(subprotocol)
        attach = message.get("realtime.attach")
        if attach is not None and self.state == self.STATE_OPEN:
            self.attached = True
            attach(self)

    def _send(self, message: dict[str, Any]) -> None:
        # Not autobahn's sendMessage, whose limit for what clients send holds for us too, and
        # which raises after a close frame; daphne leaves out what is empty.
        if self.state == self.STATE_OPEN:
            data = message.get("bytes")
            if data is not None:
                self.sendFrame(opcode=2, payload=data)
            else:
                self.sendFrame(opcode=1, payload=message["text"].encode())

    # End

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake, with any code."""
        # autobahn's sendClose refuses all codes but 1000 and 3000-4999 (autobahn#1642).
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=encode_truncate(reason, 123))

    def end(self, application: asyncio.Task[Any]) -> None:
        """Tell client and application that the server restarts."""
        if self.state == self.STATE_CONNECTING:
            self._deny(503, "the server restarts")
        if self.attached or self.state == self.STATE_CLOSED:
            application.cancel()  # if attached, it has something to say first
        elif self.state == self.STATE_OPEN:
            self.close(RESTART, "the server restarts")
            self.muted = True
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": RESTART})

    def application_ended(self, error: BaseException | None) -> None:
        """Close what the application has left open."""
        if self.state == self.STATE_CONNECTING:
            self._deny(500, "internal server error")
        elif self.server.draining:
            self.close(RESTART, "the server restarts")
        else:
            self.close(1000 if error is None else 1011)

    def _deny(self, status: int, reason: str) -> None:
        self.handshake_deferred.errback(ConnectionDeny(status, reason))

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        """Say the reason in a body: in its first line autobahn's answer could hold any text."""
        body = f"{reason}\n".encode()
        headers = [
            *(responseHeaders or ()),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", len(body)),
            ("Connection", "close"),
        ]
        super().sendHttpErrorResponse(code, responses.get(code, "Refused"), headers)
        self.sendData(body)

    def sendCloseFrame(self, *args: Any, **kwargs: Any) -> None:
        super().sendCloseFrame(*args, **kwargs)
        self.read_to_the_end()  # or the answer is not seen

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.resume = None
        self.stopProducing()
        if self.server is not None:
            super().onClose(wasClean, 1005 if code is None else code, reason)

    def _closeConnection(self, abort: bool = False) -> None:
        # autobahn 26.10 resets the connection even after a closing handshake: browsers then
        # call it unclean, and what they had not read yet may be lost. Who never reads is cut off.
        orderly = self.wasClean or not abort
        super()._closeConnection(not orderly)
        if orderly:
            reactor.callLater(CLOSE_SECONDS, self.transport.abortConnection)

    def _fail_connection(self, code: int = 1001, reason: str = "") -> None:
        # autobahn drops the TCP connection, and the client never learns why.
        self.close(code, reason)
        self.failedByMe = True
        if code != 1009:  # what follows a frame that is too large can still be read
            self._deaf = True

    # The clock

    def check_timeouts(self) -> None:
        now = time.time()
        age = now - self.socket_opened
        if self.state == self.STATE_CONNECTING:
            if age > self.server.websocket_connect_timeout:
                self.serverReject()
        elif self.state == self.STATE_OPEN:
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
                self.onAutoPingTimeout()
        elif now - max(self.heard, self._pinged) > self.server.ping_interval:
            self._pinged = now
            self.sendPing()


class GatewayWebSocketFactory(WebSocketFactory):
    """Makes :class:`GatewayProtocol` objects that share their options."""

    def setProtocolOptions(self, **options: Any) -> None:
        super().setProtocolOptions(**options)
        shared: Any = slim.with_shared_options(GatewayProtocol, self)
        limits = (self.maxFramePayloadSize, self.maxMessagePayloadSize)  # 0 is for none
        shared.largest = min((limit for limit in limits if limit), default=2**63)
        self.protocol = shared
