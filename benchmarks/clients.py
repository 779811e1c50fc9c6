"""The clients of the load generator: STOMP and Centrifugo's JSON by picows, HTTP, bare Redis."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from picows import (
    WSError,
    WSFrame,
    WSListener,
    WSMsgType,
    WSParsedURL,
    WSTransport,
    ws_connect,
)

#: How long nothing may come before the measurement has failed.
PATIENCE: Final = 30

#: What a WebSocket message to Spring may have at most: longer frames come in pieces.
SPRING_MESSAGE_BYTES: Final = 8192

#: One source address has 28 000 ports; these take turns.
_SOURCES: Final = itertools.cycle([f"127.0.0.{number}" for number in range(1, 65)])


class Failed(Exception):
    """A measurement that did not do what it measures; the text says what went wrong."""


class Client(WSListener):
    """
    One session. It counts messages and keeps the last; other answers wait for ``expect``.

    ``heard`` is called with each message and ``received`` at each answer to a message that was
    sent, where they are set.
    """

    #: The subprotocol of the WebSocket.
    protocol: ClassVar[str]
    #: What stands before the body of a message.
    body_after: ClassVar[bytes]
    #: Whether the server answers what is sent, so that one knows that it was taken.
    answered: ClassVar[bool] = True

    def __init__(self) -> None:
        self.messages = 0
        self.last = b""
        self.heard: Callable[[bytes], None] | None = None
        self.received: Callable[[], None] | None = None
        self.error = b""
        #: After which a subscription goes on, as :meth:`resume` was told.
        self.position: Any = None
        self.transport: WSTransport = None
        self._others: asyncio.Queue[bytes] = asyncio.Queue()

    async def log_in(self, headers: dict[str, str]) -> None:
        raise NotImplementedError

    async def subscribe(self, destination: str, name: str = "s") -> None:
        raise NotImplementedError

    async def resume(self, destination: str, position: Any = None) -> None:
        """Subscribe and go on after a position of another client, if there is one."""
        raise NotImplementedError

    def send(self, destination: str, body: bytes, number: int | None = None) -> None:
        """Send a message to a topic; with a number, its answer is asked for."""
        raise NotImplementedError

    def body(self, message: bytes) -> bytes:
        """Return the body of a message, and what may come after it."""
        return message[message.index(self.body_after) + len(self.body_after) :]

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.error = self.error or b"the server closed the connection"
        self._others.put_nowait(self.error)

    def write(self, frame: bytes) -> None:
        self.transport.send(WSMsgType.TEXT, frame)

    async def expect(self, start: bytes) -> bytes:
        payload = await asyncio.wait_for(self._others.get(), PATIENCE)
        if not payload.startswith(start):
            raise Failed(f"{payload[:300]!r} came where {start.decode()} was due")
        return payload

    def stop_reading(self) -> None:
        self.transport.underlying_transport.pause_reading()

    def read_on(self) -> None:
        """Read again, and with a buffer that lets what has piled up come soon."""
        transport = self.transport.underlying_transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        transport.resume_reading()

    def close(self) -> None:
        self.transport.disconnect()

    def cut(self) -> None:
        """End the connection at once, as where the network does."""
        self.transport.disconnect(graceful=False)


class StompClient(Client):
    protocol = "v12.stomp"
    body_after = b"\n\n"

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if payload[:1] == b"M":
            self.messages += 1
            self.last = payload
            if self.heard is not None:
                self.heard(payload)
        elif payload[:1] == b"R" and self.received is not None:
            self.received()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY) and payload != b"\n":
            if payload[:1] == b"E":
                self.error = payload
            self._others.put_nowait(payload)

    async def log_in(self, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        connect = f"CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n{lines}\n\0"
        self.write(connect.encode())
        await self.expect(b"CONNECTED")

    async def subscribe(self, destination: str, name: str = "s") -> None:
        frame = f"SUBSCRIBE\nid:{name}\ndestination:{destination}\nreceipt:{name}\n\n\0"
        self.write(frame.encode())
        await self.expect(b"RECEIPT")

    async def resume(self, destination: str, position: Any = None) -> None:
        after = f"last-message-id:{position}\n" if position else ""
        self.write(f"SUBSCRIBE\nid:s\ndestination:{destination}\nreceipt:s\n{after}\n\0".encode())
        receipt = await self.expect(b"RECEIPT")
        self.position = receipt.partition(b"\nposition:")[2].partition(b"\n")[0].decode()

    def send(self, destination: str, body: bytes, number: int | None = None) -> None:
        receipt = b"" if number is None else b"\nreceipt:%d" % number
        self.write(b"SEND\ndestination:%b%b\n\n%b\0" % (destination.encode(), receipt, body))


class SpringClient(StompClient):
    """Of Spring's simple broker, which has no receipts, and takes a long frame in pieces."""

    answered = False

    def send(self, destination: str, body: bytes, number: int | None = None) -> None:
        super().send(destination, body)

    def write(self, frame: bytes) -> None:
        for start in range(0, len(frame), SPRING_MESSAGE_BYTES):
            super().write(frame[start : start + SPRING_MESSAGE_BYTES])


