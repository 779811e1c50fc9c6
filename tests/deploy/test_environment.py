"""Variables of the environment that deployments set."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from realtime import concurrency
from realtime.concurrency import FairThreads
from tests.kit.environment import free_port
from tests.kit.processes import PROJECT, environment, manage

PRINT = "from django.conf import settings; print(settings.{name})"


def setting(name: str, **variables: str) -> str:
    return manage("shell", "-v", "0", "-c", PRINT.format(name=name), **variables).strip()


def test_a_secret_that_has_no_value_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret_key"
    file.write_text("of the file\n")
    variables = {"SECRET_KEY_FILE": str(file)}
    assert setting("SECRET_KEY", SECRET_KEY="", **variables) == "of the file"
    assert setting("SECRET_KEY", SECRET_KEY="of the variable", **variables) == "of the variable"


def test_who_still_sets_trust_proxy_is_told_what_took_its_place() -> None:
    done = subprocess.run(
        ["python", "manage.py", "check"],
        cwd=PROJECT, env=environment(TRUST_PROXY="1"), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "say in TRUSTED_PROXIES where the proxy is" in done.stderr
    assert setting("TRUSTED_PROXIES", TRUST_PROXY="1", TRUSTED_PROXIES="::1") == "['::1']"


def test_a_database_that_is_away_is_not_waited_for_long() -> None:
    url = f"postgres://gateway:x@127.0.0.1:{free_port()}/gateway"
    assert "'connect_timeout': 5" in setting("DATABASES", DATABASE_URL=url)
    given = setting("DATABASES", DATABASE_URL=f"{url}?connect_timeout=2&sslmode=require")
    assert "'connect_timeout': '2'" in given or "'connect_timeout': 2" in given
    assert "'sslmode': 'require'" in given


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ({}, 60),
        ({"CONN_MAX_AGE": 7}, 7),
        ({"CONN_MAX_AGE": None}, None),
        ({"OPTIONS": {"pool": True}}, 0),
    ],
)
def test_a_thread_that_lives_on_keeps_its_connections_unless_the_project_says_how(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, Any], kept: int | None
) -> None:
    monkeypatch.setattr(concurrency, "CONNECTION_SECONDS", 60)
    for name, value in own.items():
        monkeypatch.setitem(connections.settings["default"], name, value)
    threads = FairThreads(1, limit=1, limit_of_one=1, name="keeping")

    def read() -> int | None:
        age: int | None = connections["default"].settings_dict["CONN_MAX_AGE"]
        return age

    assert threads.submit("x", read).result(10) == kept
