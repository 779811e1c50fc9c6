"""
The floor: a server that only sends, in C, what a gateway would have to send::

    python -m benchmarks.floor PORT LIBRARY

It answers every client alike (CONNECTED, one RECEIPT), and each SEND with one MESSAGE to every
subscriber and a RECEIPT. ``LIBRARY`` is floor.c, compiled. What runs in Python runs once per
SEND, not once per delivery.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import selectors
import socket
import sys
from typing import Final

WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: With the gateway's headers, so that a delivery has as many bytes.
MESSAGE: Final = (
    b"MESSAGE\ndestination:/topic/fan-out\nmessage-id:0123456789ab-1234\n"
    b"content-length:%d\nsubscription:s\n\n%b\0"
)


def websocket_frame(payload: bytes) -> bytes:
    size = len(payload)
    head = b"\x81" + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big"))
    return head + payload


def unmasked(payload: bytes, mask: bytes) -> bytes:
    whole = mask * (len(payload) // 4 + 1)
    number = int.from_bytes(payload, "big") ^ int.from_bytes(whole[: len(payload)], "big")
    return number.to_bytes(len(payload), "big")


class Client:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = b""
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shake_hands()

    def _shake_hands(self) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = self.connection.recv(4096)
            if not data:
                raise ConnectionError("gone before the handshake")
            request += data
        key = request.lower().index(b"sec-websocket-key:") + len(b"sec-websocket-key:")
        value = request[key:].split(b"\r\n", 1)[0].strip()
        accept = base64.b64encode(hashlib.sha1(value + WEBSOCKET_GUID).digest())
        self.connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.connection.sendall(websocket_frame(b"CONNECTED\nversion:1.2\n\n\0"))

    def read(self) -> list[bytes] | None:
        """Return the messages that came, or None at the end."""
        data = self.connection.recv(1 << 16)
        self.buffer += data
        messages = []
        while (message := self._next_message()) is not None:
            messages.append(message)
        return messages if data else None

    def _next_message(self) -> bytes | None:
        if len(self.buffer) < 8:
            return None
        size, start = self.buffer[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(self.buffer[2:4], "big"), 4
        end = start + 4 + size
        if len(self.buffer) < end:
            return None
        message = unmasked(self.buffer[start + 4 : end], self.buffer[start : start + 4])
        self.buffer = self.buffer[end:]
        return message

    def receipt(self) -> None:
        self.connection.sendall(websocket_frame(b"RECEIPT\nreceipt-id:r\n\n\0"))


class Floor:
    def __init__(self, port: int, compiled: str) -> None:
        self.native = ctypes.CDLL(compiled)
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.subscribers: list[Client] = []
        self.sockets = (ctypes.c_int * 0)()

    def serve(self) -> None:
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.data)

    def _accept(self) -> None:
        with contextlib.suppress(ConnectionError):
            client = Client(self.listener.accept()[0])
            self.selector.register(client.connection, selectors.EVENT_READ, client)

    def _read(self, client: Client) -> None:
        try:
            messages = client.read()
        except ConnectionError:
            messages = None
        if messages is None:
            self._forget(client)
        for message in messages or ():
            if message.startswith(b"SUBSCRIBE"):
                self._change([*self.subscribers, client])
                client.receipt()
            elif message.startswith(b"SEND"):
                self._deliver(message)
                client.receipt()

    def _forget(self, client: Client) -> None:
        self.selector.unregister(client.connection)
        client.connection.close()
        if client in self.subscribers:
            self._change([each for each in self.subscribers if each is not client])

    def _change(self, subscribers: list[Client]) -> None:
        self.subscribers = subscribers
        self.sockets = (ctypes.c_int * len(subscribers))(
            *(each.connection.fileno() for each in subscribers)
        )

    def _deliver(self, send: bytes) -> None:
        body = send.partition(b"\n\n")[2].rstrip(b"\0")
        frame = websocket_frame(MESSAGE % (len(body), body))
        count = len(self.subscribers)
        if self.native.blast(self.sockets, count, frame, len(frame)) != count:
            raise SystemExit("a subscriber went away while messages were sent: run it again")


if __name__ == "__main__":
    Floor(int(sys.argv[1]), sys.argv[2]).serve()
