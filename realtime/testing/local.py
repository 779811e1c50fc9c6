"""LocalGateway: the project's consumer in the process of the test, and clients without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any, Self
from unittest import mock
from urllib.parse import unquote, urlsplit

from asgiref.testing import ApplicationCommunicator
from channels.layers import get_channel_layer
from channels.routing import get_default_application

from realtime.sessions.node import this_node
from realtime.sessions.records import SessionWriter
from realtime.stomp import Frame

from .client import TIMEOUT, Client, Refused
from .clock import standing_still
from .logins import forget_logins, login_as

Event = dict[str, Any]


class Socket(ApplicationCommunicator):
    """
    A WebSocket to an ASGI application, without a socket.

    Args:
        application: It.
        path: Where, with the query.
        headers: Of the HTTP request.
        subprotocols: Which are offered.
    """

    def __init__(
        self, application: Any, path: str, headers: Mapping[str, str], subprotocols: list[str]
    ) -> None:
        url = urlsplit(path)
        scope = {
            "type": "websocket",
            "path": unquote(url.path),
            "query_string": url.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "subprotocols": subprotocols,
        }
        super().__init__(application, scope)

    async def connect(self, timeout: float = TIMEOUT) -> tuple[bool, Any]:
        """Return whether it is opened, and with which sub-protocol, or the code of the refusal."""
        self.future.add_done_callback(self._ended)
        await self.send_input({"type": "websocket.connect"})
        event = await self.receive_output(timeout)
        if event["type"] == "websocket.accept":
            return True, event.get("subprotocol")
        return False, event.get("code", 1000)

    async def send_to(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send a message, of text or of bytes."""
        message = {"text": text_data} if bytes_data is None else {"bytes": bytes_data}
        await self.send_input({"type": "websocket.receive", **message})

    async def receive_output(self, timeout: float = TIMEOUT) -> Event:
        """
        Return what the application sends next.

        Raises:
            TimeoutError: If nothing comes.
            Exception: That of the application, if it has failed.
        """
        event = await super().receive_output(timeout)
        if isinstance(event, BaseException):
            raise event
        return dict(event)

    async def disconnect(self, code: int = 1000, timeout: float = TIMEOUT) -> None:
        """Leave, and wait until the application has ended."""
        await self.send_input({"type": "websocket.disconnect", "code": code})
        await self.wait(timeout)

    def _ended(self, application: asyncio.Future[None]) -> None:
        """Let nobody wait for what an application that has failed would have sent."""
        if not application.cancelled() and (error := application.exception()) is not None:
            self.output_queue.put_nowait(error)


class LocalClient(Client):
    """
    A client of an ASGI application in this process.

    Args:
        path: Where the application has the consumer.
        application: The ASGI application, which is the project's without one.
        http: Headers of the HTTP request that opens the WebSocket.
    """

    def __init__(self, path: str = "/stomp", application: Any = None, **http: str) -> None:
        super().__init__()
        application = application or get_default_application()
        self.socket = Socket(application, path, http, ["v12.stomp", "chat"])

    async def connect(self, **headers: str) -> Frame:
        """Open the WebSocket and CONNECT; return CONNECTED, or ERROR."""
        opened, chosen = await self.socket.connect()
        if (opened, chosen) != (True, "v12.stomp"):
            raise AssertionError(f"the WebSocket was not opened for STOMP, but with {chosen!r}")
        await self.send("CONNECT", {"accept-version": "1.2", **headers})
        self.connected = await self.frame()
        return self.connected

    async def write(self, data: bytes) -> None:
        try:
            await self.socket.send_to(text_data=data.decode())
        except UnicodeDecodeError:
            await self.socket.send_to(bytes_data=data)

    async def read(self) -> bytes:
        event = await self.socket.receive_output()
        if event["type"] != "websocket.send":
            raise AssertionError(f"the WebSocket was closed: {event}")
        return event["text"].encode() if event.get("text") is not None else event["bytes"]

    async def close(self) -> Event:
        """Return how the gateway closes the WebSocket."""
        event = await self.socket.receive_output()
        if event["type"] != "websocket.close":
            raise AssertionError(f"the WebSocket was not closed: {event}")
        return event

    async def close_code(self) -> int:
        return int((await self.close())["code"])


class LocalGateway:
    """
    The gateway in the process of a test: its node, and clients that end with the block.

    ::

        async with LocalGateway() as gateway:
            client = await gateway.connect(user=alice)

    Its clock stands still: see :class:`.Clock`.

    Args:
        path: Where the project's ``ASGI_APPLICATION`` has the consumer.
    """

    def __init__(self, path: str = "/stomp") -> None:
        self._path = path
        self._ends = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._ends.callback(forget_logins)
        self._ends.enter_context(standing_still())
        await self._ends.enter_async_context(local_node(rows=False))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._ends.aclose()

    async def connect(
        self, user: Any = None, *, http: Mapping[str, str] | None = None, **headers: str
    ) -> LocalClient:
        """
        Return a client that is connected.

        Args:
            user: Whom it is logged in as, without a password; None for who the headers say, or
                nobody. With ``STOMP_AUTHENTICATORS`` of :func:`.forced`.
            http: Headers of the HTTP request, as in ``{"cookie": ...}``. It comes from a page of
                the site unless ``origin`` is another.
            headers: Of CONNECT.

        Raises:
            Refused: If an ERROR comes instead.
        """
        of_the_site = {"host": "testserver", "origin": "http://testserver"}
        client = LocalClient(self._path, **{**of_the_site, **(http or {})})
        login = {} if user is None else login_as(user)
        connected = await client.connect(**{**login, **headers})
        self._ends.push_async_callback(client.socket.disconnect)
        if connected.command == "ERROR":
            raise Refused(connected)
        return client


@asynccontextmanager
async def local_node(*, rows: bool) -> AsyncIterator[None]:
    """
    Let a node live in the process of a test, and end with the block.

    Args:
        rows: Whether it writes its sessions to the database, as for operators.
    """
    with ExitStack() as patches:
        if not rows:
            patches.enter_context(mock.patch("realtime.sessions.node.SessionWriter", Unwritten))
        try:
            yield
        finally:
            await this_node().close()
            this_node.forget()
            await _close(get_channel_layer())


class Unwritten(SessionWriter):
    """Writes no rows."""

    async def write(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


async def _close(layer: Any) -> None:
    """Close the connections of a channel layer; what it has in a Redis of others stays there."""
    close = getattr(layer, "close_pools", None) or layer.flush
    await close()
