"""How many requests, and new topics, a user of the API may have: at the limit, and one above."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.http import HttpResponse
from django.test import Client
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from notifications.api import throttle
from notifications.api.throttle import AWAY_SECONDS, RequestCounts
from realtime.access import topic_quota
from realtime.access.topic_quota import TopicQuota
from tests.kit.users import make_user
from tests.kit.valkeys import Cluster, closing

URL = "/api/notification"

pytestmark = pytest.mark.django_db


class Clock:
    """The time of the counts."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0  # a full minute
        now = SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now)
        patch.setattr(throttle, "time", now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis) -> Clock:
    for key in redis_client.keys("gateway:requests:*"):
        redis_client.delete(key)
    return Clock(monkeypatch)


@pytest.fixture(autouse=True)
def routing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STOMP_ROUTING = "tests.routing"
    monkeypatch.setattr(throttle, "counts", RequestCounts())
    monkeypatch.setattr(topic_quota, "quota", TopicQuota())


def api_of(name: str) -> APIClient:
    user = make_user(name, "notifications.publish")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=user).key}")
    return client


def post(api: Client, topic: str = "/topic/toast", **headers: str) -> HttpResponse:
    content = json.dumps({"topic": topic, "message": "x"})
    return api.post(URL, content, content_type="application/json", **headers)


def taken(counts: RequestCounts, count: int, most: int, account: str = "alice") -> int:
    return sum(counts.take(account, most) == 0 for _ in range(count))


# Requests


def test_a_user_may_make_so_many_requests_in_a_minute(settings: Any, clock: Clock) -> None:
    settings.STOMP_API_REQUESTS_PER_MINUTE = 3
    alice, bob = api_of("alice"), api_of("bob")
    assert [post(alice).status_code for _ in range(3)] == [202] * 3
    clock.now += 20
    refused = post(alice)
    assert (refused.status_code, refused["Retry-After"]) == (429, "40")
    assert "detail" in refused.json()
    assert post(bob).status_code == 202
    clock.now += 40
    assert post(alice).status_code == 202


def test_anonymous_clients_count_by_their_addresses(settings: Any, clock: Clock) -> None:
    settings.DEBUG = True
    settings.STOMP_API_REQUESTS_PER_MINUTE = 1
    here, there = Client(), Client(REMOTE_ADDR="192.0.2.7")
    assert [post(here).status_code for _ in range(2)] == [202, 429]
    assert [post(there).status_code for _ in range(2)] == [202, 429]


def test_other_parts_of_the_api_count_too(settings: Any, clock: Clock) -> None:
    settings.STOMP_API_REQUESTS_PER_MINUTE = 2
    alice = api_of("alice")
    statuses = [alice.post("/api/ticket").status_code for _ in range(2)]
    assert statuses == [201, 201]
    assert post(alice).status_code == 429


def test_all_processes_count_together(clock: Clock) -> None:
    here, there = RequestCounts(), RequestCounts()
    assert taken(here, 2, most=3) == 2
    assert taken(there, 2, most=3) == 1
    assert taken(here, 2, most=3) == 0


def test_so_they_do_on_a_cluster(clock: Clock, settings: Any, tmp_path: Path) -> None:
    with closing(Cluster(tmp_path)) as cluster:
        config = {"BACKEND": "realtime.layer.TopicLayer", "CONFIG": {"hosts": [cluster.url]}}
        settings.CHANNEL_LAYERS = {"default": config}
        for account in ("alice", "bob", "carol", "dave"):
            here, there = RequestCounts(), RequestCounts()
            assert taken(here, 2, most=3, account=account) == 2
            assert taken(there, 2, most=3, account=account) == 1


