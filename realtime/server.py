"""
daphne, with what it lacks for clients that are to learn why a connection ended.

Put in place by :mod:`realtime.apps`, so that the stock commands ``daphne`` and ``runserver``
have it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from autobahn.util import encode_truncate
from daphne.cli import CommandLineInterface
from daphne.management.commands import runserver
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from twisted.internet import defer, reactor

from .node import this_node

logger = logging.getLogger(__name__)

#: Seconds that sessions have to end when the process is told to.
SHUTDOWN_SECONDS: Final = 5.0

#: Seconds that the last bytes to a client have after the closing handshake.
CLOSE_SECONDS: Final = 1.0


class GatewayProtocol(WebSocketProtocol):
    """A WebSocket that may be closed with any code, and with a reason."""

    def handle_reply(self, message: dict[str, Any]) -> None:
        closing = message["type"] == "websocket.close" and self.state == self.STATE_OPEN
        if not closing:
            super().handle_reply(message)
            return
        # autobahn's sendClose refuses all codes but 1000 and 3000-4999 (autobahn#1642).
        reason = encode_truncate(message.get("reason") or "", 123)
        self.sendCloseFrame(code=message.get("code") or 1000, reasonUtf8=reason)

    def _closeConnection(self, abort: bool = False) -> None:
        # autobahn 26.10 resets the connection even after a closing handshake: browsers then
        # call it unclean, and what they had not read yet may be lost. Who never reads is cut off.
        super()._closeConnection(abort and not self.wasClean)
        if abort and self.wasClean:
            reactor.callLater(CLOSE_SECONDS, self.transport.abortConnection)


class GatewayServer(Server):
    """A server that ends its sessions in order."""

    def __init__(
        self, *args: Any, ping_interval: int = 20, ping_timeout: int = 20, **kwargs: Any
    ) -> None:
        # With a longer timeout daphne 4.2 kills clients that answered a later ping.
        ping_timeout = min(ping_timeout, ping_interval)
        super().__init__(*args, ping_interval=ping_interval, ping_timeout=ping_timeout, **kwargs)

    def run(self) -> None:
        if settings.DEBUG:
            logger.warning("DEBUG is on: the gateway is open to everybody; not for production")
        super().run()

    def kill_all_applications(self) -> defer.Deferred[None]:
        """Stop listening, cancel the sessions, and wait until they have said goodbye."""
        for listener in self.listeners:
            listener.addCallback(lambda port: port.stopListening())
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end_sessions()))

    async def _end_sessions(self) -> None:
        # Not daphne's: it raises KeyError when any connection has no application (yet).
        applications = [
            details.get("application_instance") for details in self.connections.values()
        ]
        running = [each for each in applications if each is not None and not each.done()]
        for application in running:
            application.cancel()
        # A socket that is closed with unread input is reset, and its client loses the goodbye:
        # wait for the closing handshakes too.
        loop = asyncio.get_running_loop()
        closing = [
            protocol.is_closed.asFuture(loop)
            for protocol in self.connections
            if isinstance(protocol, GatewayProtocol)
            and protocol.state in (protocol.STATE_OPEN, protocol.STATE_CLOSING)
        ]
        if running or closing:
            await asyncio.wait([*running, *closing], timeout=SHUTDOWN_SECONDS)
        await this_node().close()


def install() -> None:
    """Let daphne's own commands use these classes."""
    CommandLineInterface.server_class = GatewayServer
    runserver.Command.server_cls = GatewayServer
    WebSocketFactory.protocol = GatewayProtocol
