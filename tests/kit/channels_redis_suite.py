"""A pytest plugin under which channels_redis' own pub/sub tests run on our layer."""

from __future__ import annotations

import os
from typing import Any

import channels_redis.pubsub
import pytest

from realtime.layer import layer as layers
from realtime.layer import loop as shards


class BothLinks:
    """What those tests close to see that the layer connects again."""

    def __init__(self, shard: Any) -> None:
        self._shard = shard

    async def aclose(self, close_connection_pool: bool) -> None:
        for link in (self._shard.subscriber.link, self._shard.pipeline._link):
            if link is not None:
                link.close()


shards.Shard._redis = property(BothLinks)  # type: ignore[attr-defined]
channels_redis.pubsub.RedisPubSubChannelLayer = layers.TopicLayer


@pytest.hookimpl
def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        item.module.TEST_HOSTS[:] = [os.environ["SUITE_REDIS_URL"]]
