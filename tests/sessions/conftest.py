from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.kit.local_client import LocalClient, local_client, local_node


@pytest.fixture(autouse=True)
def routing(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.routing"
    settings.STOMP_ANONYMOUS = True
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]


@pytest.fixture(params=["redis", "in memory"])
def layer(request: pytest.FixtureRequest, settings: Any) -> str:
    """What has to go the same way on any channel layer."""
    if request.param == "in memory":
        backend = "channels.layers.InMemoryChannelLayer"
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    return str(request.param)


@pytest.fixture
async def node() -> AsyncIterator[None]:
    async with local_node():
        yield


@pytest.fixture
async def client(node: None) -> AsyncIterator[LocalClient]:
    async with local_client() as client:
        yield client


@pytest.fixture
async def other(node: None) -> AsyncIterator[LocalClient]:
    async with local_client() as client:
        yield client
