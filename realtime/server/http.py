"""daphne's HTTP requests, made safe: bounded in size and time; streams wait for who reads them."""

from __future__ import annotations

import asyncio
import json
import socket
from io import BytesIO
from typing import Any, Final

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor
from twisted.web.http import HTTPChannel, _GenericHTTPChannelProtocol

from realtime.conf import conf
from realtime.counters import counters

from .bounds import Counted
from .flow import Paced
from .turns import Turns

#: Seconds in which the body of a refused request is read and dropped: a connection that is
#: closed with unread input is reset, and the client never sees the answer.
REFUSED_SECONDS: Final = 5.0

#: Seconds after which a request that found too many others may come again, for Retry-After.
RETRY_SECONDS: Final = 2

#: Methods whose bodies mean nothing (RFC 9110, section 9.3): what comes is dropped.
WITHOUT_BODY: Final = (b"GET", b"HEAD")

#: Why a connection of an address is one too many.
TOO_MANY: Final = "too many connections from this address"

_REASONS: Final = {
    408: "Request Timeout",
    413: "Content Too Large",
    503: "Service Unavailable",
}


class GatewayRequest(Counted, Paced, WebRequest):
    """One HTTP request."""

    channel: Any
    refused = False  # it was answered before it was complete
    _endless = False

    def __init__(self, *args: Any, **options: Any) -> None:
        # Django reads forms; Twisted would before, and spends 200 us on each content-type.
        super().__init__(*args, parsePOSTFormSubmission=False, **options)

    def __repr__(self) -> str:
        # For logs: the query of the URL may have a ticket or a token.
        return f"<{type(self).__name__} {self.method!r} {self.uri.partition(b'?')[0]!r}>"

    # The body

    def gotLength(self, length: int | None) -> None:
        # Not Twisted's temporary file, with which 4 MB took the event loop 5 ms, or as long as the
        # disk liked: Bodies bounds what is in memory, where the application gets it in any case.
        self.content = BytesIO()
        self._check_size(length or 0)

    def handleContentChunk(self, data: bytes) -> None:
        if not self.refused:
            self._check_size(self.counted_bytes + len(data), len(data))
        if not self.refused:
            self.server.bodies.add(self, len(data))
            if self.channel._command not in WITHOUT_BODY:
                self.content.write(data)

    def _check_size(self, size: int, more: int | None = None) -> None:
        """Refuse a body that is too large, or too large now: ``more`` of it is new."""
        if size > self.server.max_body_bytes:
            self.refuse(413, f"the request is over {self.server.max_body_bytes} bytes")
        elif not self.server.bodies.fits(size if more is None else more):
            text = f"requests of {conf.STOMP_MAX_REQUESTS_BYTES} bytes are under way"
            self.server.refusals.note("busy", None, text)
            self.refuse(503, "too many requests are under way: try again")

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self.refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)
            self.content = BytesIO()  # the application's inbox has it now
        if self.transport is None:  # it has become a WebSocket
            self._part_from_channel()

    def _part_from_channel(self) -> None:
        """Let both go at once, not when the garbage collector comes: they weigh 5 KiB."""
        self.channel.requests.clear()
        self.channel = None

    def refuse(self, status: int, detail: str) -> None:
        """Answer before the request is complete, and close when what still comes has been read."""
        self.refused = True
        self.content.close()
        self.server.bodies.give_back(self)
        transport = self.channel.transport
        counters.add(counters.responses, status)
        transport.write(answer(status, detail))
        if self.requestHeaders.hasHeader(b"Expect"):  # then nothing has been sent yet
            self.requestHeaders.removeHeader(b"Expect")
            self.channel.loseConnection()
        else:
            reactor.callLater(REFUSED_SECONDS, transport.loseConnection)

    # The response

    def handle_reply(self, message: dict[str, Any]) -> None:
        if self.finished or self.channel is None:
            return
        begins = message["type"] == "http.response.start"
        if begins and _is_stream(message) and not self._admit_stream():
            return
        if message.get("more_body") and self.producer is None:
            self.registerProducer(self, True)
        super().handle_reply(message)
        if begins and self.server.draining:
            self.channel.persistent = False
            self.setHeader(b"Connection", b"close")

    def _admit_stream(self) -> bool:
        """Count a stream of events as a connection; answer 429 if it is one too many."""
        self._endless = True
        client = self.client_addr
        if client is None or self.server.addresses.enter(self, client[0]):
            return True
        self.server.refusals.note("too-many-connections", client, TOO_MANY)
        self._answer(429, {"detail": TOO_MANY})
        return False

    def _answer(self, status: int, content: dict[str, str]) -> None:
        self.setResponseCode(status)
        self.setHeader(b"Content-Type", b"application/json")
        self.write(json.dumps(content).encode())
        self.finish()

    def finish(self) -> None:
        if self.producer is not None:
            self.unregisterProducer()
        self.stopProducing()
        if not self.finished and not self._disconnected:
            counters.add(counters.responses, self.code)
            super().finish()

    def connectionLost(self, reason: Any) -> None:
        self.stopProducing()
        super().connectionLost(reason)

    def end(self, application: asyncio.Task[Any]) -> None:
        """End a stream of events, whose client will come again; other responses are finished."""
        if self._endless or self._disconnected:
            self.finish()
            application.cancel()

    def application_ended(self, error: BaseException | None) -> None:
        """Answer if the application has not; what it left half done must not look whole."""
        if self.finished or self._disconnected:
            return
        if self._response_started:
            self.channel.transport.abortConnection()
        else:
            self.basic_error(500, b"Internal Server Error", "Exception inside application.")

    def check_timeouts(self) -> None:
        if not self.finished and not self._disconnected:
            super().check_timeouts()


