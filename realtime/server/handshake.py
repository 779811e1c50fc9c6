"""The opening handshake of a WebSocket, from the server's side: RFC 6455, section 4.2."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable
from hashlib import sha1
from http.client import responses
from typing import Any, Final

from .http import GatewayRequest

VERSION: Final = b"13"

#: What a client may say once: more of it could be read in more than one way.
_ONCE: Final = (b"host", b"origin", b"sec-websocket-key", b"sec-websocket-version")

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Headers = Iterable[tuple[bytes, bytes]]


class HandshakeRefused(Exception):
    """What a WebSocket is answered with instead."""

    def __init__(self, status: int, reason: str, headers: Headers = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


def check(request: GatewayRequest) -> None:
    """
    Check what a client asks for.

    Raises:
        HandshakeRefused: If that can't become a WebSocket.
    """
    if request.method != "GET":
        headers = [(b"Allow", b"GET")]
        raise HandshakeRefused(405, f"a WebSocket begins with GET, not {request.method}", headers)
    if request.version != "1.1":
        raise HandshakeRefused(400, "a WebSocket begins with HTTP/1.1")
    names = [name for name, _ in request.headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise HandshakeRefused(400, f"the header {name.decode()} is there twice")
    if b"host" not in names:
        raise HandshakeRefused(400, "the header host is missing")
    if request.header(b"content-length").strip(b"0") or b"transfer-encoding" in names:
        raise HandshakeRefused(400, "a WebSocket begins without a body")
    _check_version(request.header(b"sec-websocket-version"))
    _check_key(request.header(b"sec-websocket-key"))
    protocols = offered(request)
    if len(set(protocols)) != len(protocols):
        raise HandshakeRefused(400, "a sub-protocol is offered twice")


def _check_version(version: bytes) -> None:
    if version != VERSION:
        headers = [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", VERSION)]
        raise HandshakeRefused(426, f"sec-websocket-version has to be {VERSION.decode()}", headers)


def _check_key(key: bytes) -> None:
    try:
        valid = len(b64decode(key, validate=True)) == 16
    except Error:
        valid = False
    if not valid:
        raise HandshakeRefused(400, "sec-websocket-key has to be 16 bytes in base64")


def offered(request: GatewayRequest) -> list[str]:
    """Return the sub-protocols that a client offers, the best first."""
    names = request.header(b"sec-websocket-protocol").decode("latin-1").split(",")
    return [name.strip() for name in names if name.strip()]


def accepted(key: bytes, protocol: str | None, more: Headers, server_name: str) -> bytes:
    """Return the answer by which a connection becomes a WebSocket; section 4.2.2."""
    proof = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    headers = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
    headers.append((b"Sec-WebSocket-Accept", proof))
    if protocol is not None:
        headers.append((b"Sec-WebSocket-Protocol", protocol.encode()))
    if server_name:
        headers.append((b"Server", server_name.encode()))
    return _joined(b"HTTP/1.1 101 Switching Protocols", [*headers, *more])


def denied(refused: HandshakeRefused) -> bytes:
    """Return the answer by which it does not."""
    body = f"{refused.reason}\n".encode()
    headers: list[Any] = [
        *refused.headers,
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Connection", b"close"),
    ]
    line = f"HTTP/1.1 {refused.status} {responses.get(refused.status, 'Refused')}"
    return _joined(line.encode(), headers) + body


def _joined(line: bytes, headers: Headers) -> bytes:
    lines = [line, *(b"%b: %b" % pair for pair in headers), b"\r\n"]
    if any(b"\r" in each or b"\n" in each for each in lines[:-1]):
        raise ValueError("a header of the answer has a line break")
    return b"\r\n".join(lines)
