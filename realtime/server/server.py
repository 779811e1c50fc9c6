"""GatewayServer: daphne's server, which keeps its clients apart and ends its sessions in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Awaitable
from typing import Any, Final

import daphne.server
from channels.routing import ProtocolTypeRouter
from daphne.cli import CommandLineInterface
from daphne.management.commands import runserver
from django.conf import settings
from twisted.internet import defer, reactor
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString

from realtime import __version__
from realtime.access.addresses import heed_proxy
from realtime.access.limits import refusals
from realtime.conf import conf
from realtime.redis import address_shown
from realtime.sessions.node import this_node

from .bounds import Bodies, Connections
from .connection import GatewayHTTPFactory
from .http import BODY_PIECE_BYTES
from .inbound import Inbox
from .memory import Memory
from .shutdown import Shutdown
from .traffic import bound_sockets
from .turns import bound_accepts
from .websocket import GatewayProtocol

logger = logging.getLogger(__name__)

#: Connections that may wait to be accepted; Twisted's default is 50.
BACKLOG: Final = 4096

#: Bytes that the kernel takes for a client beyond what is on its way.
UNSENT_BYTES: Final = 128 * 1024

#: What a request may have beyond Django's own limit, so that views can refuse it in their words.
BODY_SLACK_BYTES: Final = 64 * 1024

#: What a WebSocket message may have beyond a frame of STOMP.
MESSAGE_SLACK_BYTES: Final = 128 * 1024

#: How often each connection's timeouts are checked, and in how many turns.
CHECK_SECONDS: Final = 2.0
CHECK_TURNS: Final = 10

#: Python has a name for it from 3.12; the number is Linux's.
_TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


def _shorten_pauses() -> None:
    """
    Let nothing hold up the event loop for long: with 1 000 sessions the collector looked at all of
    them every few seconds, for 100 ms, and threads kept the interpreter for 5 ms at a time.
    """
    gc.freeze()  # what is loaded by now stays
    gc.set_threshold(20_000, 20, 20)
    sys.setswitchinterval(0.0005)


class Served:
    """
    One WebSocket or request, and the application that serves it.

    It stands where daphne has a dict and two partials, which weigh 0.7 KiB.
    """

    __slots__ = ("_server", "application", "disconnected_at", "protocol")

    def __init__(self, server: GatewayServer, protocol: Any) -> None:
        self._server = server
        self.protocol = protocol
        #: What serves it, until that has ended.
        self.application: asyncio.Future[Any] | None = None
        #: When its client left, in Unix seconds.
        self.disconnected_at: float | None = None

    def begin(self, application: Awaitable[Any]) -> None:
        """Let an application serve it."""
        self.application = asyncio.ensure_future(application)
        self.application.add_done_callback(self._done)

    def disconnected(self) -> None:
        """Take note that its client is gone."""
        if self.disconnected_at is None:
            self.disconnected_at = time.time()

    async def send(self, message: dict[str, Any]) -> None:
        """Take what the application sends: ASGI's ``send``."""
        if self.disconnected_at is not None:
            return
        protocol = self.protocol
        protocol.handle_reply(message)
        if protocol.paused and message["type"] in ("websocket.send", "http.response.body"):
            await protocol.ready()

    def _done(self, application: asyncio.Future[Any]) -> None:
        self.application = None
        self._server.application_ended(self, application)