class CentrifugoClient(Client):
    """
    Of Centrifugo, in its JSON: a command in a message; answers and pushes, one a line, in another.
    """

    protocol = "centrifuge-json"
    body_after = b'"data":"'

    #: Commands whose answers ``expect`` waits for; those of messages have higher numbers.
    CONNECT, SUBSCRIBE, SENT = 1, 2, 3

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        for line in frame.get_payload_as_bytes().split(b"\n"):
            if b'"pub":{' in line:
                self.messages += 1
                self.last = line
                if self.heard is not None:
                    self.heard(line)
            elif b'"publish":{' in line:
                if self.received is not None:
                    self.received()
            elif line == b"{}":  # a ping
                self.write(line)
            elif line:
                if b'"error":{' in line or line.startswith(b'{"push"'):
                    self.error = line
                self._others.put_nowait(line)

    async def log_in(self, headers: dict[str, str]) -> None:
        self._command(self.CONNECT, "connect", headers)
        await self.expect(b'{"id":%d,"connect":' % self.CONNECT)

    async def subscribe(self, destination: str, name: str = "s") -> None:
        self._command(self.SUBSCRIBE, "subscribe", {"channel": centrifugo_channel(destination)})
        await self.expect(b'{"id":%d,"subscribe":' % self.SUBSCRIBE)

    async def resume(self, destination: str, position: Any = None) -> None:
        channel = {"channel": centrifugo_channel(destination), "recoverable": True}
        after = {"recover": True, **position} if position else {}
        self._command(self.SUBSCRIBE, "subscribe", {**channel, **after})
        answer = await self.expect(b'{"id":%d,"subscribe":' % self.SUBSCRIBE)
        result = json.loads(answer)["subscribe"]
        self.messages += len(result.get("publications", ()))  # what was missed is in the answer
        self.position = {"epoch": result["epoch"], "offset": result.get("offset", 0)}

    def send(self, destination: str, body: bytes, number: int | None = None) -> None:
        channel = centrifugo_channel(destination).encode()
        self.write(
            b'{"id":%d,"publish":{"channel":"%b","data":"%b"}}'
            % (self.SENT + (number or 0), channel, body)
        )

    def _command(self, number: int, name: str, options: dict[str, str]) -> None:
        self.write(json.dumps({"id": number, name: options}).encode())


def centrifugo_channel(destination: str) -> str:
    """Return the channel that is a topic: ``/topic/news`` is ``news`` of the namespace topic."""
    return destination.removeprefix("/").replace("/", ":", 1)


#: By the name that a server has for its protocol.
CLIENTS: Final[dict[str, type[Client]]] = {
    "stomp": StompClient,
    "spring": SpringClient,
    "centrifugo": CentrifugoClient,
}


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


