"""
A small ASGI application that shows what the server does:
``daphne tests.kit.server_app:application``.

Each path is a function of its own; what an application sees it prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
from typing import Any

import django
from channels.routing import ProtocolTypeRouter
from django.conf import settings

django.setup()  # installs the server, as gateway.asgi does
settings.STOMP_DRAIN_DELAY_SECONDS = float(os.environ.get("STOMP_DRAIN_DELAY_SECONDS", "0"))
settings.STOMP_DRAIN_SECONDS = float(os.environ.get("STOMP_DRAIN_SECONDS", "30"))

CHUNK = b"x" * 65536


def see(*words: object) -> None:
    print(*words, flush=True)


async def accept(receive: Any, send: Any, **more: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", **more})


async def respond(send: Any, body: bytes, status: int = 200, **headers: str) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


# WebSockets


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    see("disconnected", message["code"])
    with contextlib.suppress(TimeoutError):
        see("disconnected twice", await asyncio.wait_for(receive(), 0.5))


async def client_seen(scope: Any, receive: Any, send: Any) -> None:
    await accept(receive, send)
    await send({"type": "websocket.send", "text": scope["client"][0]})
    await receive()


async def crash(scope: Any, receive: Any, send: Any) -> None:
    await accept(receive, send)
    await receive()
    raise RuntimeError("crashed as asked")


async def leave(scope: Any, receive: Any, send: Any) -> None:
    see("root path", repr(scope["root_path"]))
    await accept(receive, send)


async def invent(scope: Any, receive: Any, send: Any) -> None:
    await accept(receive, send, subprotocol="never-offered")


async def slow_accept(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await asyncio.sleep(3)
    await send({"type": "websocket.accept"})


async def flood(scope: Any, receive: Any, send: Any) -> None:
    """Send 200 MiB, as fast as the server takes it."""
    await accept(receive, send)
    for number in range(3200):
        await send({"type": "websocket.send", "bytes": CHUNK})
        if number % 100 == 0:
            see("flooded", number)
    await send({"type": "websocket.close", "code": 1008, "reason": "that was all"})


async def large(scope: Any, receive: Any, send: Any) -> None:
    await accept(receive, send)
    await send({"type": "websocket.send", "bytes": bytes(3 * 2**20)})
    await send({"type": "websocket.send", "text": ""})
    await receive()


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    """Read nothing for three seconds, then count to the message that is empty."""
    await accept(receive, send)
    await asyncio.sleep(3)
    see("listening")
    total = 0
    while data := (await receive()).get("bytes"):
        total += len(data)
    await send({"type": "websocket.send", "text": str(total)})
    await receive()


async def stubborn(scope: Any, receive: Any, send: Any) -> None:
    """Be attached, and ignore all that is said."""
    await accept(receive, send, **{"realtime.attach": lambda transport: None})
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)


async def show(scope: Any, receive: Any, send: Any) -> None:
    """Be attached, and show what comes."""
    await accept(receive, send, **{"realtime.attach": lambda transport: None})
    while (message := await receive())["type"] == "websocket.receive":
        see("came", message["bytes"] if "bytes" in message else message["text"])
    see("gone", message["code"])


def frame(payload: bytes) -> bytes:
    assert 126 <= len(payload) < 65536
    return b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload


async def attach(scope: Any, receive: Any, send: Any) -> None:
    """Write by itself: 16 frames for each message, until it has to wait, and so on."""
    attached: list[Any] = []
    await accept(receive, send, **{"realtime.attach": attached.append})
    [transport] = attached
    resumed = asyncio.Event()
    transport.resume = resumed.set
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
    handle = transport.transport.socket
    see("unsent", handle.getsockopt(socket.IPPROTO_TCP, option))
    see("no delay", bool(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
    try:
        while (await receive())["type"] == "websocket.receive":
            waits = 0
            for number in range(400):
                if not transport.write(frame(number.to_bytes(4, "big") + CHUNK[:32768])):
                    assert transport.buffered > 65536
                    see("waiting")
                    await resumed.wait()
                    resumed.clear()
                    assert transport.buffered == 0
                    waits += 1
            see("waited", waits)
    except asyncio.CancelledError:
        see("cancelled")
        transport.write(frame(b"goodbye".ljust(126)))
        await send({"type": "websocket.close", "code": 1012, "reason": "restart"})
        raise
    assert transport.write(frame(bytes(126))) is True  # does nothing any more
    see("gone")


# HTTP


async def scope_seen(scope: Any, receive: Any, send: Any) -> None:
    seen = {"root_path": scope["root_path"], "client": scope["client"][0]}
    await respond(send, json.dumps(seen).encode())


async def requests(scope: Any, receive: Any, send: Any) -> None:
    """Count the requests that are kept, though they may wait for the garbage collector."""
    kept = sum(type(each).__name__ == "GatewayRequest" for each in gc.get_objects())
    await respond(send, str(kept).encode())


async def websockets(scope: Any, receive: Any, send: Any) -> None:
    """Count the WebSockets that are kept, likewise."""
    kept = sum("GatewayProtocol" in type(each).__name__ for each in gc.get_objects())
    await respond(send, str(kept).encode())


async def body(scope: Any, receive: Any, send: Any) -> None:
    total, more = 0, True
    while more:
        message = await receive()
        total += len(message["body"])
        more = message["more_body"]
    await respond(send, str(total).encode())


async def stream(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(3200):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    see("streamed")


async def events(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.sleep(0.1)


async def half(scope: Any, receive: Any, send: Any) -> None:
    """Fail in the middle of the response."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError("failed as asked")


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """Begin a response and never end it, whatever becomes of the client."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await asyncio.sleep(600)


async def split(scope: Any, receive: Any, send: Any) -> None:
    """Answer with a header that has a line break in it."""
    await respond(send, b"split", name="value\r\nother: value")


async def slow(scope: Any, receive: Any, send: Any) -> None:
    see("slow began")
    await asyncio.sleep(2)
    await respond(send, b"done")


async def application(scope: Any, receive: Any, send: Any) -> None:
    view = globals()[scope["path"].strip("/") or "scope_seen"]
    await view(scope, receive, send)


class Later:
    """What is answered without a task, after a while."""

    def __init__(self, body: bytes, fails: bool) -> None:
        self._body, self._fails = body, fails
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.5, self.future.set_result, None)
        see("taken")

    def answer(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if self._fails:
            raise RuntimeError("failed as asked")
        return 202, [(b"Content-Length", b"%d" % len(self._body))], self._body


def at_once(scope: Any, body: bytes) -> Later | None:
    path = scope["path"]
    return Later(bytes(body), "fails" in path) if path.startswith("/at_once") else None


application.at_once = at_once  # type: ignore[attr-defined]


def fails_when_called(scope: Any, receive: Any, send: Any) -> Any:
    """Fail before there is anything to await."""
    raise RuntimeError("failed when called")


broken = ProtocolTypeRouter(dict.fromkeys(("http", "websocket"), fails_when_called))
