"""Key sets: which of their keys count, and what becomes of them while their source fails."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from realtime.access.jwt import BadToken, Claims, KeysUnavailable, read
from realtime.access.jwt import key_sets as jwks
from tests.kit.key_server import Answer, KeyServer, answer_bytes, answer_keys, trickle
from tests.kit.tokens import encoded, forged, jwk, key_text, pem, private_key, token


class Clock:
    """A monotonic clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(jwks, "time", clock)
    return clock


@pytest.fixture
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    """The key server of the settings, with one key called "a"."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = KeyServer()
    server.answer = answer_keys([jwk("RS256", "a")])
    settings.STOMP_JWT = {"jwks": server.url}
    yield server
    server.close()


def accepts(kid: str | None, number: int = 0) -> bool:
    """Return whether a token signed by this key is accepted under this name."""
    try:
        return isinstance(read(token(kid=kid, number=number)), Claims)
    except BadToken as error:
        assert error.reason.startswith("the token is signed with an unknown key")
        return False


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_is_found_by_its_name(settings: Any, tmp_path: Path, algorithm: str) -> None:
    file = tmp_path / "keys.json"
    keys = [jwk(algorithm, "a"), jwk(algorithm, "b", 1), {"kty": "new"}, "garbage", None, {}]
    file.write_text(json.dumps({"keys": keys}))
    settings.STOMP_JWT = {"jwks": str(file), "algorithms": [algorithm]}
    for kid, number in (("a", 0), ("b", 1)):
        assert read(token(algorithm, number, kid)) is not None
    with pytest.raises(BadToken, match="wrong signature"):
        read(token(algorithm, 1, "a"))
    for kid in ("c", "", None):  # without a name it has to be the only one
        with pytest.raises(BadToken, match="unknown key"):
            read(token(algorithm, 0, kid))


def test_a_token_without_a_name_takes_the_only_key(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [jwk("RS256", "a"), jwk("ES256", "b")]}))
    settings.STOMP_JWT = {"jwks": file}
    assert accepts(None)


@pytest.mark.parametrize(
    "more",
    [
        {"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}, {"key_ops": ["encrypt"]},
        {"key_ops": 7}, {"kty": "EC"}, {"kty": "oct"}, {"n": "AAAA"}, {"n": 7}, {"kty": ["RSA"]},
        {"d": "private"},
    ],
    ids=str,
)  # fmt: skip
def test_a_key_for_something_else_does_not_count(
    settings: Any, tmp_path: Path, more: dict[str, Any]
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [jwk("RS256", "a", **more)]}))
    settings.STOMP_JWT = {"jwks": file, "algorithms": ["RS256", "ES256", "HS256"]}
    assert not accepts("a")


def test_a_public_key_of_a_set_is_no_secret_and_a_short_secret_none_at_all(
    settings: Any, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    short = {"kty": "oct", "kid": "short", "k": encoded(b"x" * 31)}
    long = {"kty": "oct", "kid": "long", "k": encoded(key_text("HS256").encode())}
    file.write_text(json.dumps({"keys": [jwk("RS256", "a"), short, long]}))
    settings.STOMP_JWT = {"jwks": file, "algorithms": ["RS256", "HS256"]}
    assert read(token("HS256", kid="long")) is not None
    attacks = (("a", pem(private_key("RS256"))), ("short", "x" * 31))
    for kid, secret in attacks:
        with pytest.raises(BadToken, match="unknown key"):
            read(forged({"alg": "HS256", "kid": kid}, secret))


def test_a_file_that_changes_is_read_again(settings: Any, tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "keys.json"
    settings.STOMP_JWT = {"jwks": str(file), "cache_seconds": 300}
    file.write_text(json.dumps({"keys": [jwk("RS256", "a")]}))
    assert accepts("a")
    file.write_text(json.dumps({"keys": [jwk("RS256", "b", 1)]}))
    clock.now += 299
    assert accepts("a")
    clock.now += 1
    assert not accepts("a") and accepts("b", 1)


def test_the_keys_are_asked_for_once_while_they_are_new(server: KeyServer, clock: Clock) -> None:
    assert all(accepts("a") for _ in range(20))
    assert server.requests == 1
    clock.now += 301
    assert all(accepts("a") for _ in range(20))
    assert server.requests == 2


def test_a_new_key_is_found_and_made_up_names_do_not_become_requests(
    server: KeyServer, clock: Clock
) -> None:
    assert accepts("a")
    clock.now += 11
    server.answer = answer_keys([jwk("RS256", "a"), jwk("RS256", "b", 1)])
    assert accepts("b", 1)
    assert server.requests == 2
    assert not any(accepts(f"made up {number}") for number in range(50))
    assert server.requests == 2
    clock.now += 11
    assert not any(accepts(f"made up {number}") for number in range(50))
    assert server.requests == 3
    assert accepts("a") and accepts("b", 1)


def hang_up(request: Any) -> None:
    """Close the connection instead of an answer."""


FAILURES: dict[str, Answer] = {
    "500": answer_bytes(b"{}", 500),
    "404": answer_bytes(b"not here", 404),
    "garbage": answer_bytes(b"<html>"),
    "not text": answer_bytes(b"\xff\xfe\xfd"),
    "nothing": answer_bytes(b""),
    "no set": answer_bytes(b"[]"),
    "no list": answer_bytes(b'{"keys": {}}'),
    "deep": answer_bytes(b"[" * 100_000),
    "huge": answer_bytes(b" " * (jwks.MAX_BYTES + 1)),
    "cut off": answer_bytes(b'{"keys": ['),
    "another scheme": answer_bytes(b"", 302, Location="https://127.0.0.1/keys"),
    "a file": answer_bytes(b"", 302, Location="file:///etc/passwd"),
    "in circles": answer_bytes(b"", 302, Location="/keys"),
    "hangs up": hang_up,
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_known_keys_stay_in_use_while_their_server_fails(
    server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture, failure: Answer
) -> None:
    assert accepts("a")
    works, server.answer = server.answer, failure
    for _ in range(30):
        clock.now += 100
        assert accepts("a")
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 20 < len(warnings) <= 30
    assert all("can't be read" in record.getMessage() for record in warnings)
    server.answer = works
    clock.now += 100
    assert accepts("a")


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_without_any_keys_no_token_can_be_judged(
    server: KeyServer, clock: Clock, failure: Answer
) -> None:
    works, server.answer = server.answer, failure
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            read(token(kid="a"))
    assert server.requests in (1, 5)  # one of them leads in circles, for a while
    server.answer = works
    clock.now += 2
    assert accepts("a")


def test_there_is_one_warning_a_minute(
    server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = answer_bytes(b"", 503)
    for _ in range(59):
        clock.now += 1
        with pytest.raises(KeysUnavailable):
            read(token(kid="a"))
    assert server.requests == 59
    assert len(caplog.records) == 1
    clock.now += 2
    with pytest.raises(KeysUnavailable):
        read(token(kid="a"))
    assert len(caplog.records) == 2


def test_a_server_that_is_down_and_a_file_that_is_not_there_are_no_keys(
    settings: Any, server: KeyServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    closed = KeyServer()
    closed.close()
    for source in (f"{closed.url}?secret=1", str(tmp_path / "none.json")):
        settings.STOMP_JWT = {"jwks": source}
        with pytest.raises(KeysUnavailable) as info:
            read(token(kid="a"))
        assert "secret" not in f"{info.value} {caplog.text}"


def in_threads(count: int, call: Callable[[], bool]) -> list[bool]:
    start = threading.Barrier(count)

    def run() -> bool:
        start.wait()
        return call()

    with ThreadPoolExecutor(count) as pool:
        return [each.result() for each in [pool.submit(run) for _ in range(count)]]


def test_readers_at_once_share_one_request(server: KeyServer) -> None:
    server.answer = answer_keys([jwk("RS256", "a")], after=0.3)
    assert all(in_threads(30, lambda: accepts("a")))
    assert server.requests == 1


def test_a_server_that_is_slow_holds_up_one_reader_while_keys_are_known(
    server: KeyServer, settings: Any
) -> None:
    settings.STOMP_JWT = {"jwks": server.url, "cache_seconds": 0}
    assert accepts("a")
    time.sleep(0.01)
    jwks_pause, jwks.REREAD_SECONDS = jwks.REREAD_SECONDS, 0.0  # type: ignore[misc]
    try:
        server.answer = answer_keys([jwk("RS256", "a")], after=1)
        slow = threading.Thread(target=accepts, args=("a",))
        slow.start()
        while server.requests < 2:
            time.sleep(0.01)
        started = time.monotonic()
        assert all(accepts("a") for _ in range(10))
        assert time.monotonic() - started < 0.7
        slow.join()
    finally:
        jwks.REREAD_SECONDS = jwks_pause  # type: ignore[misc]


def test_who_makes_up_names_does_not_take_all_threads(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert accepts("a")
    monkeypatch.setattr(jwks, "REREAD_SECONDS", 0.0)
    server.answer = answer_keys([jwk("RS256", "a")], after=1)
    threads = [threading.Thread(target=accepts, args=("made-up",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while server.requests < 2:
        time.sleep(0.01)
    time.sleep(0.05)
    started = time.monotonic()
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            read(token(kid="made-up"))
    assert time.monotonic() - started < 0.5
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("answer", [answer_keys([], after=2), trickle], ids=["late", "trickling"])
def test_a_server_that_takes_too_long_is_given_up(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT_SECONDS", 0.5)
    server.answer = answer
    started = time.monotonic()
    with pytest.raises(KeysUnavailable):
        read(token(kid="a"))
    assert 0.4 < time.monotonic() - started < 1.5


def test_a_redirection_on_the_same_scheme_is_followed(server: KeyServer) -> None:
    keys = server.answer

    def answer(request: Any) -> None:
        moved = answer_bytes(b"", 302, Location="/moved")
        (keys if request.path == "/moved" else moved)(request)

    server.answer = answer
    assert accepts("a")
