"""What orchestrators ask a process, in the process of the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.layers import get_channel_layer

from realtime.nodes.health import LIVE, READY, health


@pytest.fixture(autouse=True)
async def layer() -> AsyncIterator[None]:
    yield
    await get_channel_layer().flush()


async def ask(path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    communicator = ApplicationCommunicator(health, {"type": "http", "path": path, "method": method})
    start = await communicator.receive_output(15)
    body = await communicator.receive_output(15)
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, body["body"]


@pytest.mark.parametrize("path", [LIVE, READY])
async def test_a_process_with_redis_lives_and_is_ready(path: str) -> None:
    status, headers, body = await ask(path)
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers["cache-control"] == "no-store"
    assert int(headers["content-length"]) == len(body)
    status, headers, nothing = await ask(path, "HEAD")
    assert (status, nothing) == (200, b"")
    assert int(headers["content-length"]) == len(body)


async def test_without_redis_it_lives_and_is_not_ready(redis_away: None) -> None:
    assert (await ask(LIVE))[0] == 200
    status, _, body = await ask(READY)
    assert status == 503
    assert json.loads(body)["detail"].startswith("Redis is away: ")


async def test_on_a_layer_that_can_not_be_asked_it_is_ready(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert (await ask(READY))[0] == 200
