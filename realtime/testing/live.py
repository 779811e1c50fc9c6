"""Live: the project's gateway as a process of its own, and clients over WebSockets."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

import websockets
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from . import live_settings
from .client import TIMEOUT, Client
from .processes import Server

_IN_MEMORY: Final = "channels.layers.InMemoryChannelLayer"
_TOPIC_LAYER: Final = "realtime.layer.TopicLayer"


class LiveClient(Client):
    """
    A client over a WebSocket.

    ::

        async with LiveClient(gateway.stomp) as client:
            await client.subscribe("/topic/toast")

    Args:
        url: Of the WebSocket.
        version: Of STOMP.
        connect: Headers of CONNECT; with ``"accept-version": ""`` there is no CONNECT.
        options: Those of ``websockets.connect``.
    """

    def __init__(
        self,
        url: str,
        *,
        version: str = "1.2",
        connect: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(version)
        self._connect = {"accept-version": version, **(connect or {})}
        options.setdefault("subprotocols", [f"v{version.replace('.', '')}.stomp"])
        self._opening = websockets.connect(url, open_timeout=TIMEOUT, **options)

    async def __aenter__(self) -> Self:
        self.websocket = await self._opening
        if self._connect["accept-version"]:
            await self.send("CONNECT", self._connect)
            self.connected = await self.frame("CONNECTED")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.websocket.close()

    async def write(self, data: bytes) -> None:
        try:
            await self.websocket.send(data.decode())
        except UnicodeDecodeError:
            await self.websocket.send(data)

    async def read(self) -> bytes:
        data = await self.websocket.recv()
        return data.encode() if isinstance(data, str) else data

    async def close_code(self) -> int:
        async with asyncio.timeout(TIMEOUT):
            await self.websocket.wait_closed()
        code = self.websocket.close_code
        assert code is not None
        return code


class Gateway(Server):
    """
    The project's ``ASGI_APPLICATION`` under daphne, on a free port.

    It has the databases of the test, and a channel layer on a Redis. What publishes to it, and is
    not its own code, needs the settings :attr:`shared`.

    Args:
        log: The file for its output.
        redis_url: Where its channel layer is.
        path: Where the application has the consumer.
        changed: Settings that are others than the project's; what JSON can say.

    Raises:
        ImproperlyConfigured: If it could not open a database of the test.
    """

    def __init__(self, log: Path, redis_url: str, *, path: str = "/stomp", **changed: Any) -> None:
        self.shared = {"CHANNEL_LAYERS": _layers_on(redis_url), "REDIS_URL": redis_url}
        own = {
            "DEBUG": settings.DEBUG,
            "ALLOWED_HOSTS": [*settings.ALLOWED_HOSTS, "localhost", "127.0.0.1"],
            **self.shared,
            **changed,
        }
        module, _, name = settings.ASGI_APPLICATION.rpartition(".")
        command = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1"]
        variables: dict[str, Any] = {
            "DJANGO_SETTINGS_MODULE": live_settings.__name__,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            live_settings.PROJECT: os.environ["DJANGO_SETTINGS_MODULE"],
            live_settings.CHANGED: json.dumps(own),
            live_settings.DATABASE_NAMES: json.dumps(_database_names()),
        }
        super().__init__(f"{shlex.join(command)} -p $PORT {module}:{name}", log, **variables)
        self.stomp = f"ws://localhost:{self.port}{path}"

    def client(self, **headers: str) -> LiveClient:
        """Return a client, to be entered, with these headers of CONNECT."""
        return LiveClient(self.stomp, connect=headers)


def _layers_on(redis_url: str) -> dict[str, Any]:
    """Return the project's channel layers on a Redis of the test; what is in memory can't be."""
    layers: dict[str, Any] = deepcopy(settings.CHANNEL_LAYERS)
    layer = layers["default"]
    if layer["BACKEND"] == _IN_MEMORY:
        layer = {"BACKEND": _TOPIC_LAYER}
    own = {"hosts": [redis_url], "prefix": f"test-{uuid4().hex[:8]}"}
    layers["default"] = {**layer, "CONFIG": {**layer.get("CONFIG", {}), **own}}
    return layers


def _database_names() -> dict[str, str]:
    """Return the names of the databases of the test."""
    names = {}
    for connection in connections.all():
        if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]
            raise ImproperlyConfigured(
                f"the database {connection.alias!r} of the tests is in memory, where a live gateway"
                ' can\'t see it: add "TEST": {"NAME": BASE_DIR / "test.sqlite3"} to it'
            )
        if connection.vendor != "unknown":
            names[connection.alias] = str(connection.settings_dict["NAME"])
    return names
