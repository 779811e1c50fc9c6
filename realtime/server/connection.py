"""HttpConnection: one connection of HTTP/1.1, from its bytes to requests, one after the other."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from functools import cached_property
from typing import Any, Final

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection as TcpConnection
from twisted.protocols.policies import ProtocolWrapper

from realtime.conf import conf
from realtime.counters import counters

from .http import GatewayRequest, answer
from .traffic import send_at_once, unsent_bytes
from .turns import APPLICATION, FIRST, NEXT, Turns
from .websocket import GatewayProtocol

#: Bytes of a first line and headers together, and how many headers.
MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 200

#: Seconds that a connection is kept without a request, and for the last bytes of its last answer.
IDLE_SECONDS: Final = 60.0

#: Seconds in which what still comes after a refusal is read and dropped: a connection that is
#: closed with unread input is reset, and the client never sees the answer.
REFUSED_SECONDS: Final = 5.0

#: What may come of a request whose turn has not come, before its client is not read from any more.
MAX_EARLY_BYTES: Final = 64 * 1024

#: Seconds after which who has waited for a turn may have left; a look costs as much as a read.
PATIENT_SECONDS: Final = 0.05

#: Headers of which no application hears: daphne's lets any client choose the root path.
_DROPPED: Final = b"daphne-root-path"

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Refused(Exception):
    """A request that is answered before it is complete."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class HttpConnection(Protocol):
    """
    One connection, on which neither head nor body of a request may drip in.

    Requests that come together are answered in their order: while one is answered the next may
    be read, and no more than that. The methods ``on_...`` are what the parser calls.
    """

    def __init__(self, server: Any, turns: Turns) -> None:
        self.server = server
        self._turns = turns
        self._cost = FIRST
        self._parser = HttpRequestParser(self)
        self._early: bytes | bytearray = b""  # what has come before its turn
        self._early_since = 0.0
        self._incoming: GatewayRequest | None = None  # is being read
        self._head_complete = False
        self._head_bytes = self._head_unread = 0
        self._waiting: deque[GatewayRequest] = deque()
        self._current: GatewayRequest | None = None  # is being answered
        self._refusal: bytes | None = None  # the last answer
        self._deaf = False  # what comes is dropped
        self._stalled = False  # the client takes nothing now
        self._reading = True
        self._phase = ""
        self._due = 0.0
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None

    def connectionMade(self) -> None:
        transport = self.transport
        self._loop = asyncio.get_running_loop()
        # A TLS transport encrypts what is written to it, not what is sent by its socket.
        self._direct = isinstance(transport, TcpConnection) and not transport.TLS
        self.secure = ISSLTransport.providedBy(transport)
        peer = transport.getPeer()
        self.client = [str(peer.host), peer.port] if hasattr(peer, "port") else None
        transport.registerProducer(self, True)
        self._watch()

    @cached_property
    def server_address(self) -> list[Any] | None:
        """Where the client came to: host and port, None for a Unix socket."""
        host = self.transport.getHost()
        return [str(host.host), host.port] if hasattr(host, "port") else None

    # In

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._early:
            self._early += data
            if len(self._early) > MAX_EARLY_BYTES:
                self._read(False)
        elif self._incoming is None and self._current is None and not self._take_turn():
            self._early = bytearray(data)
            self._early_since = self._loop.time()
        else:
            self._feed(data)

    def _take_turn(self) -> bool:
        cost, self._cost = self._cost, NEXT
        return self._turns.begin(self.client[0] if self.client else "", self._begin, cost)

    def note_application(self) -> None:
        """Count that the request which begins needs an application."""
        self._turns.spend(APPLICATION)

    def _begin(self) -> None:
        data, self._early = self._early, b""
        waited = self._loop.time() - self._early_since
        if data and not (waited > PATIENT_SECONDS and has_left(self.transport.socket)):
            self._feed(bytes(data))

    def _feed(self, data: bytes) -> None:
        begun = self._incoming
        try:
            self._parser.feed_data(data)
            if begun is not None and begun is self._incoming and not self._head_complete:
                self._count_head(0, unread=len(data))
        except HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except HttpParserCallbackError as failed:
            if not isinstance(failed.__context__, Refused):
                raise
            self.refuse(failed.__context__.status, failed.__context__.detail)
        except HttpParserError as error:
            self.refuse(400, f"this is not HTTP/1.1: {error}")
        except Refused as refused:
            self.refuse(refused.status, refused.detail)
        self._read(not self._stalled and not self._waiting)
        self._watch()

    def on_message_begin(self) -> None:
        self._incoming = GatewayRequest(self)
        self._head_complete = False
        self._head_bytes = self._head_unread = 0

    def on_url(self, part: bytes) -> None:
        assert self._incoming is not None
        self._count_head(len(part))
        self._incoming.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._count_head(0)
        name = name.lower()
        # X_Y and X-Y are one for Django: CVE-2015-0219.
        if b"_" not in name and name != _DROPPED and not self._head_complete:
            self._incoming.headers.append((name, value.strip()))  # type: ignore[union-attr]

    def _count_head(self, size: int, unread: int = 0) -> None:
        self._head_bytes += size
        self._head_unread += unread  # of one header, which the parser keeps until it is whole
        if max(self._head_bytes, self._head_unread) > MAX_HEAD_BYTES:
            raise Refused(431, f"first line and headers are over {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        request = self._incoming
        assert request is not None
        self._head_complete = True
        if len(request.headers) > MAX_HEADERS:
            raise Refused(431, f"the request has more than {MAX_HEADERS} headers")
        request.method = self._parser.get_method().decode()
        request.version = self._parser.get_http_version()
        request.keep_alive = self._parser.should_keep_alive()
        if request.version not in ("1.1", "1.0"):
            raise Refused(505, "this server speaks HTTP/1.1")
        if self._parser.should_upgrade():
            return
        length = int(request.header(b"content-length") or 0)
        self._check_body(request, length)
        asks = request.header(b"expect").lower() == b"100-continue"
        if asks and self._current is None and not self._waiting:
            self.write(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        request = self._incoming
        assert request is not None
        self._check_body(request, request.counted_bytes + len(data), len(data))
        self.server.bodies.add(request, len(data))
        request.add(data)

    def _check_body(self, request: GatewayRequest, size: int, more: int | None = None) -> None:
        """Refuse a body that is too large, or too large now: ``more`` of it is new."""
        if size > self.server.max_body_bytes:
            raise Refused(413, f"the request is over {self.server.max_body_bytes} bytes")
        if not self.server.bodies.fits(size if more is None else more):
            text = f"requests of {conf.STOMP_MAX_REQUESTS_BYTES} bytes are under way"
            self.server.refusals.note("busy", None, text)
            raise Refused(503, "too many requests are under way: try again")

    def on_message_complete(self) -> None:
        if not self._parser.should_upgrade():
            self._complete()

    def _complete(self) -> None:
        request, self._incoming = self._incoming, None
        assert request is not None
        self._waiting.append(request)
        self._next()

    # To another protocol

    def _upgrade(self, rest: bytes) -> None:
        """Go on with what came after a request to change the protocol; its body is among it."""
        request = self._incoming
        assert request is not None
        wanted = request.header(b"upgrade").lower().replace(b",", b" ").split()
        if request.method == "CONNECT":
            self.refuse(405, "this is no proxy")
        elif b"websocket" in wanted:
            request.early = rest
            self._complete()
            self._read(not self._waiting)
            self._deaf = True  # the WebSocket hears what follows
        else:
            self._feed(self._without_upgrade(request) + rest)

    def _without_upgrade(self, request: GatewayRequest) -> bytes:
        """Return the head of a request as one that does not ask for what nobody has, as for h2c."""
        self._parser = HttpRequestParser(self)
        self._incoming = None
        method, version = request.method.encode(), request.version.encode()
        line = b"%b %b HTTP/%b" % (method, request.target, version)
        kept = [
            b"%b: %b" % (name, value)
            for name, value in request.headers
            if name not in (b"upgrade", b"http2-settings")
        ]
        return b"\r\n".join([line, *kept, b"\r\n"])

    def _become_websocket(self, request: GatewayRequest) -> None:
        transport: Any = self.transport
        self._forget_timer()
        transport.unregisterProducer()
        websocket = GatewayProtocol(self.server)
        if isinstance(transport, ProtocolWrapper):  # TLS
            transport.wrappedProtocol = websocket
        else:
            transport.protocol = websocket
        websocket.makeConnection(transport)
        if not self._reading:
            self._reading = True
            transport.resumeProducing()
        del self._parser
        websocket.begin(request)

    # One after the other

    def _next(self) -> None:
        """Let the next begin, if that before it is answered, and the client takes the answers."""
        if self._current is not None or self._stalled:
            return
        if self._waiting:
            request = self._waiting.popleft()
            if request.early is not None:
                self._become_websocket(request)
                return
            self._current = request
            request.begin()
        elif self._refusal is not None:
            self._say_no()

    def answered(self, keep_alive: bool) -> None:
        """Go on after the answer to a request, or end."""
        self._current = None
        if keep_alive:
            self._next()
            self._read(not self._stalled and not self._waiting)
        else:
            self._waiting.clear()
            self.close()
        self._watch()

    def refuse(self, status: int, detail: str) -> None:
        """Answer before the request is complete, and close when what still comes has been read."""
        self._deaf = True
        if self._incoming is not None:
            self.server.bodies.give_back(self._incoming)
            self._incoming = None
        self._phase = "answering"
        self._refusal = answer(status, detail)
        counters.add(counters.responses, status)
        self._next()

    def _say_no(self) -> None:
        assert self._refusal is not None
        transport: Any = self.transport
        self.write(self._refusal)
        self._refusal = None
        if self.secure:
            transport.loseConnection()
        else:
            transport.loseWriteConnection()  # the client sees the end, and what it sends is dropped
        self._await("refused", REFUSED_SECONDS)

    def close(self) -> None:
        """Close when what was written has left."""
        self._deaf = True
        self.transport.loseConnection()
        self._await("closing", IDLE_SECONDS)

    @property
    def idle(self) -> bool:
        """Whether it is kept without a request."""
        return not (self._early or self._incoming or self._current or self._waiting or self._deaf)

    # Out

    def write(self, data: bytes) -> None:
        """Send data, at once if the client takes it."""
        if self._direct and not unsent_bytes(self.transport):
            data = data[send_at_once(self.transport, data) :]
        if data:
            self.transport.write(data)

    def pauseProducing(self) -> None:
        self._stalled = True
        self._read(False)
        if self._current is not None:
            self._current.pauseProducing()

    def resumeProducing(self) -> None:
        self._stalled = False
        if self._current is not None:
            self._current.resumeProducing()
        self._next()
        self._read(not self._waiting)
        self._watch()

    def stopProducing(self) -> None:
        if self._current is not None:
            self._current.stopProducing()

    def _read(self, wanted: bool) -> None:
        if wanted != self._reading and not self._deaf:
            self._reading = wanted
            (self.transport.resumeProducing if wanted else self.transport.pauseProducing)()

    # The clock

    def _watch(self) -> None:
        """Set the deadline of what is awaited now, if that is something else than before."""
        if self._deaf:
            return
        if self._incoming is None:
            if self._current is None:
                self._await("idle", IDLE_SECONDS, again=True)
            else:
                self._phase = "answering"
        elif not self._head_complete:
            self._await("head", conf.STOMP_HEAD_SECONDS)
        else:
            self._await("body", conf.STOMP_BODY_SECONDS)

    def _await(self, phase: str, seconds: float, again: bool = False) -> None:
        if phase == self._phase and not again:
            return
        self._phase = phase
        self._due = self._loop.time() + seconds
        if self._timer is None or self._due < self._timer.when():
            self._forget_timer()
            self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._phase == "answering":
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
        elif self._phase in ("head", "body"):
            self.refuse(408, "the request did not come in time")
        else:
            self._look_at_the_end()

    def _look_at_the_end(self) -> None:
        """Close; cut off who takes nothing of what is left to send."""
        unsent, self._unsent = self._unsent, unsent_bytes(self.transport)
        if self._phase == "refused" or (self._unsent and self._unsent == unsent):
            self.transport.abortConnection()
        elif self._phase == "idle":
            self.close()
        else:
            self._await("closing", IDLE_SECONDS, again=True)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connectionLost(self, reason: Any = None) -> None:
        self._forget_timer()
        self._early, self._deaf = b"", True
        self._phase = "lost"
        for request in (self._incoming, *self._waiting):
            if request is not None:
                self.server.bodies.give_back(request)
        current, self._incoming, self._current = self._current, None, None
        self._waiting.clear()
        del self._parser  # which refers to this one
        if current is not None:
            current.disconnected()


def has_left(client: socket.socket) -> bool:
    """Return whether a client has hung up, and sent nothing more that is not read."""
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class GatewayHTTPFactory(Factory):
    """Makes :class:`HttpConnection` objects."""

    noisy = False

    def __init__(self, server: Any) -> None:
        self._server = server
        self._turns = Turns()

    def buildProtocol(self, addr: Any) -> HttpConnection:
        return HttpConnection(self._server, self._turns)