def test_redis_is_asked_for_each_hundredth_of_the_limit(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = RequestCounts(), RequestCounts()
    tell, told = RequestCounts._tell, []

    def count(self: RequestCounts, account: str, minute: int, untold: int) -> int | None:
        told.append(untold)
        return tell(self, account, minute, untold)

    monkeypatch.setattr(RequestCounts, "_tell", count)
    assert taken(here, 500, most=1000) == 500
    assert told == [10] * 50
    assert 500 <= taken(there, 1000, most=1000) <= 510
    assert taken(here, 100, most=1000) <= 10


def test_zero_is_for_any_number(settings: Any, clock: Clock) -> None:
    settings.STOMP_API_REQUESTS_PER_MINUTE = 0
    alice = api_of("alice")
    assert {post(alice).status_code for _ in range(20)} == {202}
    assert throttle.counts._counts == {}


@pytest.mark.usefixtures("redis_away")
def test_while_redis_is_away_each_process_counts_for_itself_and_rarely_asks(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, asked = RequestCounts(), []
    execute_all = throttle.execute_all
    monkeypatch.setattr(
        throttle, "execute_all", lambda *args: asked.append(1) or execute_all(*args)
    )
    assert taken(counts, 5, most=3) == 3
    assert len(asked) == 1
    clock.now += AWAY_SECONDS
    assert taken(counts, 5, most=4) == 1
    assert len(asked) == 2


def test_counts_of_a_minute_go_with_it(clock: Clock, redis_client: redis.Redis) -> None:
    counts = RequestCounts()
    assert taken(counts, 3, most=3) == 3
    [key] = redis_client.keys("gateway:requests:*")
    assert 0 < redis_client.ttl(key) <= 120
    assert b"alice" not in key
    clock.now += 60
    assert taken(counts, 4, most=3) == 3
    assert len(counts._counts) == 1


def test_the_accounts_that_are_counted_are_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MAX_ACCOUNTS", 100)
    counts = RequestCounts()
    for number in range(1000):
        counts.take(f"{number}", 1000)
        assert len(counts._counts) <= 100


# New topics


def test_who_makes_too_many_topics_is_told_when_to_try_again(settings: Any) -> None:
    settings.STOMP_API_NEW_TOPICS_PER_MINUTE = 2
    api, prefix = api_of("alice"), f"/topic/new/{uuid4().hex}"
    assert [post(api, f"{prefix}/{number}").status_code for number in (1, 2, 1, 2)] == [202] * 4
    refused = post(api, f"{prefix}/3")
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 60
    assert post(api_of("bob"), f"{prefix}/3").status_code == 202


def test_in_a_list_it_is_the_error_of_that_one(settings: Any) -> None:
    settings.STOMP_API_NEW_TOPICS_PER_MINUTE = 2
    api, prefix = api_of("alice"), f"/topic/new/{uuid4().hex}"
    content = [{"topic": f"{prefix}/{n}", "message": "x"} for n in (1, 2, 3, 1, 4)]
    answer = api.post(URL, content, format="json")
    assert answer.status_code == 207
    assert [list(each) for each in answer.json()] == [
        ["id", "topic"], ["id", "topic"], ["errors"], ["id", "topic"], ["errors"]
    ]  # fmt: skip
    assert "new topics" in answer.json()[2]["errors"]["topic"][0]


def test_a_list_of_which_all_is_over_the_limit_is_told_when_to_try_again(settings: Any) -> None:
    settings.STOMP_API_NEW_TOPICS_PER_MINUTE = 1
    api, prefix = api_of("alice"), f"/topic/new/{uuid4().hex}"
    assert post(api, f"{prefix}/0").status_code == 202
    content = [{"topic": f"{prefix}/{n}", "message": "x"} for n in (1, 2, 1)]
    refused = api.post(URL, content, format="json")
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 60
    assert ["new topics" in each["errors"]["topic"][0] for each in refused.json()] == [True] * 3
    content[1] = {"topic": "no topic", "message": "x"}  # which no time makes good
    refused = api.post(URL, content, format="json")
    assert (refused.status_code, refused.has_header("Retry-After")) == (400, False)


def test_what_django_code_publishes_is_not_counted(settings: Any) -> None:
    from realtime.broker import publish

    settings.STOMP_NEW_TOPICS_PER_MINUTE = settings.STOMP_API_NEW_TOPICS_PER_MINUTE = 1
    for number in range(3):
        publish(f"/topic/new/{uuid4().hex}/{number}", "x")
