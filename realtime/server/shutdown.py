"""Shutdown: how a server that is told to end says goodbye to its clients, and with which code."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.internet import reactor

from realtime.conf import conf
from realtime.sessions.node import this_node

from .connection import HttpConnection

if TYPE_CHECKING:
    from .server import GatewayServer

logger = logging.getLogger(__name__)

#: Sessions that are ended in a second at most, and the part of the drain time for all of them;
#: the rest is for the closing handshakes.
ENDED_PER_SECOND: Final = 200
ENDING_PART: Final = 0.8

#: Seconds that what is cancelled at the end of the drain time has left.
CANCELLED_SECONDS: Final = 1.0

_POLL_SECONDS: Final = 0.05


class Shutdown:
    """
    The end of a server: it serves on for ``STOMP_DRAIN_DELAY_SECONDS``, but is not ready; then it
    lets nobody in, sessions end little by little, and requests may finish.
    """

    #: No delay where another process accepts already, or nobody watches this one any more.
    delays: ClassVar[bool] = True

    def __init__(self, server: GatewayServer) -> None:
        self._server = server
        self._until = 0.0
        self._hurried = False

    async def run(self) -> None:
        """Return when all have gone, in ``STOMP_DRAIN_SECONDS`` at most after the delay."""
        if self._server.signal_handlers:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._hurry)
        if self.delays:
            this_node().draining = True
            await self._wait_while(lambda: True, conf.STOMP_DRAIN_DELAY_SECONDS)
        self._server.stop_listening()
        _close_idle_connections()
        self._until = 0.0 if self._hurried else time.monotonic() + conf.STOMP_DRAIN_SECONDS
        await self._end_sessions(conf.STOMP_DRAIN_SECONDS * ENDING_PART)
        await self._wait_while(self._busy, self._until - time.monotonic())
        await self._cancel_applications()
        await this_node().close()

    async def _wait_while(self, condition: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while condition() and time.monotonic() < until and not self._hurried:
            await asyncio.sleep(_POLL_SECONDS)

    def _hurry(self, *args: Any) -> None:
        """Answer a second signal."""
        self._hurried = True
        self._until = 0.0

    async def _end_sessions(self, seconds: float) -> None:
        # Not all at once: their clients will be back.
        sessions = self._applications()
        random.shuffle(sessions)
        gap = min(1 / ENDED_PER_SECOND, seconds / max(1, len(sessions)))
        start = time.monotonic()
        for number, (protocol, application) in enumerate(sessions):
            due = min(start + (number + random.random()) * gap, self._until)
            await asyncio.sleep(max(0, due - time.monotonic()))
            try:
                protocol.end(application)
            except Exception:
                logger.exception("%r could not be ended", protocol)

    def _applications(self) -> list[tuple[Any, asyncio.Future[Any]]]:
        # Half-sent requests and rejected handshakes have none.
        return [
            (protocol, served.application)
            for protocol, served in self._server.connections.items()
            if served.application is not None
        ]

    def _busy(self) -> bool:
        # A socket that is closed with unread input is reset, and its client loses the goodbye:
        # wait for the closing handshakes too, and for what is not written yet.
        return bool(self._server.connections) or bool(reactor.getWriters())

    async def _cancel_applications(self) -> None:
        applications = [application for _, application in self._applications()]
        for application in applications:
            application.cancel()
        if applications:
            await asyncio.wait(applications, timeout=CANCELLED_SECONDS)


def _close_idle_connections() -> None:
    """Close the HTTP connections that are kept alive without a request."""
    for transport in reactor.getReaders():
        protocol = getattr(transport, "protocol", None)
        protocol = getattr(protocol, "wrappedProtocol", protocol)  # TLS
        if isinstance(protocol, HttpConnection) and protocol.idle:
            protocol.close()
