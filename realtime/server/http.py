"""GatewayRequest: one HTTP request and its answer; streams wait for who reads them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache, partial
from http.client import responses
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from daphne.utils import parse_x_forwarded_for

from realtime.counters import counters

from .bounds import Counted
from .flow import Paced

if TYPE_CHECKING:
    from .connection import HttpConnection
    from .inbound import Inbox

#: In pieces of what size an application gets a body.
BODY_PIECE_BYTES: Final = 64 * 1024

#: Seconds after which a request that found too many others may come again, for Retry-After.
RETRY_SECONDS: Final = 2

#: Methods whose bodies mean nothing (RFC 9110, section 9.3): what comes is dropped.
WITHOUT_BODY: Final = ("GET", "HEAD")

#: Answers that have none (RFC 9110, section 6.4.1).
BODILESS: Final = (204, 304)

#: Why a connection of an address is one too many.
TOO_MANY: Final = "too many connections from this address"

#: The size of a body that an answer does not have, whatever its headers say.
NO_BODY: Final = -1

_REASONS: Final = {413: "Content Too Large"}


class GatewayRequest(Counted, Paced):
    """One HTTP request, complete when it begins."""

    def __init__(self, connection: HttpConnection) -> None:
        self.server = connection.server
        self.method = ""
        self.target = b""
        self.version = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = False
        #: What came after a request to become a WebSocket.
        self.early: bytes | None = None
        self.client_addr = connection.client
        self.finished = False
        self._connection: HttpConnection | None = connection
        self._body: bytes | bytearray = b""
        self._inbox: Inbox | None = None
        self._began = 0.0
        self._start: dict[str, Any] | None = None
        self._written = self._complete = False
        self._status = 0
        self._sent = 0
        self._chunked = False
        self._endless = False
        self._is_usual = False  # others are answered in the same way

    def __repr__(self) -> str:
        # For logs: the query of the URL may have a ticket or a token.
        return f"<{type(self).__name__} {self.method} {self.path!r}>"

    @property
    def path(self) -> str:
        """What was asked for, without a query."""
        return self.target.partition(b"?")[0].decode("latin-1")

    def header(self, wanted: bytes) -> bytes:
        """Return the values of a header as one, b"" where there is none."""
        return b",".join([value for name, value in self.headers if name == wanted])

    def add(self, data: bytes) -> None:
        """Take a part of the body."""
        if self.method in WITHOUT_BODY:
            return
        if not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body) + data

    # To the application

    def begin(self) -> None:
        """Hand the request to an application of its own."""
        self._began = time.time()
        self.server.protocol_connected(self)
        scope = self.scope("http")
        self.server.prepare(self, scope)
        if self.server.at_once is not None:
            taken = self.server.at_once(scope, self._body)
            if taken is not None:
                taken.future.add_done_callback(partial(self._answer_taken, taken))
                return
        if self._connection is not None:
            self._connection.note_application()
        self._inbox = self.server.create_application(self, scope)
        body, self._body = memoryview(self._body), b""
        for start in range(0, len(body) or 1, BODY_PIECE_BYTES):
            end = start + BODY_PIECE_BYTES
            piece = {"body": bytes(body[start:end]), "more_body": end < len(body)}
            self._put({"type": "http.request", **piece})

    def _answer_taken(self, taken: Any, future: asyncio.Future[Any]) -> None:
        """Answer what needed no application."""
        try:
            status, headers, content = taken.answer()
        except Exception as error:
            self.server.log_failure(error)
            self.application_ended(error)
        else:
            self._is_usual = True
            self._reply(status, headers, content)

    def scope(self, kind: str) -> dict[str, Any]:
        """Return the ASGI scope of a request, or of the WebSocket that it asks for."""
        assert self._connection is not None
        raw_path, _, query = self.target.partition(b"?")
        scheme = "https" if self._connection.secure else "http"
        if kind == "websocket":
            scheme = "wss" if self._connection.secure else "ws"
        scope: dict[str, Any] = {
            "type": kind,
            "http_version": self.version,
            "scheme": scheme,
            "path": unquote(raw_path.decode()),
            "raw_path": raw_path,
            "root_path": "",
            "query_string": query,
            "headers": self.headers,
            "client": self.client_addr,
            "server": self._connection.server_address,
        }
        if kind == "http":
            scope["method"] = self.method
        if self.server.proxy_forwarded_address_header:
            scope["client"], scope["scheme"] = parse_x_forwarded_for(
                dict(self.headers),
                self.server.proxy_forwarded_address_header,
                self.server.proxy_forwarded_port_header,
                self.server.proxy_forwarded_proto_header,
                scope["client"],
                scope["scheme"],
            )
        return scope

    def _put(self, message: dict[str, Any]) -> None:
        if self._inbox is not None:
            self._inbox.put_nowait(message)

    # The response

    def handle_reply(self, message: dict[str, Any]) -> None:
        """
        Take what the application sends.

        Raises:
            ValueError: If that is no answer to a request, or not in this place.
        """
        if self.finished:
            return
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
        elif kind == "http.response.body" and self._start is not None:
            more = message.get("more_body", False)
            if self._written or not more or not _is_stream(self._start) or self._admit_stream():
                self._write(message.get("body", b""), more)
        else:
            raise ValueError(f"{kind} is no answer to a request, or not in this place")

    def _admit_stream(self) -> bool:
        """Count a stream of events as a connection; answer 429 if that is one too many."""
        self._endless = True
        client = self.client_addr
        if client is None or self.server.addresses.enter(self, client[0]):
            return True
        self.server.refusals.note("too-many-connections", client, TOO_MANY)
        self._answer(429, TOO_MANY)
        return False

    def _answer(self, status: int, detail: str) -> None:
        headers = [(b"Content-Type", b"application/json")]
        self._reply(status, headers, json.dumps({"detail": detail}).encode())

    def _reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer at once, unless the client is gone."""
        if not self.finished:
            self._start = {"status": status, "headers": headers}
            self._write(body, more=False)

    def _write(self, body: bytes, more: bool) -> None:
        connection = self._connection
        assert connection is not None and self._start is not None
        parts = [] if self._written else [self._head(len(body), more)]
        if self.method == "HEAD" or self._status in BODILESS:
            pass
        elif self._chunked:
            if body:
                parts += (b"%x\r\n" % len(body), body, b"\r\n")
            if not more:
                parts.append(b"0\r\n\r\n")
        else:
            parts.append(body)
        self._written, self._complete = True, not more
        self._sent += len(body)
        connection.write(b"".join(parts))
        if not more:
            self.finish()

    def _head(self, size: int, more: bool) -> bytes:
        """Return first line and headers, and find out how the end of the body is known."""
        assert self._start is not None
        self._status = status = self._start["status"]
        bodiless = self.method == "HEAD" or status in BODILESS
        make = _same_head if self._is_usual else _make_head
        lines, self.keep_alive, self._chunked = make(
            status,
            tuple([(name, value) for name, value in self._start.get("headers", ())]),
            NO_BODY if bodiless else None if more else size,
            self.version,
            self.keep_alive and not self.server.draining,
            int(time.time()),
            self.server.server_name,
        )
        return lines

    def finish(self) -> None:
        """End the answer, as if it had been all."""
        if self.finished or (connection := self._connection) is None:
            return
        if not self._complete:
            self._write(b"", more=False)
            return
        counters.add(counters.responses, self._status)
        self._log()
        self._end()
        connection.answered(self.keep_alive)

    def _end(self) -> None:
        self.finished = True
        self._connection = None
        self.stopProducing()
        self._put({"type": "http.disconnect"})
        self._inbox = None
        self.server.protocol_disconnected(self)

    def _log(self) -> None:
        if self.server.action_logger is None:
            return
        details = {
            "path": self.path,
            "status": self._status,
            "method": self.method,
            "client": client_shown(self.client_addr),
            "time_taken": time.time() - self._began,
            "size": self._sent,
        }
        self.server.log_action("http", "complete", details)

    # Its end

    def disconnected(self) -> None:
        """Tell the application that the client is gone."""
        if not self.finished:
            self._end()

    def abort(self) -> None:
        """Cut the client off: what is half done must not look whole."""
        if self._connection is not None:
            self._connection.transport.abortConnection()

    def end(self, application: asyncio.Future[Any]) -> None:
        """End a stream of events, whose client will come again; other responses are finished."""
        if self._endless or self.finished:
            self.finish()
            application.cancel()

    def application_ended(self, error: BaseException | None) -> None:
        """Answer if the application has not."""
        if self.finished:
            return
        if self._written:
            self.abort()
        else:
            self._answer(500, "internal server error")

    def check_timeouts(self) -> None:
        limit = self.server.http_timeout
        if self.finished or not limit or time.time() - self._began <= limit:
            return
        if not self._written:
            self._answer(503, "the application did not answer in time")
        elif self._endless:
            self.finish()
        else:
            self.abort()


