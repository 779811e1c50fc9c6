"""Publisher: what one process does for a route that it owns: publish, dead-letter, count."""

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
from realtime.broker import apublish_many
from realtime.layer.fence import TOO_EARLY, Fence
from realtime.messages.message import Checked, check
from realtime.redis import Fenced
from realtime.redis.cluster_pipeline import ClusterPipeline
from realtime.redis.pipeline import Pipeline

from .lease import Lease
from .routes import Arrival, IncomingRoute
from .store import Life, key_of

logger = logging.getLogger(__name__)

#: Seconds between two log lines that say what goes wrong with a route.
WARNING_SECONDS: Final = 60.0

#: What became, or is to become, of what came; each is counted.
Outcome = Literal["messages", "dead_lettered"]

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


class Publisher:
    """
    Publish what came by a route, dead-letter what can't be, and count.

    Args:
        pipeline: To the gateway's Redis.
    """

    def __init__(
        self, route: IncomingRoute, lease: Lease, pipeline: Pipeline | ClusterPipeline
    ) -> None:
        self.route = route
        self.lease = lease
        self._pipeline = pipeline
        #: Where a stream is.
        self.life = Life()
        #: How often each outcome was, and ``errors``.
        self.counts: Counter[str] = Counter()
        #: By what is said: when it was last, and how often it was not since.
        self._said: dict[str, tuple[float, int]] = {}

    def begin(
        self, arrivals: Iterable[Arrival], latest: dict[str, str] | None = None
    ) -> list[Begun]:
        """
        Begin to publish what came, or to dead-letter it; does not raise.

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
                begun.append(self._dead_letter(arrival, error))
                readable = []
        return begun + self._publish(readable, latest)

    def settle(self, begun: Begun) -> list[BaseException | None]:
        """Count what has ended; return the error of each message that was not taken, or None."""
        errors = _errors(begun)
        failed = [error for error in errors if error is not None]
        self.counts[begun.outcome] += len(errors) - len(failed)
        if any(isinstance(error, Fenced) for error in failed):
            self.lease.give_up()
        elif failed:
            self.failed(failed[0], len(failed))
        return errors

    async def begin_anew(self) -> None:
        """Take note, in Redis as well, that the stream has another life than the one before."""
        self.life = Life(self.life.number + 1)
        fields = itertools.chain.from_iterable(self.life.status.items())
        await self._pipeline.submit(("HSET", key_of(self.route.id, "status"), *fields))
        logger.warning(
            "bridge %(bridge)s: the stream was begun anew: what is in it is published, whatever its"
            " ids",
            {"bridge": self.route.id},
        )

    def ready(self) -> None:
        """Tell operators that nothing is missed from now on."""
        logger.info("bridge %(bridge)s: consumed by this process", {"bridge": self.route.id})

    def failed(self, error: BaseException | str, count: int = 1) -> None:
        """Count errors, and tell operators, but not too often."""
        self.counts["errors"] += count
        self._warn("", error)

    def _publish(
        self, readable: list[tuple[Arrival, Checked]], latest: dict[str, str]
    ) -> list[Begun]:
        if not readable:
            return []
        messages = [checked for _, checked in readable]
        newest = dict(latest)
        fences = [self._fence(arrival, checked, newest) for arrival, checked in readable]
        try:
            future = apublish_many(messages, fences, "bridge")
        except Exception as error:
            if len(readable) == 1:
                return [self._dead_letter(readable[0][0], error)]
            alone = [self._publish([each], latest) for each in readable]  # which one is it?
            return list(itertools.chain.from_iterable(alone))
        latest |= newest
        size = sum([_size(arrival) for arrival, _ in readable])
        return [Begun(future, "messages", len(messages), size)]

    def _fence(self, arrival: Arrival, checked: Checked, newest: dict[str, str]) -> Fence:
        destination = checked.message.destination
        after = newest.get(destination, "")
        newest[destination] = arrival.entry
        return Fence(self.route.id, self.lease.token, arrival.entry, after)

    def _dead_letter(self, arrival: Arrival, error: Exception) -> Begun:
        reason = str(error) or repr(error)
        self._warn("dead-lettered: ", reason, None if isinstance(error, ValueError) else error)
        command = dead_letters.command(self.route.id, reason, arrival.original)
        return Begun(self._pipeline.submit(command), "dead_lettered", 1, _size(arrival))

    def _warn(self, text: str, reason: object, bug: Exception | None = None) -> None:
        now = time.monotonic()
        said_at, unsaid = self._said.get(text, (-math.inf, 0))
        if now - said_at < WARNING_SECONDS:
            self._said[text] = (said_at, unsaid + 1)
            return
        self._said[text] = (now, 0)
        more = f" ({unsaid} more since the last such line)" if unsaid else ""
        logger.warning(
            "bridge %(bridge)s: %(text)s",
            {"bridge": self.route.id, "text": f"{text}{reason}{more}"},
            exc_info=bug,
        )


def _size(arrival: Arrival) -> int:
    return MESSAGE_BYTES + sum(map(len, arrival.fields.values()))


def _errors(begun: Begun) -> list[BaseException | None]:
    """Return the error of each message of what has ended, or None for one that was taken."""
    error = begun.future.exception()
    if error is not None or begun.outcome != "messages":
        return [error] * begun.messages
    early = RedisError("an entry before it was not taken")
    return [
        answer if isinstance(answer, BaseException) else early if answer == TOO_EARLY else None
        for answer in begun.future.result()
    ]


async def settled(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Return when all have ended. Most end together with the first, so that is cheap."""
    for future in futures:
        if not future.done():
            await asyncio.wait([future])