class GatewayServer(daphne.server.Server):
    """A server that keeps its clients apart and ends its sessions in order."""

    action_logger: Any
    connections: dict[Any, Served]
    endpoints: list[str]
    websocket_max_message_size: int
    websocket_max_frame_size: int

    def __init__(self, *args: Any, websocket_connect_timeout: int = 20, **kwargs: Any) -> None:
        if websocket_connect_timeout < 0:  # "infinite"; daphne 4.2 rejects everybody
            kwargs["websocket_connect_timeout"] = math.inf
        else:
            kwargs["websocket_connect_timeout"] = websocket_connect_timeout
        super().__init__(*args, request_buffer_size=BODY_PIECE_BYTES, **kwargs)
        # Frames of STOMP have a limit of their own, and an ERROR that says so.
        needed = conf.STOMP_MAX_FRAME_BYTES + MESSAGE_SLACK_BYTES
        self.websocket_max_message_size = _at_least(needed, self.websocket_max_message_size)
        self.websocket_max_frame_size = _at_least(needed, self.websocket_max_frame_size)
        self.endpoints = [_with_backlog(endpoint) for endpoint in self.endpoints]
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        self.max_body_bytes = math.inf if limit is None else limit + BODY_SLACK_BYTES
        sizes = (self.websocket_max_frame_size, self.websocket_max_message_size)  # 0 is for none
        self.largest_message = min((size for size in sizes if size), default=2**63)
        if getattr(getattr(self.action_logger, "stream", None), "name", "") == os.devnull:
            self.action_logger = None  # or each line would be made, and written
        #: What an application answers without a task, if it has such requests: called with scope
        #: and body, it returns None, or what has a ``future``, and an ``answer`` once that is done.
        self.at_once = getattr(self.application, "at_once", None)
        self._websockets = application_of_websockets(self.application)
        self.draining = False
        self.addresses = Connections()
        self.bodies = Bodies()
        self.refusals = refusals
        self._ports: list[Any] = []
        self._leaving: set[Served] = set()  # disconnected, but the application goes on
        self._turn = 0
        self._memory = Memory()

    def run(self) -> None:
        if settings.DEBUG:
            logger.warning("DEBUG is on: the gateway is open to everybody; not for production")
        # The names by which daphne 4.2 makes its factories.
        daphne.server.HTTPFactory = GatewayHTTPFactory
        daphne.server.WebSocketFactory = WebSocketOptions
        daphne.server.serverFromString = endpoint_of
        _shorten_pauses()
        bound_sockets(daphne.server.twisted_loop)
        bound_accepts()
        reactor.callLater(0, lambda: this_node().start())  # once the event loop runs
        super().run()

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        reactor.callLater(0, log_start, port)  # once the event loop runs, which has the node
        self._ports.append(port)
        if sys.platform == "linux" and port.addressFamily in (socket.AF_INET, socket.AF_INET6):
            # Accepted sockets inherit it.
            port.socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # Applications

    def prepare(self, protocol: Any, scope: dict[str, Any]) -> None:
        """Let a scope be what applications see, also of proxies in between."""
        scope["asgi"] = {"version": "3.0"}
        scope["root_path"] = self.root_path
        heed_proxy(scope)
        protocol.client_addr = scope["client"]

    def protocol_connected(self, protocol: Any) -> None:
        self.connections[protocol] = Served(self, protocol)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Inbox | None:
        served = self.connections.get(protocol)
        if served is None:
            return None
        is_websocket = isinstance(protocol, GatewayProtocol)
        serve = self._websockets if is_websocket else self.application
        inbox = Inbox(protocol if is_websocket else None)
        try:
            served.begin(serve(scope, inbox.get, served.send))
        except Exception as error:
            self.log_failure(error)
            protocol.application_ended(error)
        return inbox

    def protocol_disconnected(self, protocol: Any) -> None:
        self.addresses.leave(protocol)
        served = self.connections.get(protocol)
        if served is None:
            return
        served.disconnected()
        if served.application is not None:
            self._leaving.add(served)
        else:
            self._forget(protocol)

    def _forget(self, protocol: Any) -> None:
        del self.connections[protocol]
        self.bodies.give_back(protocol)
        if isinstance(protocol, GatewayProtocol):
            protocol.forget()

    def application_ended(self, served: Served, application: asyncio.Future[Any]) -> None:
        """Say why, if it failed, and forget what it served if its client is gone."""
        self._leaving.discard(served)
        error = None if application.cancelled() else application.exception()
        if isinstance(error, KeyboardInterrupt):
            self.stop()
        elif error is not None:
            self.log_failure(error)
        if served.disconnected_at is not None:
            self._forget(served.protocol)
        else:
            served.protocol.application_ended(error)

    def log_failure(self, error: BaseException) -> None:
        """Say what an application raised."""
        logger.error("exception inside application: %s", error, exc_info=error)

    def application_checker(self) -> None:
        """Cancel applications that go on long after their clients left."""
        reactor.callLater(1, self.application_checker)
        before = time.time() - self.application_close_timeout
        for served in list(self._leaving):
            if (served.disconnected_at or 0.0) < before and served.application is not None:
                logger.warning("an application took too long to end: %r", served.protocol)
                served.application.cancel()

    def timeout_checker(self) -> None:
        """Check some connections, so that 10 000 don't hold up the others for 20 ms."""
        reactor.callLater(CHECK_SECONDS / CHECK_TURNS, self.timeout_checker)
        self._turn = (self._turn + 1) % CHECK_TURNS
        if self._turn == 0:
            self._memory.look(len(self.connections))
        for protocol in list(self.connections)[self._turn :: CHECK_TURNS]:
            try:
                protocol.check_timeouts()
            except Exception:
                logger.exception("the timeouts of %r could not be checked", protocol)

    # The end

    def kill_all_applications(self) -> defer.Deferred[None]:
        """End as :class:`Shutdown` does."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(Shutdown(self).run()))

    def stop_listening(self) -> None:
        """Let nobody in any more."""
        self.draining = True
        for port in self._ports:
            port.stopListening()


class WebSocketOptions:
    """Stands where daphne makes a factory of WebSockets: here connections of HTTP become them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what daphne hands over; the server knows all of it."""

    def setProtocolOptions(self, **options: Any) -> None:
        """Take what daphne hands over; the server knows all of it."""


def log_start(port: Any) -> None:
    """Say what this process is, and where it listens; it needs the event loop."""
    logger.info(
        "listening",
        extra={
            "version": __version__,
            "address": _address_shown(port.getHost()),
            "pid": os.getpid(),
            "node": this_node().id,
            "redis": _redis_shown(),
            "database": _database_shown(),
        },
    )


def _address_shown(host: Any) -> str:
    if not hasattr(host, "port"):
        return os.fsdecode(host.name)
    return f"[{host.host}]:{host.port}" if ":" in host.host else f"{host.host}:{host.port}"


def _redis_shown() -> str:
    layers: dict[str, Any] = settings.CHANNEL_LAYERS
    hosts = layers.get("default", {}).get("CONFIG", {}).get("hosts", ())
    return ", ".join(map(address_shown, hosts)) or "none"


def _database_shown() -> str:
    database = settings.DATABASES["default"]
    engine = database["ENGINE"].rpartition(".")[2]
    server = ":".join(str(database[key]) for key in ("HOST", "PORT") if database.get(key))
    return f"{engine} {server}/{database['NAME']}" if server else f"{engine} {database['NAME']}"


def endpoint_of(reactor: Any, description: str) -> Any:
    """
    Return the endpoint that a description names; an inherited socket with the family that it has.

    Twisted 26.10 takes each for one of IPv4, and reads the addresses of IPv6 clients, which are
    longer, from memory that is not theirs.
    """
    endpoint = serverFromString(reactor, description)
    if isinstance(endpoint, AdoptedStreamServerEndpoint):
        with socket.socket(fileno=os.dup(endpoint.fileno)) as inherited:
            endpoint.addressFamily = inherited.family
    return endpoint


def application_of_websockets(application: Any) -> Any:
    """Return what serves WebSockets: Channels' router would only wait for it, with each of them."""
    by_protocol = application.application_mapping if type(application) is ProtocolTypeRouter else {}
    return by_protocol.get("websocket", application)


def _at_least(needed: int, limit: int) -> int:
    return max(needed, limit) if limit else limit  # 0 is for none


def _with_backlog(endpoint: str) -> str:
    kind = endpoint.partition(":")[0]
    if kind in ("tcp", "tcp6", "ssl", "unix") and ":backlog=" not in endpoint:
        return f"{endpoint}:backlog={BACKLOG}"
    return endpoint


def install() -> None:
    """Let daphne's own commands use this server."""
    CommandLineInterface.server_class = GatewayServer
    runserver.Command.server_cls = GatewayServer