async def connect(
    url: str, headers: dict[str, str], *, protocol: str = "stomp", small: bool = False
) -> Client:
    """Return a client that is connected, and logged in."""
    kind = CLIENTS[protocol]
    try:
        transport, client = await ws_connect(
            kind,
            url,
            extra_headers={"Sec-WebSocket-Protocol": kind.protocol},
            socket_factory=small_socket if small else roomy_socket,
            websocket_handshake_timeout=PATIENCE,
            read_buffer_init_size=4096,
        )
    except WSError as error:
        raise Failed(f"the handshake failed: {error}") from error
    client.transport = transport
    await client.log_in(headers)
    return client


class HttpClient(asyncio.Protocol):
    """
    One keep-alive connection that sends a request when it starts, and again at each :meth:`post`.

    ``answered`` is called at each answer; :meth:`stop` lets the last one come, and then ends it.
    """

    def __init__(
        self,
        url: str,
        content: Any,
        headers: dict[str, str],
        answered: Callable[[HttpClient], None],
    ) -> None:
        self.url = urlsplit(url)
        body = json.dumps(content).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.request = (
            f"POST {self.url.path} HTTP/1.1\r\nHost: localhost:{self.url.port}\r\n"
            f"Content-Type: application/json\r\nAccept: application/json\r\n"
            f"{lines}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.buffer = b""
        self.answered = answered
        self.under_way = False
        self.stopped = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, self.url.hostname, self.url.port)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.post()

    def post(self) -> None:
        """Send the request, unless it is stopped."""
        if not self.stopped:
            self.under_way = True
            self.transport.write(self.request)

    def stop(self) -> None:
        self.stopped = True
        if not self.under_way:
            self._end()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator or not _is_whole(head, body):
            return
        status, self.buffer = head.split(b" ", 2)[1], b""
        if status not in (b"200", b"202", b"207") or b'"error"' in body:
            self._end(Failed(f"HTTP {status.decode()}: {body[:200].decode(errors='replace')}"))
            return
        self.under_way = False
        self.answered(self)
        if self.stopped:
            self._end()

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


def _is_whole(head: bytes, body: bytes) -> bool:
    """Return whether an answer has all of its body, by its length or its last chunk."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
        if line.startswith(b"transfer-encoding:"):
            return body.endswith(b"0\r\n\r\n")
    raise Failed("an HTTP answer that does not say how long it is")


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
    Sends to the destinations in turn, by one client or by several in turn, as many messages as the
    window allows.

    What waits is bounded twice: by answers (a RECEIPT), where the server has any, and by what
    ``delivered`` says has arrived, for a RECEIPT may come long before the MESSAGE.
    """

    def __init__(
        self,
        clients: list[Client],
        destinations: list[str],
        *,
        size: int,
        window: int,
        delivered: Callable[[], int] | None = None,
    ) -> None:
        self.clients = deque(clients)
        self.destinations = deque(destinations)
        self.padding = b"x" * (size - 8)
        self.window = window
        self.delivered = delivered or (lambda: self.taken)
        self.answered = all(client.answered for client in clients)
        self.answers = 0
        self.sent = 0
        self.stopped = False
        for client in clients:
            client.received = self._received

    @property
    def taken(self) -> int:
        """How many messages the server has said that it took; where it says nothing, all."""
        return self.answers if self.answered else self.sent

    def pump(self) -> None:
        """Send what the window has room for; call it whenever something arrived."""
        limit = min(self.taken, self.delivered()) + self.window
        while self.sent < limit and not self.stopped:
            body = b"%08d%b" % (self.sent, self.padding)
            self.clients[0].send(self.destinations[0], body, self.sent)
            self.clients.rotate(-1)
            self.destinations.rotate(-1)
            self.sent += 1

    def _received(self) -> None:
        self.answers += 1
        self.pump()
