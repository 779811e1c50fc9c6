"""How often clients may ask for something: at the limit, and one above."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.access import limits
from realtime.access.limits import Bucket, Buckets, Refusals, check_connect
from realtime.stomp import TooMany


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in a list of one, to be set."""
    now = [1000.0]
    monkeypatch.setattr("realtime.access.limits.time.monotonic", lambda: now[0])
    monkeypatch.setattr(limits, "_connects", Buckets())
    return now


def test_a_bucket_says_how_long_to_wait_for_what_was_taken_beyond_it() -> None:
    bucket = Bucket()
    assert bucket.spend(300, 1000.0, rate=100, burst=300) == 0
    assert bucket.spend(1, 1000.0, rate=100, burst=300) == pytest.approx(0.01)
    assert bucket.spend(99, 1000.0, rate=100, burst=300) == pytest.approx(1)
    assert bucket.spend(0, 1001.0, rate=100, burst=300) == pytest.approx(0)
    assert bucket.spend(100, 1002.0, rate=100, burst=300) == pytest.approx(0)
    assert bucket.spend(300, 2000.0, rate=100, burst=300) == 0  # it does not hold more than that


def test_each_key_has_a_bucket_and_who_is_refused_pays_nothing(now: list[float]) -> None:
    buckets = Buckets()
    assert [buckets.take("a", 1, 3) for _ in range(5)] == [0, 0, 0, 1, 1]
    assert buckets.take("b", 1, 3) == 0
    now[0] += 1
    assert [buckets.take("a", 1, 3) for _ in range(2)] == [0, 1]


def test_buckets_that_are_full_again_are_forgotten(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BUCKETS", 100)
    buckets = Buckets()
    for number in range(1000):
        now[0] += 1
        buckets.take(number, 1, 3)
        assert len(buckets._full_at) <= 100
    for number in range(1000):
        buckets.take(f"at once {number}", 1, 3)
        assert len(buckets._full_at) <= 100


def connects(address: str, count: int) -> int:
    """Try to log in so often; return how often that was possible."""
    taken = 0
    for _ in range(count):
        try:
            check_connect(address)
            taken += 1
        except TooMany:
            pass
    return taken


def test_an_address_may_log_in_so_often_at_once_and_then_in_a_minute(
    settings: Any, now: list[float]
) -> None:
    settings.STOMP_CONNECTS_PER_MINUTE = 60
    assert connects("192.0.2.1", 60) == 60
    with pytest.raises(TooMany) as error:
        check_connect("192.0.2.1")
    assert (error.value.code, error.value.close_code) == ("too-many-connects", 4001)
    assert error.value.retry_after is not None and 6 <= error.value.retry_after <= 16
    assert connects("192.0.2.2", 61) == 60
    now[0] += 10
    assert connects("192.0.2.1", 100) == 10


def test_a_network_of_ipv6_is_one_address(settings: Any, now: list[float]) -> None:
    settings.STOMP_CONNECTS_PER_MINUTE = 1
    assert connects("2001:db8::1", 1) == 1
    assert connects("2001:db8::2", 1) == 0
    assert connects("2001:db8:0:1::1", 1) == 1


@pytest.mark.parametrize("address", ["", "10.0.0.1"], ids=["nobody", "a proxy that names nobody"])
def test_who_stands_for_many_is_not_counted(settings: Any, now: list[float], address: str) -> None:
    settings.STOMP_CONNECTS_PER_MINUTE = 1
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert connects(address, 100) == 100


def test_zero_is_for_any_number(settings: Any, now: list[float]) -> None:
    settings.STOMP_CONNECTS_PER_MINUTE = 0
    assert connects("192.0.2.1", 10_000) == 10_000


def test_what_is_refused_is_counted_and_logged_once_a_minute(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    refusals = Refusals()
    for _ in range(3):
        refusals.note("busy", ["192.0.2.1", 1], "too much")
    refusals.note("commands", None, "more than 10 a second", "slowed down")
    now[0] += 60
    refusals.note("busy", ["192.0.2.1", 1], "too much")
    assert refusals.counts == {"busy": 4, "commands": 1}
    assert caplog.messages == [
        "refused 192.0.2.1 (busy): too much",
        "slowed down somebody (commands): more than 10 a second",
        "refused 192.0.2.1 (busy): too much; 2 more since the last line",
    ]
