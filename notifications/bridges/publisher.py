"""What one process does for one route while it holds it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from redis import RedisError

from notifications.dead_letters import letters as dead_letters
from realtime.broker import start
from realtime.layer.fence import TOO_EARLY, Fence
from realtime.messages.message import Checked, check, in_batches
from realtime.redis import Fenced
from realtime.redis.cluster_pipeline import ClusterPipeline
from realtime.redis.pipeline import Pipeline

from .lease import Lease
from .routes import Arrival, IncomingRoute

logger = logging.getLogger(__name__)

#: Seconds between two log lines that say what goes wrong with a route.
WARNING_SECONDS: Final = 60.0

#: What became, or is to become, of what came; each is counted.
Outcome = Literal["carried", "put_aside"]

#: What a message is taken for at least, in bytes of memory.
MESSAGE_BYTES: Final = 1024


class Begun(NamedTuple):
    """
    What was begun with some messages.

    Args:
        future: Ends when Redis took them.
        messages: How many they are.
        size: How many bytes of memory they are taken for.
    """

    future: asyncio.Future[Any]
    outcome: Outcome
    messages: int
    size: int


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

    def begin(
        self, arrivals: Iterable[Arrival], latest: dict[str, str] | None = None
    ) -> list[Begun]:
        """
        Begin to publish what came, or to put it aside; does not raise.

        Messages and calls keep their order. When a future has ended it goes to :meth:`settle`.

        Args:
            latest: By destination, the newest entry that was begun: without it having been taken
                these are not. It is kept up to date.
        """
        latest = {} if latest is None else latest
        begun: list[Begun] = []
        readable: list[tuple[Arrival, Checked]] = []
        for arrival in arrivals:
            try:
                readable.append((arrival, check(self.route.read(arrival))))
            except Exception as error:
                begun += self._publish(readable, latest)
                begun.append(self._put_aside(arrival, error))
                readable = []
        return begun + self._publish(readable, latest)

    def settle(self, begun: Begun) -> list[BaseException | None]:
        """Count what has ended; return the error of each message that was not taken, or None."""
        error = begun.future.exception()
        errors: list[BaseException | None] = [error] * begun.messages
        if error is None and begun.outcome == "carried":
            early = RedisError("an entry before it was not taken")
            errors = [early if answer == TOO_EARLY else None for answer in begun.future.result()]
        failed = [each for each in errors if each is not None]
        self.counts[begun.outcome] += len(errors) - len(failed)
        if isinstance(error, Fenced):
            self.lease.give_up()
        elif failed:
            self.failed(failed[0], len(failed))
        return errors

    def ready(self) -> None:
        """Tell operators that nothing is missed from now on."""
        logger.info("bridge %s: carried by this process", self.route.id)

    def failed(self, error: BaseException | str, count: int = 1) -> None:
        """Count errors, and tell operators, but not too often."""
        self.counts["errors"] += count
        self._warn("%s", error)

    def _publish(
        self, readable: list[tuple[Arrival, Checked]], latest: dict[str, str]
    ) -> list[Begun]:
        begun = []
        arrivals = iter([arrival for arrival, _ in readable])
        for batch in in_batches([checked for _, checked in readable]):
            of_batch = list(itertools.islice(arrivals, len(batch)))
            entries = tuple([arrival.entry for arrival in of_batch])
            destination = batch[0].message.destination
            after = latest.get(destination, "")
            try:
                future = start(batch, Fence(self.route.id, self.lease.number, entries, after))
            except Exception as error:
                if len(batch) == 1:
                    begun.append(self._put_aside(of_batch[0], error))
                else:  # which one is it?
                    for each in zip(of_batch, batch, strict=True):
                        begun += self._publish([each], latest)
            else:
                latest[destination] = entries[-1]
                size = sum(map(_size, of_batch))
                begun.append(Begun(future, "carried", len(batch), size))
        return begun

    def _put_aside(self, arrival: Arrival, error: Exception) -> Begun:
        reason = str(error) or repr(error)
        self._warn("put aside: %s", reason, None if isinstance(error, ValueError) else error)
        command = dead_letters.command(self.route.id, reason, arrival.original)
        return Begun(self._pipeline.submit(command), "put_aside", 1, _size(arrival))

    def _warn(self, text: str, reason: object, bug: Exception | None = None) -> None:
        now = time.monotonic()
        said_at, unsaid = self._said.get(text, (-math.inf, 0))
        if now - said_at < WARNING_SECONDS:
            self._said[text] = (said_at, unsaid + 1)
            return
        self._said[text] = (now, 0)
        more = f" ({unsaid} more since the last such line)" if unsaid else ""
        logger.warning(f"bridge %s: {text}%s", self.route.id, reason, more, exc_info=bug)


def _size(arrival: Arrival) -> int:
    return MESSAGE_BYTES + sum(map(len, arrival.fields.values()))


async def settled(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Return when all have ended. Most end together with the first, so that is cheap."""
    for future in futures:
        if not future.done():
            await asyncio.wait([future])
