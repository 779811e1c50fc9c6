from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from tests import environment

#: Django's own name, so that tests may use the real database from several threads.
pytest_plugins: list[str] = []


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    # A file, because sessions are written from a thread of their own.
    folder = tmp_path_factory.mktemp("database")
    settings.DATABASES["default"]["TEST"] = {"NAME": str(folder / "test.sqlite3")}


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
