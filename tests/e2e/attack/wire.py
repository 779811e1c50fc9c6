"""Wire: raw WebSocket and HTTP connections from any loopback address."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, Final, Self

CONTINUATION: Final = 0
TEXT: Final = 1
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

HOST: Final = "127.0.0.1"

#: Seconds after which something that does not come never will.
PATIENCE: Final = 60.0

#: What an attacker's kernel takes: little, so that it is soon seen that nobody reads.
SEND_BUFFER: Final = 64 * 1024

Heard = Callable[[bytes], None]


class Refused(Exception):
    """The gateway said no: an HTTP status, or the code of an ERROR."""


def frame(payload: bytes = b"", opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Return a frame of a client, with a mask of zeroes: it changes nothing, and costs nothing."""
    first, size = opcode | (0x80 if final else 0), len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def stomp(command: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return a STOMP frame; its headers need no escapes."""
    lines = "".join(f"{name}:{value}\n" for name, value in (headers or {}).items())
    return f"{command}\n{lines}\n".encode() + body + b"\0"


def header(payload: bytes, name: str) -> str:
    """Return a header of a STOMP frame, "" if it has none."""
    head = payload.partition(b"\n\n")[0].decode()
    for line in head.split("\n")[1:]:
        if line.startswith(f"{name}:"):
            return line[len(name) + 1 :]
    return ""


async def connect(protocol: asyncio.Protocol, port: int, source: str) -> None:
    """Connect a protocol from an address of this machine."""
    sock = socket.socket()
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.bind((source, 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (HOST, port))
        await loop.create_connection(lambda: protocol, sock=sock)
    except BaseException:
        sock.close()
        raise


class Connection(asyncio.Protocol):
    """A TCP connection that can wait until what was written is taken; it keeps what comes."""

    transport: Any = None

    def __init__(self) -> None:
        self.data = bytearray()
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._came = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=SEND_BUFFER)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self._writable.set()
        self._came.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._came.set()

    def write(self, data: bytes) -> None:
        if not self.ended.done():
            self.transport.write(data)

    async def taken(self) -> float:
        """Wait until what was written is with the kernel; return how many seconds that took."""
        began = time.monotonic()
        await self._writable.wait()
        await asyncio.sleep(0)
        return time.monotonic() - began

    async def came(self) -> None:
        """Wait until there is more data, or the end."""
        self._came.clear()
        if not self.ended.done():
            await self._came.wait()

    async def head(self) -> bytes:
        """
        Take the head of an HTTP answer.

        Raises:
            ConnectionResetError: If none comes.
        """
        while (end := self.data.find(b"\r\n\r\n")) < 0:
            if self.ended.done():
                raise ConnectionResetError("the gateway ended the connection")
            await self.came()
        head = bytes(self.data[:end])
        del self.data[: end + 4]
        return head

    async def body(self, size: int) -> bytes:
        """Take the body of an HTTP answer."""
        while len(self.data) < size and not self.ended.done():
            await self.came()
        body = bytes(self.data[:size])
        del self.data[:size]
        return body


async def open_http(port: int, source: str) -> Connection:
    connection = Connection()
    await connect(connection, port, source)
    return connection


class WebSocket(Connection):
    """
    A WebSocket to the gateway; what comes goes to ``heard``, one STOMP frame a call.

    ``code`` is that of the close frame, once there was one.
    """

    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self.heard = heard
        self._open = False
        self.code: int | None = None
        #: Of this second: since when it is, and how long what was written was not taken.
        self.looked_at = time.monotonic()
        self.waited = 0.0

    async def handshake(self, port: int, path: str = "/stomp") -> None:
        self.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n".encode()
        )
        status = (await self.head()).split(b" ", 2)[1].decode()
        if status != "101":
            raise Refused(f"HTTP {status}")
        self._open = True
        self.data_received(b"")  # what came with it

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        while self._open and self._take_frame():
            pass

    def _take_frame(self) -> bool:
        data = self.data
        if len(data) < 2:
            return False
        size, at = data[1], 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + size:
            return False
        opcode, payload = data[0] & 0x0F, bytes(data[at : at + size])
        del data[: at + size]
        self._frame(opcode, payload)
        return True

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self.code = int.from_bytes(payload[:2], "big") if payload else 1005
            self.write(frame(payload[:2], CLOSE))
        elif opcode == PING:
            self.write(frame(payload, PONG))
        elif opcode < CLOSE and payload != b"\n":
            self.heard(payload)

    def send(self, payload: bytes) -> None:
        self.write(frame(payload))


async def open_websocket(port: int, source: str, heard: Heard) -> WebSocket:
    """
    Return an open WebSocket.

    Raises:
        Refused: If the gateway does not open it.
    """
    websocket = WebSocket(heard)
    await connect(websocket, port, source)
    try:
        await websocket.handshake(port)
    except BaseException:
        websocket.transport.abort()
        raise
    return websocket


class Inbox:
    """What was heard and not taken; ERROR frames raise."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.websocket: WebSocket | None = None

    def put(self, payload: bytes) -> None:
        self._frames.put_nowait(payload)

    async def get(self) -> bytes:
        """
        Take the next frame.

        Raises:
            Refused: If it is an ERROR; its text is the code, and what it says of a retry.
            ConnectionResetError: If the WebSocket ends first.
        """
        assert self.websocket is not None
        getting = asyncio.ensure_future(self._frames.get())
        try:
            await asyncio.wait({getting, self.websocket.ended}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                raise ConnectionResetError(f"closed, {self.websocket.code}")
        finally:
            if not getting.done():
                getting.cancel()
        payload = getting.result()
        if payload.startswith(b"ERROR"):
            raise Refused(header(payload, "code"), header(payload, "retry-after"))
        return payload


async def open_stomp(
    port: int, source: str, login: dict[str, str], heard: Heard | None = None
) -> tuple[WebSocket, Inbox]:
    """
    Return a session that is CONNECTED, and what comes for it unless ``heard`` gets it.

    Raises:
        Refused: If the gateway does not let it in.
        ConnectionResetError: If it ends without a word.
    """
    inbox = Inbox()
    websocket = inbox.websocket = await open_websocket(port, source, inbox.put)
    try:
        connect_headers = {"accept-version": "1.2", "heart-beat": "0,0", **login}
        websocket.send(stomp("CONNECT", connect_headers))
        await inbox.get()
    except BaseException:
        websocket.transport.abort()
        raise
    if heard is not None:
        websocket.heard = heard
    return websocket, inbox