def client_shown(client: list[Any] | None) -> str | None:
    """Return a client as daphne's access log shows it."""
    return None if client is None else f"{client[0]}:{client[1]}"


def _is_stream(start: dict[str, Any]) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in start.get("headers", ())
    )


class _Head(NamedTuple):
    """First line and headers of an answer, and what they mean for the connection."""

    lines: bytes
    keep_alive: bool
    chunked: bool


def _make_head(
    status: int,
    headers: tuple[tuple[bytes, bytes], ...],
    size: int | None,
    version: str,
    keep_alive: bool,
    now: int,
    server_name: str,
) -> _Head:
    """
    Return the head of an answer that has these headers, and those that it needs.

    Args:
        size: Of the body; None if more of it follows, NO_BODY if there is none.
        version: That of the request's HTTP.
        now: The time in seconds.

    Raises:
        ValueError: If a header has a line break.
    """
    names = {name.lower(): value for name, value in headers}
    added: list[tuple[bytes, bytes]] = []
    chunked = False
    if b"content-length" not in names and size != NO_BODY:
        if size is not None:
            added.append((b"Content-Length", b"%d" % size))
        elif version == "1.1":
            chunked = True
            added.append((b"Transfer-Encoding", b"chunked"))
        else:
            keep_alive = False
    if names.get(b"connection", b"").lower() == b"close":
        keep_alive = False
    if b"connection" not in names and (not keep_alive or version == "1.0"):
        added.append((b"Connection", b"keep-alive" if keep_alive else b"close"))
    if b"date" not in names:
        added.append((b"Date", _date(now)))
    if server_name and b"server" not in names:
        added.append((b"Server", server_name.encode()))
    lines = b"".join([b"%b: %b\r\n" % pair for pair in (*headers, *added)])
    if not lines.count(b"\r") == lines.count(b"\n") == len(headers) + len(added):
        raise ValueError("a header of the answer has a line break")
    return _Head(b"%b%b\r\n" % (_status_line(status), lines), keep_alive, chunked)


#: The same, of answers that are much the same, second by second; they have no cookies.
_same_head: Final = lru_cache(maxsize=256)(_make_head)


@lru_cache(maxsize=128)
def _status_line(status: int) -> bytes:
    reason = _REASONS.get(status) or responses.get(status, "Unknown")
    return f"HTTP/1.1 {status} {reason}\r\n".encode()


@lru_cache(maxsize=2)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()


def answer(status: int, detail: str) -> bytes:
    """Return a response that is the last on its connection."""
    body = json.dumps({"detail": detail})
    again = f"Retry-After: {RETRY_SECONDS}\r\n" if status == 503 else ""
    headers = (
        f"Content-Type: application/json\r\n{again}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    )
    return _status_line(status) + headers.encode()
