"""How many new topics an account may make."""

from __future__ import annotations

import pytest
from django.test import override_settings

from realtime.access import topic_quota
from realtime.access.topic_quota import TooManyTopics, TopicQuota
from realtime.stomp import Unavailable

THREE = override_settings(STOMP_NEW_TOPICS_PER_MINUTE=3)


class Clock:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr("realtime.access.topic_quota.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def quota(clock: Clock) -> TopicQuota:
    return TopicQuota()


def make(quota: TopicQuota, numbers: range, account: str = "alice") -> None:
    for number in numbers:
        quota.check(account, f"/topic/{number}")


@THREE
def test_as_many_as_allowed_and_no_more(quota: TopicQuota) -> None:
    make(quota, range(3))
    with pytest.raises(TooManyTopics) as error:
        make(quota, range(3, 4))
    assert isinstance(error.value, Unavailable)
    assert (error.value.code, error.value.close_code) == ("too-many-topics", 4001)
    assert error.value.retry_after == 60
    assert "alice" in error.value.message and "try again in 60 s" in error.value.message


@THREE
def test_what_is_known_costs_nothing_and_what_was_refused_is_not_known(quota: TopicQuota) -> None:
    make(quota, range(3))
    for _ in range(5):
        make(quota, range(3))
        with pytest.raises(TooManyTopics):
            make(quota, range(3, 4))


@THREE
def test_others_are_not_slowed_and_know_what_somebody_made(quota: TopicQuota) -> None:
    make(quota, range(3))
    make(quota, range(6), account="bob")
    with pytest.raises(TooManyTopics):
        make(quota, range(6, 7), account="bob")


@THREE
def test_after_the_minute_there_are_more(quota: TopicQuota, clock: Clock) -> None:
    make(quota, range(3))
    clock.now += 59.5
    with pytest.raises(TooManyTopics) as error:
        make(quota, range(3, 4))
    assert error.value.retry_after == 1
    clock.now += 0.5
    make(quota, range(3, 6))


@override_settings(STOMP_NEW_TOPICS_PER_MINUTE=0)
def test_without_a_bound_nothing_is_counted(quota: TopicQuota) -> None:
    make(quota, range(10_000))


@THREE
def test_what_has_no_history_does_not_count(quota: TopicQuota) -> None:
    for number in range(10):
        quota.check("alice", f"/user/alice/queue/{number}")
    make(quota, range(3))


@override_settings(STOMP_NEW_TOPICS_PER_MINUTE=1)
def test_a_topic_is_known_as_long_as_it_is_used(quota: TopicQuota, clock: Clock) -> None:
    for hour in range(1, 10):
        make(quota, range(1), account="bob" if hour == 1 else "alice")
        make(quota, range(hour, hour + 1))  # all that she may
        clock.now += 3600


@override_settings(STOMP_NEW_TOPICS_PER_MINUTE=10)
def test_a_topic_that_is_not_used_is_forgotten(quota: TopicQuota, clock: Clock) -> None:
    make(quota, range(1))
    for number in range(1, 4):
        clock.now += 3601
        make(quota, range(number, number + 1))
    make(quota, range(10, 19))
    with pytest.raises(TooManyTopics):
        make(quota, range(1))


@override_settings(STOMP_NEW_TOPICS_PER_MINUTE=10**9)
def test_what_is_known_is_bounded(quota: TopicQuota, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_quota, "MAX_KNOWN", 100)
    make(quota, range(1000))
    assert len(quota.known) + len(quota._older) <= 100
