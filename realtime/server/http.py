"""daphne's HTTP requests, made safe: bounded bodies, streams that wait for who reads them."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor

from .flow import Paced

#: Seconds in which the body of a refused request is read and dropped: a connection that is
#: closed with unread input is reset, and the client never sees the answer.
REFUSED_SECONDS: Final = 5.0


class GatewayRequest(Paced, WebRequest):
    """One HTTP request."""

    _received = 0
    _refused = False
    _endless = False

    def __init__(self, *args: Any, **options: Any) -> None:
        # Django reads forms; Twisted would before, and spends 200 us on each content-type.
        super().__init__(*args, parsePOSTFormSubmission=False, **options)

    # The body

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > self.server.max_body_bytes:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if not self._refused and self._received > self.server.max_body_bytes:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        self._refused = True
        self.content.close()
        body = json.dumps({"detail": f"the request is over {self.server.max_body_bytes} bytes"})
        head = (
            "HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        transport = self.channel.transport
        transport.write(f"{head}{body}".encode())
        if self.requestHeaders.hasHeader(b"Expect"):  # then nothing has been sent yet
            self.requestHeaders.removeHeader(b"Expect")
            self.channel.loseConnection()
        else:
            reactor.callLater(REFUSED_SECONDS, transport.loseConnection)

    # The response

    def handle_reply(self, message: dict[str, Any]) -> None:
        if self.finished or self.channel is None:
            return
        if message.get("more_body") and self.producer is None:
            self.registerProducer(self, True)
        super().handle_reply(message)
        if message["type"] == "http.response.start":
            kind = self.responseHeaders.getRawHeaders(b"Content-Type", [b""])[0]
            self._endless = kind.startswith(b"text/event-stream")
            if self.server.draining:
                self.channel.persistent = False
                self.setHeader(b"Connection", b"close")

    def finish(self) -> None:
        if self.producer is not None:
            self.unregisterProducer()
        self.stopProducing()
        if not self.finished and not self._disconnected:
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


class GatewayHTTPFactory(HTTPFactory):
    """Makes :class:`GatewayRequest` objects."""

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = GatewayRequest
        return protocol

    def log(self, request: Any) -> None:
        """Do nothing: daphne has an access log of its own."""
