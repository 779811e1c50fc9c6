"""The start line of a server: what it is, and no secret."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.conf import settings as django_settings
from twisted.internet.address import IPv4Address, UNIXAddress

from realtime.server.server import log_start
from realtime.sessions.node import this_node
from tests.kit.local_client import local_node

POSTGRES = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "gateway",
    "USER": "alice",
    "PASSWORD": "secret",
    "HOST": "db.example",
    "PORT": 5433,
    "OPTIONS": {"passfile": "secret"},
}


class Port:
    """A listening port of Twisted's."""

    def __init__(self, address: Any) -> None:
        self.getHost = lambda: address


async def said(caplog: pytest.LogCaptureFixture, address: Any) -> dict[str, Any]:
    caplog.set_level(logging.INFO, "realtime.server.server")
    async with local_node():
        log_start(Port(address))
        [record] = [each for each in caplog.records if each.name == "realtime.server.server"]
        assert record.getMessage() == "listening"
        assert vars(record)["node"] == this_node().id
    return vars(record)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (IPv4Address("TCP", "127.0.0.1", 8080), "127.0.0.1:8080"),
        (UNIXAddress(b"/run/gateway.sock"), "/run/gateway.sock"),
    ],
)
async def test_it_says_where_the_process_listens(
    caplog: pytest.LogCaptureFixture, address: Any, shown: str
) -> None:
    assert (await said(caplog, address))["address"] == shown


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, "postgresql db.example:5433/gateway"),
        ({"PORT": ""}, "postgresql db.example/gateway"),
        ({"HOST": "", "PORT": ""}, "postgresql gateway"),
    ],
)
async def test_the_database_is_shown_without_its_secrets(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    shown: str,
) -> None:
    monkeypatch.setitem(django_settings.DATABASES, "default", POSTGRES | changed)
    record = await said(caplog, IPv4Address("TCP", "127.0.0.1", 8080))
    assert record["database"] == shown


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({"CONFIG": {"hosts": ["redis://:secret@a:1/0", "redis://b"]}}, "a:1, b:6379"),
        ({"BACKEND": "channels.layers.InMemoryChannelLayer"}, "none"),
    ],
)
async def test_redis_is_shown_without_its_secrets(
    caplog: pytest.LogCaptureFixture, settings: Any, config: dict[str, Any], shown: str
) -> None:
    layers = {"default": {"BACKEND": "realtime.layer.TopicLayer", **config}}
    settings.CHANNEL_LAYERS = layers
    record = await said(caplog, IPv4Address("TCP", "127.0.0.1", 8080))
    assert record["redis"] == shown
