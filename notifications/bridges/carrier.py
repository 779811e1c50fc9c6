"""What one process does for one route while it holds it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Literal

from redis import RedisError

from realtime.broker import start
from realtime.redis import Fenced
from realtime.redis.cluster_pipeline import ClusterPipeline
from realtime.redis.pipeline import Pipeline
from realtime.scripts import TOO_EARLY, Fence

from . import dead_letters
from .lease import Lease
from .routes import Arrival, IncomingRoute

logger = logging.getLogger(__name__)

#: Seconds between two log lines that say what goes wrong with a route.
WARNING_SECONDS: Final = 60.0

#: What became, or is to become, of what came; each is counted.
Outcome = Literal["carried", "put_aside"]

#: What was begun with one message: ends when Redis took it.
Begun = tuple[asyncio.Future[Any], Outcome]


class Carrier:
    """
    Publish what came by a route, put aside what can't be, and count.

    Args:
        pipeline: To the gateway's Redis.
    """

    def __init__(
        self, route: IncomingRoute, lease: Lease, pipeline: Pipeline | ClusterPipeline
    ) -> None:
        self.route = route
        self.lease = lease
        self._pipeline = pipeline
        #: How often each outcome was, and ``errors``.
        self.counts: Counter[str] = Counter()
        #: By what is said: when it was last, and how often it was not since.
        self._said: dict[str, tuple[float, int]] = {}

    def begin(self, arrival: Arrival, latest: dict[str, str] | None = None) -> Begun:
        """
        Begin to publish what came, or to put it aside; does not raise.

        Calls that are made in some order publish in that order. When the future has ended it goes
        to :meth:`settle`.

        Args:
            latest: By destination, the newest entry that was begun: without it having been taken
                this one is not. It is kept up to date.
        """
        latest = {} if latest is None else latest
        try:
            message = self.route.read(arrival)
            after = latest.get(message.destination, "")
            fence = Fence(self.route.id, self.lease.number, arrival.entry, after)
            future = start(message, fence)
        except Exception as error:
            return self._put_aside(arrival, error), "put_aside"
        latest[message.destination] = arrival.entry
        return future, "carried"

    def settle(self, begun: Begun) -> BaseException | None:
        """Count what has ended; return its error, if any: then it was not taken."""
        future, outcome = begun
        error = future.exception()
        if error is None and future.result() == TOO_EARLY:
            error = RedisError("an entry before it was not taken")
        if error is None:
            self.counts[outcome] += 1
        elif isinstance(error, Fenced):
            self.lease.give_up()
        else:
            self.failed(error)
        return error

    def ready(self) -> None:
        """Tell operators that nothing is missed from now on."""
        logger.info("bridge %s: carried by this process", self.route.id)

    def failed(self, error: BaseException | str) -> None:
        """Count an error, and tell operators, but not too often."""
        self.counts["errors"] += 1
        self._warn("%s", error)

    def _put_aside(self, arrival: Arrival, error: Exception) -> asyncio.Future[Any]:
        reason = str(error) or repr(error)
        self._warn("put aside: %s", reason, None if isinstance(error, ValueError) else error)
        return self._pipeline.submit(dead_letters.command(self.route.id, reason, arrival.original))

    def _warn(self, text: str, reason: object, bug: Exception | None = None) -> None:
        now = time.monotonic()
        said_at, unsaid = self._said.get(text, (-math.inf, 0))
        if now - said_at < WARNING_SECONDS:
            self._said[text] = (said_at, unsaid + 1)
            return
        self._said[text] = (now, 0)
        more = f" ({unsaid} more since the last such line)" if unsaid else ""
        logger.warning(f"bridge %s: {text}%s", self.route.id, reason, more, exc_info=bug)


async def settled(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Return when all have ended. Most end together with the first, so that is cheap."""
    for future in futures:
        if not future.done():
            await asyncio.wait([future])
