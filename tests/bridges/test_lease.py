"""One process at a time carries a route, and each that does has a higher number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import redis
from django.conf import settings

from notifications.bridges.lease import LEASE_SECONDS, SCRIPTS, Lease, LeaseLost
from notifications.bridges.store import key_of
from realtime.layer.loop import open_pipeline
from realtime.redis import create_pool
from tests.kit.bridging import new_name


@pytest.fixture
def route_id() -> str:
    return f"stream:{new_name('lease')}"


@pytest.fixture
async def new_lease(route_id: str) -> AsyncIterator[Callable[[], Lease]]:
    """Makes what a process has that wants the route."""
    pipeline = open_pipeline(create_pool(settings.REDIS_URL), SCRIPTS)
    yield lambda: Lease(route_id, pipeline)
    await pipeline.aclose()


async def test_only_one_holds_it_until_it_is_given_back(new_lease: Callable[[], Lease]) -> None:
    one, other = new_lease(), new_lease()
    assert await one.acquire() == {}
    assert await other.acquire() is None
    assert (one.owned, other.owned) == (True, False)
    await one.release({"carried": "7"})
    assert not one.owned
    assert await other.acquire() == {"carried": "7"}
    assert other.token > one.token


async def test_who_was_replaced_does_not_get_it_back_by_renewing(
    new_lease: Callable[[], Lease], redis_client: redis.Redis, route_id: str
) -> None:
    one, other = new_lease(), new_lease()
    await one.acquire()
    redis_client.delete(key_of(route_id, "lease"))  # as if it had slept for so long
    await other.acquire()
    await other.release({"carried": "1"})
    await one.renew({"carried": "0"})
    assert not one.owned
    with pytest.raises(LeaseLost):
        one.check()
    assert redis_client.hget(key_of(route_id, "status"), "carried") == b"1"


async def test_a_redis_that_has_forgotten_everything_takes_it_from_nobody(
    new_lease: Callable[[], Lease], redis_client: redis.Redis, route_id: str
) -> None:
    one, other = new_lease(), new_lease()
    await one.acquire()
    redis_client.delete(*(key_of(route_id, part) for part in ("lease", "fence")))
    await one.renew({"carried": "1"})
    assert one.owned
    assert await other.acquire() is None
    redis_client.delete(*(key_of(route_id, part) for part in ("lease", "fence")))
    await other.acquire()
    assert other.token > one.token


async def test_it_ends_by_its_holders_own_clock_too(
    new_lease: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = new_lease()
    await lease.acquire()
    lease.check()
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(lease._loop, "time", lambda: now + LEASE_SECONDS)
    assert not lease.owned
    with pytest.raises(LeaseLost):
        lease.check()
