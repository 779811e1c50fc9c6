"""A message that is sent again with the same key is published once, and answered alike."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import redis
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from notifications.bridges import from_channel
from notifications.bridges.formats import MESSAGE
from notifications.bridges.routes import Arrival
from realtime.broker import apublish_many, id_of, publish_many
from realtime.layer.pages import read_page
from realtime.messages.idempotency import key_of_route, key_of_user
from realtime.messages.json import read_envelope
from realtime.messages.message import check
from tests.api.test_notification_api import Listener, bodies
from tests.kit.users import make_user

URL = "/api/notification"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def routing(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.routing"  # where everybody may do everything


@pytest.fixture(params=["/topic/once", "/user/bob/queue/once"], ids=["history", "none"])
def destination(request: pytest.FixtureRequest) -> str:
    """A destination that nobody has used, with a history or without."""
    return f"{request.param}/{uuid4().hex}"


@pytest.fixture
def heard(redis_client: redis.Redis, destination: str) -> Any:
    listener = Listener(redis_client, destination)
    yield listener
    listener.pubsub.close()


def api_of(name: str) -> APIClient:
    user = make_user(name, "notifications.publish")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=user).key}")
    return client


def post(api: APIClient, content: Any, key: str) -> Any:
    return api.post(URL, content, format="json", HTTP_IDEMPOTENCY_KEY=key)


def test_a_repeat_is_answered_as_the_first_time_and_published_once(
    destination: str, heard: Listener
) -> None:
    api = api_of("alice")
    first = post(api, {"topic": destination, "message": 1}, "key")
    again = post(api, {"topic": destination, "message": 2}, "key")
    other = post(api, {"topic": destination, "message": 3}, "another key")
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert first.json()["id"] != other.json()["id"]
    assert bodies(heard) == [b"1", b"3"]


def test_a_key_counts_for_one_user_and_one_destination(destination: str, heard: Listener) -> None:
    alice, bob = api_of("alice"), api_of("bob")
    ids = {
        post(each, {"topic": destination, "message": 1}, "key").json()["id"]
        for each in (alice, bob)
    }
    assert post(alice, {"topic": "/topic/toast", "message": 1}, "key").json()["id"] not in ids
    assert len(ids) == 2
    assert bodies(heard) == [b"1", b"1"]


def test_each_of_a_list_counts_by_its_place(destination: str, heard: Listener) -> None:
    api = api_of("alice")
    items = [{"topic": destination, "message": number} for number in range(3)]
    first = post(api, [items[0], {"topic": "wrong"}, items[2]], "key")
    again = post(api, items, "key")
    assert first.status_code == 207
    assert again.status_code == 202
    assert [first.json()[0], first.json()[2]] == [again.json()[0], again.json()[2]]
    assert bodies(heard) == [b"0", b"2", b"1"]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_has_1_to_255_characters(key: str) -> None:
    api = api_of("alice")
    for content in ({"topic": "/topic/toast", "message": 1}, [{"topic": "/topic/toast"}]):
        answer = post(api, content, key)
        assert answer.status_code == 400
        assert f"not {len(key)}" in answer.json()["detail"]
    assert post(api, {"topic": "/topic/toast", "message": 1}, "x" * 255).status_code == 202


def test_what_comes_at_once_is_published_once(destination: str, heard: Listener) -> None:
    content = {"destination": destination, "body": "x", "headers": {"idempotency-key": "key"}}
    message = read_envelope(json.dumps(content).encode(), "ANY")
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: publish_many([message])[0], range(40)))
    assert len(ids) == 1
    assert bodies(heard) == [b"x"]


async def test_what_comes_at_once_on_one_loop_is_published_once() -> None:
    destination = f"/topic/once/{uuid4().hex}"
    content = {"destination": destination, "body": "x", "headers": {"idempotency-key": "key"}}
    message = read_envelope(json.dumps(content).encode(), "ANY")
    checked = check(message)
    answers = await asyncio.gather(*(apublish_many([checked]) for _ in range(100)))
    ids = {id_of(checked, answer) for (answer,) in answers}
    assert len(ids) == 1
    page = await asyncio.to_thread(read_page, destination)
    assert [str(message.id) for message in page.messages] == list(ids)


def test_a_bridge_takes_the_key_out_of_the_headers_and_keeps_channels_apart() -> None:
    content = {
        "destination": "/topic/a",
        "body": "x",
        "headers": {"Idempotency-Key": "k", "a": "b"},
    }
    payload = json.dumps(content).encode()
    first, second = (
        from_channel(name).read(Arrival({MESSAGE: payload}, name.encode()))
        for name in ("ONE", "TWO")
    )
    assert first.headers == {"content-type": "text/plain;charset=UTF-8", "a": "b"}
    assert first.idempotency_key not in (None, second.idempotency_key)
    content["headers"] = {"idempotency-key": "x" * 256}
    with pytest.raises(ValueError, match="255"):
        read_envelope(json.dumps(content).encode())


def test_no_name_makes_a_key_another_users() -> None:
    assert key_of_user("a", "b:c") != key_of_user("a:b", "c")
    assert key_of_user("a", "b") != key_of_route("a", "b")
