"""The clients of the load generator: STOMP over picows, keep-alive HTTP, and bare Redis."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from picows import WSFrame, WSListener, WSMsgType, WSParsedURL, WSTransport, ws_connect

#: How long nothing may come before the measurement has failed.
PATIENCE: Final = 30

HEADERS: Final = {"Sec-WebSocket-Protocol": "v12.stomp"}

#: One source address has 28 000 ports; these take turns.
_SOURCES: Final = itertools.cycle([f"127.0.0.{number}" for number in range(1, 65)])


class Failed(Exception):
    """A measurement that did not do what it measures; the text says what went wrong."""


class StompClient(WSListener):
    """
    One session. It counts MESSAGEs and keeps the last; other frames wait for ``expect``.

    ``heard`` is called with each MESSAGE and ``received`` at each RECEIPT, where they are set.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.last = b""
        self.receipts = 0
        self.heard: Callable[[bytes], None] | None = None
        self.received: Callable[[], None] | None = None
        self.error = b""
        self.transport: WSTransport = None
        self._others: asyncio.Queue[bytes] = asyncio.Queue()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if payload[:1] == b"M":
            self.messages += 1
            self.last = payload
            if self.heard is not None:
                self.heard(payload)
        elif payload[:1] == b"R" and self.received is not None:
            self.receipts += 1
            self.received()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY) and payload != b"\n":
            if payload[:1] == b"E":
                self.error = payload
            self._others.put_nowait(payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.error = self.error or b"the server closed the connection"
        self._others.put_nowait(self.error)

    def write(self, frame: bytes) -> None:
        self.transport.send(WSMsgType.TEXT, frame)

    async def expect(self, command: bytes) -> None:
        payload = await asyncio.wait_for(self._others.get(), PATIENCE)
        if not payload.startswith(command):
            raise Failed(f"{payload[:300]!r} came where {command.decode()} was due")

    async def subscribe(self, destination: str, name: str = "s") -> None:
        frame = f"SUBSCRIBE\nid:{name}\ndestination:{destination}\nreceipt:{name}\n\n\0"
        self.write(frame.encode())
        await self.expect(b"RECEIPT")

    def stop_reading(self) -> None:
        self.transport.underlying_transport.pause_reading()

    def read_on(self) -> None:
        """Read again, and with a buffer that lets what has piled up come soon."""
        transport = self.transport.underlying_transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        transport.resume_reading()

    def close(self) -> None:
        self.transport.disconnect()


def small_socket(url: WSParsedURL) -> socket.socket:
    """Return a socket that takes little before it is full."""
    client = _socket_from(next(_SOURCES))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return client


def roomy_socket(url: WSParsedURL) -> socket.socket:
    return _socket_from(next(_SOURCES))


def _socket_from(address: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    client.bind((address, 0))
    client.setblocking(False)
    return client


async def connect(url: str, headers: dict[str, str], *, small: bool = False) -> StompClient:
    """Return a client that is CONNECTED."""
    transport, client = await ws_connect(
        StompClient,
        url,
        extra_headers=HEADERS,
        socket_factory=small_socket if small else roomy_socket,
        websocket_handshake_timeout=PATIENCE,
        read_buffer_init_size=4096,
    )
    client.transport = transport
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    client.write(f"CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n{lines}\n\0".encode())
    await client.expect(b"CONNECTED")
    return client


class HttpClient(asyncio.Protocol):
    """One keep-alive connection that sends the same request again and again, until stopped."""

    def __init__(self, url: str, content: Any, token: str = "") -> None:
        self.url = urlsplit(url)
        body = json.dumps(content).encode()
        authorization = f"Authorization: Token {token}\r\n" if token else ""
        self.request = (
            f"POST {self.url.path} HTTP/1.1\r\nHost: localhost:{self.url.port}\r\n"
            f"Content-Type: application/json\r\nAccept: application/json\r\n"
            f"{authorization}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.buffer = b""
        self.answered = 0
        self.stopped = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, self.url.hostname, self.url.port)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        status, self.buffer = head.split(b" ", 2)[1], b""
        if status not in (b"200", b"202", b"207"):
            self._end(Failed(f"HTTP {status.decode()}: {body[:200].decode(errors='replace')}"))
            return
        self.answered += 1
        if self.stopped:
            self._end()
        else:
            self.transport.write(self.request)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(Failed("the server closed an HTTP connection"))

    def _end(self, error: Exception | None = None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
            self.ended.exception()  # one failure is reported, not one for each connection
        self.transport.close()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise Failed("an HTTP answer without content-length: give it one")


class RedisClient(asyncio.Protocol):
    """Sends inline or encoded commands and counts the lines that come back with a marker."""

    def __init__(self, marker: bytes) -> None:
        self.marker = marker
        self.count = 0
        self._tail = b""

    async def start(self, url: str) -> None:
        address = urlsplit(url)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, address.hostname, address.port)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        self.count += data.count(self.marker)
        self._tail = data[-len(self.marker) + 1 :] if len(self.marker) > 1 else b""

    def command(self, *parts: bytes) -> None:
        self.transport.write(encode_command(*parts))


def encode_command(*parts: bytes) -> bytes:
    arguments = [b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"*%d\r\n" % len(parts) + b"".join(arguments)


class Publisher:
    """
    SENDs to the destinations in turn, each with a receipt, as many as the window allows.

    What waits is bounded twice: by receipts, and by what ``delivered`` says has arrived, for a
    RECEIPT may come long before the MESSAGE.
    """

    def __init__(
        self,
        client: StompClient,
        destinations: list[str],
        *,
        size: int,
        window: int,
        delivered: Callable[[], int] | None = None,
    ) -> None:
        self.client = client
        self.heads = deque(f"SEND\ndestination:{each}\nreceipt:".encode() for each in destinations)
        self.padding = b"x" * (size - 8)
        self.window = window
        self.delivered = delivered or (lambda: client.receipts)
        self.sent = 0
        self.stopped = False
        client.received = self.pump

    def pump(self) -> None:
        """Send what the window has room for; call it whenever something arrived."""
        limit = min(self.client.receipts, self.delivered()) + self.window
        while self.sent < limit and not self.stopped:
            frame = b"%b%d\n\n%08d%b\0" % (self.heads[0], self.sent, self.sent, self.padding)
            self.heads.rotate(-1)
            self.sent += 1
            self.client.write(frame)
