"""Runner: consume a route while this process owns it; all routes of the table together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from django.db import Error as DatabaseError
from redis import RedisError

from realtime.concurrency import in_thread
from realtime.conf import conf
from realtime.django.outbox import relay
from realtime.redis import Fenced, create_pool, open_pipeline
from realtime.redis.cluster_pipeline import ClusterPipeline
from realtime.redis.pipeline import Pipeline

from .channels import consume_channels
from .lease import RENEW_SECONDS, SCRIPTS, Lease, LeaseLost
from .publisher import Publisher
from .routes import IncomingRoute, Kind
from .store import STORED_AS, Life
from .streams import consume_stream

logger = logging.getLogger(__name__)

#: Seconds between two looks into an outbox in which there was nothing.
OUTBOX_SECONDS: Final = 0.2


async def consume_outbox(publisher: Publisher) -> None:
    """
    Relay the messages of an outbox until cancelled.

    Redis and the database may come and go.

    Raises:
        LeaseLost: If another process may do so.
    """
    route, lease = publisher.route, publisher.lease
    publisher.ready()
    while True:
        lease.check()
        count = 0
        try:
            count = await in_thread(relay, route.source, route.id, lease.token)
        except Fenced:
            lease.give_up()
        except (RedisError, DatabaseError) as error:
            publisher.failed(error)
        publisher.counts["messages"] += count
        if count == 0:
            await asyncio.sleep(OUTBOX_SECONDS)


_CONSUME: Final[dict[Kind, Callable[[Publisher], Coroutine[Any, Any, None]]]] = {
    "channel": consume_channels,
    "pattern": consume_channels,
    "stream": consume_stream,
    "outbox": consume_outbox,
}


class Runner:
    """
    One route: wait for its lease, consume what comes while it is owned, and begin anew.

    Args:
        pipeline: To the gateway's Redis, with the scripts of leases.
    """

    def __init__(self, route: IncomingRoute, pipeline: Pipeline | ClusterPipeline) -> None:
        self.route = route
        self.lease = Lease(route.id, pipeline)
        self._publisher = Publisher(route, self.lease, pipeline)
        self._since = 0.0
        self._seen = (0.0, 0)  # when it was looked how many were consumed
        self.rate = 0.0

    @property
    def messages(self) -> int:
        """How many messages were consumed by this route, by whomever."""
        return self._publisher.counts["messages"]

    async def run(self) -> None:
        """Do so until cancelled; what was begun by then is finished, and the lease given back."""
        while True:
            try:
                status = await self.lease.acquire()
                if status is not None:
                    await self._own(status)
            except RedisError as error:
                self._publisher.failed(error)
            except Exception:
                logger.exception("the bridge of %(bridge)s failed", {"bridge": self.route.id})
            await asyncio.sleep(RENEW_SECONDS)

    async def _own(self, status: dict[str, str]) -> None:
        self._begin(status)
        consuming = asyncio.create_task(_CONSUME[self.route.kind](self._publisher))
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.wait((consuming, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(consuming)
            await _end(renewing)
            await self._release()
        if not consuming.cancelled() and not isinstance(consuming.exception(), LeaseLost):
            consuming.result()

    def _begin(self, status: dict[str, str]) -> None:
        """Go on counting where the last owner stopped."""
        self._since = time.time()
        for name, stored in STORED_AS.items():
            self._publisher.counts[name] = int(status.get(stored, 0))
        self._publisher.life = Life.of(status)
        self._seen = (time.monotonic(), self.messages)

    async def _renew(self) -> None:
        """Renew the lease, again and again; return when it is lost."""
        while self.lease.owned:
            await asyncio.sleep(RENEW_SECONDS)
            self._look()
            try:
                await self.lease.renew(self._status())
            except RedisError as error:
                self._publisher.failed(error)

    async def _release(self) -> None:
        if self.lease.owned:
            logger.info("bridge %(bridge)s: given back", {"bridge": self.route.id})
            self._look()
            try:
                await self.lease.release(self._status())
            except RedisError as error:
                self._publisher.failed(error)
        else:
            logger.warning(
                "bridge %(bridge)s: another process may consume it now", {"bridge": self.route.id}
            )
        self.rate = 0.0

    def _look(self) -> None:
        """See how fast it is."""
        before, messages = self._seen
        self._seen = (time.monotonic(), self.messages)
        self.rate = (self.messages - messages) / max(self._seen[0] - before, 0.001)

    def _status(self) -> dict[str, str]:
        return {
            **{stored: str(self._publisher.counts[name]) for name, stored in STORED_AS.items()},
            **(self._publisher.life.status if self.route.kind == "stream" else {}),
            "rate": f"{self.rate:.1f}",
            "holder": self.lease.owner,
            "since": f"{self._since:.3f}",
            "updated": f"{time.time():.3f}",
        }


async def run_bridges(
    routes: Iterable[IncomingRoute],
    watch: Callable[[list[Runner]], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """
    Consume what comes in until cancelled; what was begun by then is finished.

    Redis may come and go. Any number of processes may do this at the same time.

    Args:
        watch: Looks at the routes meanwhile.
    """
    pipeline = open_pipeline(create_pool(conf.REDIS_URL), SCRIPTS)
    runners = [Runner(route, pipeline) for route in routes]
    try:
        async with asyncio.TaskGroup() as tasks:
            for runner in runners:
                tasks.create_task(runner.run())
            if watch is not None:
                tasks.create_task(watch(runners))
            if not runners:
                await asyncio.Event().wait()
    finally:
        await pipeline.aclose()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
