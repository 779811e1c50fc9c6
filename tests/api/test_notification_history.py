"""GET /api/notification?topic=: what was published to a topic lately, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from realtime.broker import publish
from realtime.destinations.names import DestinationError
from realtime.history.positions import Position
from realtime.layer.pages import read_page
from realtime.routes.topics import TopicOptions
from tests.kit.users import make_user

URL = "/api/notification"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def routing(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.routing"  # where everybody may do everything


Read = Callable[..., dict[str, Any]]


@pytest.fixture
def topic() -> str:
    """A topic that nobody has used."""
    return f"/topic/pages/{uuid4().hex}"


@pytest.fixture
def api() -> APIClient:
    client = APIClient()
    client.force_authenticate(User.objects.create_user("alice"))
    return client


@pytest.fixture
def read(api: APIClient) -> Read:
    def get(**query: Any) -> dict[str, Any]:
        answer = api.get(URL, query)
        assert answer.status_code == 200, answer.content
        return answer.json()

    return get


def test_each_kind_of_content_comes_as_it_was_published(read: Read, topic: str) -> None:
    ids = [
        publish(topic, "text \u2713\n", {"colour": "red"}),
        publish(topic, {"a": [1, None]}),
        publish(topic, b"\xff\x00"),
        publish(topic, b"{", {"content-type": "application/json"}),
        publish(topic, b'"\\ud800"', {"content-type": "application/json"}),
        publish(topic, b"NaN", {"content-type": "application/json"}),
    ]
    page = read(topic=topic)
    assert page["topic"] == topic
    assert page["recovered"] is True
    assert page["next"] is None
    messages = page["messages"]
    assert [message["id"] for message in messages] == ids
    assert page["position"] == ids[-1]
    assert messages[0] == {
        "topic": topic,
        "id": ids[0],
        "message": "text \u2713\n",
        "headers": {"content-type": "text/plain;charset=UTF-8", "colour": "red"},
    }
    assert messages[1]["message"] == {"a": [1, None]}
    assert (messages[2]["message"], messages[2]["encoding"]) == ("/wA=", "base64")
    assert [message["message"] for message in messages[3:]] == ["{", '"\\ud800"', "NaN"]


def test_a_topic_is_read_page_by_page_to_its_end(api: APIClient, read: Read, topic: str) -> None:
    start = read(topic=topic)
    assert (start["messages"], start["next"]) == ([], None)
    for number in range(25):
        publish(topic, number)
    page = read(topic=topic, after=start["position"], limit=10)
    got = []
    while True:
        got += [message["message"] for message in page["messages"]]
        assert page["position"] == page["messages"][-1]["id"]
        if page["next"] is None:
            break
        page = api.get(page["next"]).json()
    assert got == list(range(25))
    assert read(topic=topic, after=page["position"])["messages"] == []


def test_without_a_position_the_newest_come(read: Read, topic: str) -> None:
    for number in range(5):
        publish(topic, number)
    assert [message["message"] for message in read(topic=topic, limit=2)["messages"]] == [3, 4]


@pytest.mark.parametrize(
    ("after", "reason"), [("{epoch}-0", "expired"), ("{epoch}-103", "epoch"), ("other-1", "epoch")]
)
def test_what_is_not_whole_is_not_recovered(
    read: Read, topic: str, after: str, reason: str
) -> None:
    for number in range(102):  # the history keeps 100
        publish(topic, number)
    epoch = read(topic=topic)["position"].rpartition("-")[0]
    page = read(topic=topic, after=after.format(epoch=epoch))
    assert (page["recovered"], page["reason"]) == (False, reason)
    assert (page["messages"], page["position"]) == ([], f"{epoch}-102")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"topic": ""}, "topic"),
        ({"topic": "/topic/"}, "topic"),
        ({"topic": "/topic/a/*"}, "topic"),
        ({"topic": "/user/bob/queue/kept"}, "topic"),
        ({"topic": "/topic/a", "after": "1"}, "after"),
        ({"topic": "/topic/a", "after": ""}, "after"),
        ({"topic": "/topic/a", "limit": "0"}, "limit"),
        ({"topic": "/topic/a", "limit": "301"}, "limit"),
        ({"topic": "/topic/a", "limit": "-1"}, "limit"),
        ({"topic": "/topic/a", "limit": "many"}, "limit"),
    ],
)
def test_what_is_wrong_is_answered_with_400_and_the_field(
    api: APIClient, query: dict[str, str], field: str
) -> None:
    answer = api.get(URL, query)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]


def test_a_topic_without_a_history_says_so(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = TopicOptions(None, "close")
    monkeypatch.setattr("realtime.layer.pages.topic_options", lambda topic: nothing)
    with pytest.raises(DestinationError, match="no history"):
        read_page("/topic/a")
    answer = api.get(URL, {"topic": "/topic/a"})
    assert answer.status_code == 400
    assert "no history" in answer.json()["topic"][0]


@pytest.mark.usefixtures("redis_away")
def test_without_redis_it_answers_503_and_when_to_try_again(api: APIClient) -> None:
    answer = api.get(URL, {"topic": "/topic/a"})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_it_needs_a_login_as_publishing_does() -> None:
    assert APIClient().get(URL, {"topic": "/topic/a"}).status_code in (401, 403)


def test_people_read_it_in_the_browsable_api(topic: str) -> None:
    publish(topic, "seen by people")
    browser = Client()
    browser.force_login(make_user("bob", "notifications.publish"))
    page = browser.get(URL, {"topic": topic}, HTTP_ACCEPT="text/html").content.decode()
    assert "seen by people" in page
    assert 'name="topic"' in browser.get(URL, HTTP_ACCEPT="text/html").content.decode()


def test_django_code_reads_it_too(topic: str) -> None:
    first = Position.parse(publish(topic, "a"))
    publish(topic, "b")
    page = read_page(topic, after=first)
    assert [message.body for message in page.messages] == [b"b"]
    assert not page.more