def _is_stream(message: dict[str, Any]) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )


def answer(status: int, detail: str) -> bytes:
    """Return a response that is the last on its connection."""
    body = json.dumps({"detail": detail})
    again = f"Retry-After: {RETRY_SECONDS}\r\n" if status == 503 else ""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n{again}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def has_left(client: socket.socket) -> bool:
    """Return whether a client has hung up, and sent nothing more that is not read."""
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class GatewayChannel(HTTPChannel):
    """
    One HTTP connection, on which neither head nor body of a request may drip in.

    Twisted's own clock, which starts anew with each byte, is for connections without a request.
    """

    _awaited = ""  # of a request that has begun: "head" or "body"
    _idle_seconds: float | None = None
    _early = b""  # what has come of a request that may not begin yet
    turns: Turns

    def dataReceived(self, data: bytes) -> None:
        begins = bool(data) and not self._awaited and not self._handlingRequest
        if begins and not self.turns.begin(self._peer(), self._begin):
            self._early = data
            self.transport.pauseProducing()
        else:
            self._receive(data, begins)

    def _peer(self) -> str:
        return getattr(self.transport.getPeer(), "host", "")

    def _begin(self) -> None:
        data, self._early = self._early, b""
        if data:
            self.transport.resumeProducing()
            if not has_left(self.transport.socket):
                self._receive(data, begins=True)

    def connectionLost(self, reason: Any) -> None:
        self._early = b""
        super().connectionLost(reason)

    def _receive(self, data: bytes, begins: bool) -> None:
        if begins:
            self._awaited, self._idle_seconds = "head", self.timeOut
        super().dataReceived(data)
        if begins and self._awaited == "head":  # few do not come whole; a clock set back is dear
            self.setTimeout(conf.STOMP_HEAD_SECONDS)

    def resetTimeout(self) -> None:
        """Do nothing: what comes does not put a deadline off."""

    def allHeadersReceived(self) -> None:
        super().allHeadersReceived()
        self._awaited = "body"
        if self.length != 0:
            self.setTimeout(conf.STOMP_BODY_SECONDS)

    def allContentReceived(self) -> None:
        self._awaited = ""
        self.timeOut = self._idle_seconds
        super().allContentReceived()

    def timeoutConnection(self) -> None:
        refused = any(request.refused for request in self.requests)
        if self._awaited and not refused:
            counters.add(counters.responses, 408)
            self.transport.write(answer(408, "the request did not come in time"))
        super().timeoutConnection()


class GatewayHTTPFactory(HTTPFactory):
    """Makes :class:`GatewayRequest` objects."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turns = Turns()

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = GatewayRequest
        return protocol

    def protocol(self) -> Any:
        channel = GatewayChannel()
        channel.turns = self._turns
        return _GenericHTTPChannelProtocol(channel)

    def log(self, request: Any) -> None:
        """Do nothing: daphne has an access log of its own."""
