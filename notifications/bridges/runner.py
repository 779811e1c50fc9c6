"""Carrying all routes, each while this process holds it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from redis import RedisError

from realtime.conf import conf
from realtime.redis import create_pool, open_pipeline
from realtime.redis.cluster_pipeline import ClusterPipeline
from realtime.redis.pipeline import Pipeline

from .channels import carry_channels
from .lease import RENEW_SECONDS, SCRIPTS, Lease, LeaseLost
from .publisher import Carrier
from .routes import IncomingRoute, Kind
from .streams import carry_stream

logger = logging.getLogger(__name__)

_CARRY: Final[dict[Kind, Callable[[Carrier], Coroutine[Any, Any, None]]]] = {
    "channel": carry_channels,
    "pattern": carry_channels,
    "stream": carry_stream,
}

#: What is counted over all holders of a route.
COUNTED: Final = ("carried", "put_aside", "errors")


class Runner:
    """
    One route: wait for its lease, carry what comes while it is held, and begin anew.

    Args:
        pipeline: To the gateway's Redis, with the scripts of leases.
    """

    def __init__(self, route: IncomingRoute, pipeline: Pipeline | ClusterPipeline) -> None:
        self.route = route
        self.lease = Lease(route.id, pipeline)
        self._carrier = Carrier(route, self.lease, pipeline)
        self._since = 0.0
        self._seen = (0.0, 0)  # when it was looked how many were carried
        self.rate = 0.0

    @property
    def carried(self) -> int:
        """How many messages were carried by this route, by whomever."""
        return self._carrier.counts["carried"]

    async def run(self) -> None:
        """Do so until cancelled; what was begun by then is finished, and the lease given back."""
        while True:
            try:
                status = await self.lease.acquire()
                if status is not None:
                    await self._hold(status)
            except RedisError as error:
                self._carrier.failed(error)
            except Exception:
                logger.exception("the bridge of %s failed", self.route.id)
            await asyncio.sleep(RENEW_SECONDS)

    async def _hold(self, status: dict[str, str]) -> None:
        self._begin(status)
        carrying = asyncio.create_task(_CARRY[self.route.kind](self._carrier))
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.wait((carrying, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(carrying)
            await _end(renewing)
            await self._release()
        if not carrying.cancelled() and not isinstance(carrying.exception(), LeaseLost):
            carrying.result()

    def _begin(self, status: dict[str, str]) -> None:
        """Go on counting where the last holder stopped."""
        self._since = time.time()
        for name in COUNTED:
            self._carrier.counts[name] = int(status.get(name, 0))
        self._seen = (time.monotonic(), self.carried)

    async def _renew(self) -> None:
        """Renew the lease, again and again; return when it is lost."""
        while self.lease.held:
            await asyncio.sleep(RENEW_SECONDS)
            self._look()
            try:
                await self.lease.renew(self._status())
            except RedisError as error:
                self._carrier.failed(error)

    async def _release(self) -> None:
        if self.lease.held:
            logger.info("bridge %s: given back", self.route.id)
            self._look()
            try:
                await self.lease.release(self._status())
            except RedisError as error:
                self._carrier.failed(error)
        else:
            logger.warning("bridge %s: another process may carry it now", self.route.id)
        self.rate = 0.0

    def _look(self) -> None:
        """See how fast it is."""
        before, carried = self._seen
        self._seen = (time.monotonic(), self.carried)
        self.rate = (self.carried - carried) / max(self._seen[0] - before, 0.001)

    def _status(self) -> dict[str, str]:
        return {
            **{name: str(self._carrier.counts[name]) for name in COUNTED},
            "rate": f"{self.rate:.1f}",
            "holder": self.lease.holder,
            "since": f"{self._since:.3f}",
            "updated": f"{time.time():.3f}",
        }


async def run_bridges(
    routes: Iterable[IncomingRoute],
    watch: Callable[[list[Runner]], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """
    Carry what comes in until cancelled; what was begun by then is finished.

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
