"""The audit log: no line is forged, and a flood does not fill it."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from realtime.access import audit
from realtime.counters import counters


class Clock:
    """A monotonic clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    caplog.set_level(logging.WARNING, "realtime.audit")
    clock = Clock()
    monkeypatch.setattr(audit, "time", clock)
    monkeypatch.setattr(audit, "_rate", audit._Rate())
    return clock


@pytest.mark.parametrize(
    "login",
    ["a\nrefused user=admin", "\r", 'a" address="192.0.2.1', "\u2028", "\x1b[2J", "\ud800", "é\0"],
)
def test_a_line_is_one_line_whatever_is_in_it(caplog: pytest.LogCaptureFixture, login: str) -> None:
    audit.record("login-failed", login=login, address="192.0.2.7")
    (line,) = caplog.messages
    assert line == f'login-failed login={json.dumps(login)} address="192.0.2.7"'
    assert line.isascii()
    assert line.isprintable()


def test_a_value_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    audit.record("refused", destination="x" * 100_000)
    assert len(caplog.messages[0]) < 300


def test_a_flood_is_left_out_and_counted(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    for _ in range(audit.BURST + 42):
        audit.record("refused", user="mallory")
    assert len(caplog.messages) == audit.BURST
    clock.now += 1
    for _ in range(audit.PER_SECOND + 5):
        audit.record("refused", user="mallory")
    assert caplog.messages[audit.BURST] == "left-out lines=42"
    assert len(caplog.messages) == audit.BURST + audit.PER_SECOND + 1
    clock.now += 3600
    caplog.clear()
    for _ in range(audit.BURST * 2):
        audit.record("refused", user="mallory")
    assert caplog.messages[0] == "left-out lines=5"
    assert len(caplog.messages) == audit.BURST + 1


def test_threads_write_no_more_than_that(caplog: pytest.LogCaptureFixture) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: audit.record("refused", user="mallory"), range(1000)))
    assert len(caplog.messages) <= audit.BURST + 8


def test_what_is_left_out_of_the_log_is_counted_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = counters.audited["login-failed"]
    for _ in range(audit.BURST + 20):
        audit.record("login-failed", address="192.0.2.7")
    assert len(caplog.messages) == audit.BURST
    assert counters.audited["login-failed"] == before + audit.BURST + 20
