"""Doors: the ways into a gateway, in the process of the test; each says what became of a client."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlencode

from asgiref.testing import ApplicationCommunicator

from gateway.asgi import application
from realtime.consumers import StompConsumer
from realtime.stomp import Frame, FrameDecoder, encode
from realtime.testing.client import TIMEOUT
from realtime.testing.local import Socket

#: Whether a client is in, or not, or not now.
Outcome = Literal["in", "refused", "unavailable"]

CSRF: Final = "c" * 32


@dataclass(frozen=True)
class Brought:
    """
    What a client brings.

    Args:
        connect: Headers of CONNECT.
        http: Headers of the HTTP request.
        query: Of its URL.
        secrets: What must not be seen anywhere.
    """

    connect: dict[str, str] = field(default_factory=dict)
    http: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """What became of a client, and all that it was told."""

    outcome: Outcome
    text: str


async def connect(brought: Brought) -> Entry:
    """CONNECT, with the credentials in its headers."""
    return await _stomp(brought.connect, {}, {})


async def upgrade(brought: Brought) -> Entry:
    """CONNECT, with the credentials in the HTTP request before it."""
    return await _stomp({}, brought.http, brought.query)


async def events(brought: Brought) -> Entry:
    """Listen to server-sent events."""
    query = {"topic": "/topic/a", **brought.query}
    return await _http("GET", "/api/events", query, brought.http, b"")


async def api(brought: Brought) -> Entry:
    """Publish a notification."""
    body = json.dumps({"topic": "/topic/a", "message": "hello"}).encode()
    headers = {"content-type": "application/json", "content-length": f"{len(body)}"}
    headers |= brought.http
    return await _http("POST", "/api/notification", brought.query, headers, body)


Door = Callable[[Brought], Awaitable[Entry]]
DOORS: Final[tuple[Door, ...]] = (connect, upgrade, events, api)


async def _stomp(headers: dict[str, str], http: dict[str, str], query: dict[str, str]) -> Entry:
    http = {"host": "localhost", **http}
    path = f"/stomp?{urlencode(query)}" if query else "/stomp"
    socket = Socket(StompConsumer.as_asgi(), path, http, ["v12.stomp"])
    await socket.connect()
    frame = Frame("CONNECT", {"accept-version": "1.2", **headers})
    await socket.send_to(text_data=encode(frame, "1.2").decode())
    text = (await socket.receive_output())["text"]
    if text.startswith("CONNECTED"):
        await socket.disconnect()
        return Entry("in", text)
    close = await socket.receive_output()
    await socket.disconnect()
    return Entry(_refusal(text, close["code"]), f"{text}{close}")


def _refusal(text: str, close: int) -> Outcome:
    decoder = FrameDecoder()
    decoder.receive_data(text.encode())
    frame = decoder.next_frame()
    assert frame is not None
    assert frame.command == "ERROR"
    if close == 1008:
        assert frame.headers["code"] in ("authentication-failed", "login-required")
        return "refused"
    assert (frame.headers["code"], close) == ("unavailable", 4001), text
    assert int(frame.headers["retry-after"]) > 0
    return "unavailable"


async def _http(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> Entry:
    headers = {"host": "localhost", **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": urlencode(query).encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 7),
    }
    request = ApplicationCommunicator(application, scope)
    await request.send_input({"type": "http.request", "body": body})
    start = await request.receive_output(TIMEOUT)
    said = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    answer = (await request.receive_output(TIMEOUT))["body"].decode()
    await request.send_input({"type": "http.disconnect"})
    await request.wait(TIMEOUT)
    return Entry(_outcome(start["status"], said, answer), f"{said}{answer}")


def _outcome(status: int, headers: dict[str, Any], answer: str) -> Outcome:
    if status in (200, 202):
        return "in"
    if status == 503:
        assert int(headers["retry-after"]) > 0
        return "unavailable"
    assert status == 401, (status, answer)
    assert headers["www-authenticate"] == "Bearer"
    return "refused"
