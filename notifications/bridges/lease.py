"""
Lease: which of any number of processes consumes a route.

A lease is a key in the gateway's Redis that expires. Each time somebody takes it, its number is
higher than ever before, even where Redis has lost its data; what is published carries that number,
the fencing token, so that an owner that was asleep, and does not know yet that another took over,
can't do harm.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import socket
from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

from realtime.redis import Call, Script
from realtime.redis.cluster_pipeline import ClusterPipeline
from realtime.redis.pipeline import Pipeline

from .store import key_of

#: Seconds that a lease lasts, and between two renewals, and between two attempts to get it.
LEASE_SECONDS: Final = 5.0
RENEW_SECONDS: Final = 1.0

#: KEYS: lease, fence, status. ARGV: run, owner, ms. Returns the number of the lease, or 0 if
#: another has it, and the status.
_ACQUIRE: Final = Script(
    """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[2] then return {0, {}} end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local number = math.max(tonumber(redis.call('GET', KEYS[2]) or 0) + 1, now)
redis.call('SET', KEYS[2], string.format('%.0f', number))
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {number, redis.call('HGETALL', KEYS[3])}
"""
)

#: KEYS: as above. ARGV: run, owner, ms, number, status... Renews the lease, or gives it back with
#: 0 ms; returns 0 if another has or had it. What Redis forgot and nobody took since is still ours.
_RENEW: Final = Script(
    """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[2] then return 0 end
if tonumber(redis.call('GET', KEYS[2]) or 0) > tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[2], ARGV[4])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[3], unpack(ARGV, 5))
return 1
"""
)

SCRIPTS: Final = (_ACQUIRE, _RENEW)


class LeaseLost(Exception):
    """This process does not hold the route any more, or can't be sure of it."""


class Lease:
    """
    The right to consume one route.

    All that talk to Redis may raise redis.RedisError.

    Args:
        pipeline: To the gateway's Redis, with :data:`SCRIPTS`.
    """

    def __init__(self, route_id: str, pipeline: Pipeline | ClusterPipeline) -> None:
        self._keys = tuple(key_of(route_id, part) for part in ("lease", "fence", "status"))
        self._pipeline = pipeline
        self._loop = asyncio.get_running_loop()
        self._until = -math.inf
        #: The process, for people, and what no other process has.
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self.owner_id = f"{self.owner} {secrets.token_hex(4)}"
        #: Higher than that of anybody who held it before.
        self.token = 0

    @property
    def owned(self) -> bool:
        """Whether nobody else can have it, by our own clock."""
        return self._loop.time() < self._until

    def check(self) -> None:
        """
        Raises:
            LeaseLost: If somebody else may have it.
        """
        if not self.owned:
            raise LeaseLost

    async def acquire(self) -> dict[str, str] | None:
        """Return the status that was written last, if the lease is ours now, otherwise None."""
        until = self._loop.time() + LEASE_SECONDS
        number, status = await self._call(_ACQUIRE, LEASE_SECONDS)
        if number == 0:
            return None
        self.token, self._until = number, until
        texts = [each.decode() for each in status]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def renew(self, status: Mapping[str, str]) -> None:
        """Renew the lease, if it is still ours, and write a status."""
        await self._renew(LEASE_SECONDS, status)

    async def release(self, status: Mapping[str, str]) -> None:
        """Give it back, and write the last status."""
        await self._renew(0, status)

    def give_up(self) -> None:
        """Hold it no longer."""
        self._until = -math.inf

    async def _renew(self, seconds: float, status: Mapping[str, str]) -> None:
        until = self._loop.time() + seconds
        pairs = chain.from_iterable(status.items())
        renewed = await self._call(_RENEW, seconds, str(self.token), *pairs)
        self._until = until if renewed else -math.inf

    async def _call(self, script: Script, seconds: float, *arguments: str) -> Any:
        milliseconds = f"{seconds * 1000:.0f}"
        call = Call(script, self._keys, (self.owner_id, milliseconds, *arguments))
        return await self._pipeline.submit(call)
