"""The gateway's own project, as any project that is tested with the kit."""

from __future__ import annotations

from typing import Any

import pytest

ROUTING = {"STOMP_ROUTING": "tests.routing", "STOMP_ANONYMOUS": True}

#: The channel layers that a project may have in the settings of its tests.
LAYERS = {
    "in memory": "channels.layers.InMemoryChannelLayer",
    "plain": "channels_redis.core.RedisChannelLayer",
    "plain pub/sub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "ours": "realtime.layer.TopicLayer",
}


@pytest.fixture(autouse=True)
def routing(settings: Any) -> None:
    for name, value in ROUTING.items():
        setattr(settings, name, value)


@pytest.fixture(scope="session")
def gateway_settings() -> dict[str, Any]:
    return ROUTING


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest, settings: Any) -> str:
    """What has to go the same way on any channel layer."""
    layer: dict[str, Any] = {"BACKEND": LAYERS[request.param]}
    if request.param != "in memory":
        layer["CONFIG"] = {"hosts": [settings.REDIS_URL], "prefix": "kit"}
    settings.CHANNEL_LAYERS = {"default": layer}
    return str(request.param)
