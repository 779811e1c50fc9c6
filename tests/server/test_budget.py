from __future__ import annotations

from typing import Any

import pytest

from realtime.server.bounds import PATIENCE_SECONDS, Budget


@pytest.fixture(autouse=True)
def limits(settings: Any) -> None:
    settings.STOMP_FRAMES_PER_SECOND = 10
    settings.STOMP_FRAMES_BURST = 100


def test_a_burst_may_come_at_once_and_one_more_waits() -> None:
    budget = Budget()
    assert budget.spend(100, 1000.0) == 0
    assert budget.spend(1, 1000.0) == pytest.approx(0.1)


def test_it_fills_again_with_time_but_not_beyond_the_burst() -> None:
    budget = Budget()
    budget.spend(100, 1000.0)
    assert budget.spend(10, 1001.0) == 0
    assert budget.spend(100, 2000.0) == 0
    assert budget.spend(1, 2000.0) > 0


def test_patience_ends_when_it_was_over_for_long() -> None:
    budget, now = Budget(), 1000.0
    budget.spend(101, now)
    while now < 1000 + PATIENCE_SECONDS:
        assert not budget.is_out_of_patience(now)
        now += budget.spend(1, now)
    assert budget.is_out_of_patience(now)


def test_who_stops_in_time_is_forgiven() -> None:
    budget = Budget()
    budget.spend(101, 1000.0)
    budget.spend(1, 1006.0)
    assert not budget.is_out_of_patience(1006.0)


def test_without_a_rate_there_is_no_bound(settings: Any) -> None:
    settings.STOMP_FRAMES_PER_SECOND = 0
    assert Budget().spend(10**9, 1000.0) == 0
