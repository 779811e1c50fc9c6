"""POST /api/notification: what it takes, what it answers, what arrives."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from realtime.destinations.groups import group_name
from realtime.history.positions import Position
from realtime.layer.layer import TopicLayer
from realtime.messages.envelope import open_envelope, unbundle
from realtime.messages.message import Message
from tests.kit.users import make_user

URL = "/api/notification"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def routing(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.routing"


@pytest.fixture
def alice() -> User:
    return make_user("alice", "notifications.publish")


@pytest.fixture
def api(alice: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=alice).key}")
    return client


class Listener:
    """Hear a topic on Redis, as a node would."""

    def __init__(self, client: redis.Redis, topic: str) -> None:
        self.waiting: deque[tuple[str | None, bytes]] = deque()
        self.pubsub = client.pubsub(ignore_subscribe_messages=True)
        self.pubsub.subscribe(f"gateway__group__{group_name(topic)}")
        while self.pubsub.get_message(timeout=5) is not None:
            pass

    def message(self, seconds: float = 5) -> Message | None:
        if not self.waiting:
            raw = self.pubsub.get_message(timeout=seconds)
            if raw is None:
                return None
            first, payloads = unbundle(raw["data"])
            at = Position.parse(first)
            for number, payload in enumerate(payloads):
                self.waiting.append((str(at.after(number)) if at else None, payload))
        id, payload = self.waiting.popleft()
        return open_envelope(TopicLayer().deserialize(payload), id)


@pytest.fixture
def topic(redis_client: redis.Redis) -> Any:
    listener = Listener(redis_client, "/topic/toast")
    yield listener
    listener.pubsub.close()


@pytest.mark.parametrize("path", [URL, f"{URL}/"])
def test_a_notification_is_published_and_answered_with_its_id(
    api: APIClient, topic: Listener, path: str
) -> None:
    answer = api.post(path, {"topic": "/topic/toast", "message": "hello"}, format="json")
    message = topic.message()
    assert answer.status_code == 202
    assert message is not None
    assert answer.json() == {"id": message.id, "topic": "/topic/toast"}
    assert message.body == b"hello"
    assert message.headers["content-type"] == "text/plain;charset=UTF-8"


@pytest.mark.parametrize(
    "content", [{"a": [1, None, "\u00e9"]}, [], 0, 1.5, True, None, {"nested": {"b": {}}}]
)
def test_anything_but_a_string_is_sent_as_json(
    api: APIClient, topic: Listener, content: Any
) -> None:
    answer = api.post(URL, {"topic": "/topic/toast", "message": content}, format="json")
    message = topic.message()
    assert answer.status_code == 202, answer.content
    assert message is not None
    assert json.loads(message.body) == content
    assert message.headers["content-type"] == "application/json"


def test_a_string_that_looks_like_json_or_has_odd_spaces_is_sent_as_it_is(
    api: APIClient, topic: Listener
) -> None:
    for text in ['{"a": 1}', " spaces \n", "", "\u2713"]:
        api.post(URL, {"topic": "/topic/toast", "message": text}, format="json")
        message = topic.message()
        assert message is not None
        assert message.body == text.encode()


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"{", "detail"),
        (b"[]", "non_field_errors"),
        (b'{"message": "x"}', "topic"),
        (b'{"topic": "/topic/toast"}', "message"),
        (b'{"topic": "/topic/", "message": "x"}', "topic"),
        (b'{"topic": "/queue/toast", "message": "x"}', "topic"),
        (b'{"topic": "/app/greet", "message": "x"}', "topic"),
        (b'{"topic": "/topic/*", "message": "x"}', "topic"),
        (b'{"topic": "/topic/a\\nb", "message": "x"}', "topic"),
        (b'{"topic": ["/topic/a"], "message": "x"}', "topic"),
        (b'{"topic": "/topic/' + b"x" * 249 + b'", "message": "x"}', "topic"),
        (b'{"topic": "/topic/\\ud800", "message": "x"}', "topic"),
        (b'{"topic": "/topic/toast", "message": "\\ud800"}', "message"),
        (b'{"topic": "/topic/toast", "message": NaN}', "detail"),
        (b'{"topic": "/topic/toast", "message": ' + b"[" * 100_000, "detail"),
        (b"\xff\xfe", "detail"),
    ],
)
def test_what_is_wrong_is_answered_with_400_and_the_field(
    api: APIClient, topic: Listener, content: bytes, field: str
) -> None:
    answer = api.generic("POST", URL, content, content_type="application/json")
    assert answer.status_code == 400
    assert field in answer.json()
    assert topic.message(0.05) is None


def test_a_topic_may_have_255_bytes(api: APIClient) -> None:
    topic = "/topic/" + "x" * 248
    assert api.post(URL, {"topic": topic, "message": ""}, format="json").status_code == 202


def test_a_body_may_reach_the_limit_and_not_exceed_it(api: APIClient, settings: Any) -> None:
    limit = settings.STOMP_MAX_BODY_BYTES
    for text, status in [("x" * limit, 202), ("x" * (limit + 1), 413), ("\u20ac" * limit, 413)]:
        answer = api.post(URL, {"topic": "/topic/toast", "message": text}, format="json")
        assert answer.status_code == status
    assert "limit" in answer.json()["detail"]


def test_a_request_far_over_the_limit_is_refused_with_413(api: APIClient, settings: Any) -> None:
    content = b" " * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    answer = api.generic("POST", URL, content, content_type="application/json")
    assert answer.status_code == 413
    assert "detail" in answer.json()


@pytest.mark.parametrize("body", ['{"topic": "/topic/a", "message": "x=1&y"}', '[{"topic": "a"}]'])
def test_json_that_is_sent_as_a_form_is_told_what_it_lacks(api: APIClient, body: str) -> None:
    answer = api.post(URL, body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 415
    assert "send it with Content-Type: application/json" in answer.json()["detail"]


def test_another_content_type_is_refused_with_415(api: APIClient) -> None:
    answer = api.generic("POST", URL, b"hello", content_type="text/plain")
    assert answer.status_code == 415
    assert "text/plain" in answer.json()["detail"]


def test_a_file_is_no_message(api: APIClient) -> None:
    content = {"topic": "/topic/toast", "message": SimpleUploadedFile("name", b"content")}
    answer = api.post(URL, content, format="multipart")
    assert answer.status_code == 400
    assert "message" in answer.json()


@pytest.mark.usefixtures("redis_away")
def test_without_redis_it_answers_503_and_when_to_try_again(api: APIClient) -> None:
    answer = api.post(URL, {"topic": "/topic/toast", "message": "x"}, format="json")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "Redis is away" in answer.json()["detail"]


def test_it_needs_a_login_or_a_token(alice: User) -> None:
    client = APIClient()
    content = {"topic": "/topic/toast", "message": "x"}
    assert client.post(URL, content, format="json").status_code in (401, 403)
    client.credentials(HTTP_AUTHORIZATION="Token wrong")
    assert client.post(URL, content, format="json").status_code in (401, 403)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    assert browser.post(URL, content, content_type="application/json").status_code == 403


def test_the_browsable_api_has_a_form_that_works(alice: User, topic: Listener) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    page = browser.get(URL, HTTP_ACCEPT="text/html")
    assert page.status_code == 200
    assert 'name="topic"' in page.content.decode()
    assert "null" not in page.content.decode().partition('name="message"')[2][:200]
    form = {
        "topic": "/topic/toast",
        "message": "typed by hand",
        "csrfmiddlewaretoken": browser.cookies["csrftoken"].value,
    }
    answer = browser.post(URL, form, HTTP_ACCEPT="text/html")
    assert answer.status_code == 202
    message = topic.message()
    assert message is not None
    assert message.body == b"typed by hand"
    answer = browser.post(URL, form | {"topic": "/queue/toast"}, HTTP_ACCEPT="text/html")
    assert answer.status_code == 400
    assert "unknown destination" in answer.content.decode()


def notification(number: int) -> dict[str, Any]:
    return {"topic": "/topic/toast", "message": f"number {number}"}


def bodies(topic: Listener) -> list[bytes]:
    messages = iter(lambda: topic.message(0.2), None)
    return [message.body for message in messages if message is not None]


def test_a_list_is_published_in_its_order_and_answered_one_by_one(
    api: APIClient, topic: Listener
) -> None:
    answer = api.post(URL, [notification(number) for number in range(5)], format="json")
    assert answer.status_code == 202
    messages = [topic.message() for _ in range(5)]
    assert [message.body for message in messages if message] == [
        b"number 0", b"number 1", b"number 2", b"number 3", b"number 4"
    ]  # fmt: skip
    assert answer.json() == [
        {"id": message.id, "topic": "/topic/toast"} for message in messages if message
    ]


def test_what_is_good_in_a_list_is_published_and_the_rest_told_why_not(
    api: APIClient, topic: Listener, settings: Any
) -> None:
    too_large = {"topic": "/topic/toast", "message": "x" * (settings.STOMP_MAX_BODY_BYTES + 1)}
    content = [
        notification(0), {"topic": "/queue/toast"}, "no object", too_large, notification(4)
    ]  # fmt: skip
    answer = api.post(URL, content, format="json")
    assert answer.status_code == 207
    first, wrong, no_object, large, last = answer.json()
    assert first["topic"] == last["topic"] == "/topic/toast"
    assert set(wrong["errors"]) == {"topic", "message"}
    assert "an object" in no_object["errors"]["non_field_errors"][0]
    assert "limit" in large["errors"]["message"][0]
    assert bodies(topic) == [b"number 0", b"number 4"]


def test_a_list_without_anything_good_is_answered_with_400(api: APIClient) -> None:
    answer = api.post(URL, [{}, [], notification(0) | {"topic": "/topic/*"}], format="json")
    assert answer.status_code == 400
    assert [list(result["errors"]) for result in answer.json()] == [
        ["topic", "message"], ["non_field_errors"], ["topic"]
    ]  # fmt: skip


def test_a_list_may_have_1000_notifications(api: APIClient, topic: Listener) -> None:
    answer = api.post(URL, [notification(number) for number in range(1000)], format="json")
    assert answer.status_code == 202
    assert len({result["id"] for result in answer.json()}) == 1000
    assert bodies(topic) == [f"number {number}".encode() for number in range(1000)]


@pytest.mark.parametrize(("size", "error"), [(0, "not 0"), (1001, "not more")])
def test_a_list_has_something_and_not_too_much(
    api: APIClient, topic: Listener, size: int, error: str
) -> None:
    answer = api.post(URL, [notification(number) for number in range(size)], format="json")
    assert answer.status_code == 400
    assert error in answer.json()["non_field_errors"][0]
    assert topic.message(0.05) is None


def test_all_of_a_list_may_reach_the_limit_of_a_request(api: APIClient, settings: Any) -> None:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    assert limit == 4 * 1024 * 1024
    content = json.dumps([notification(0)]).encode()
    for size, status in ((limit, 202), (limit + 1, 413)):
        answer = api.generic("POST", URL, content.ljust(size), content_type="application/json")
        assert answer.status_code == status


def test_a_list_takes_one_round_trip_to_redis(api: APIClient, redis_client: redis.Redis) -> None:
    api.post(URL, notification(0), format="json")  # connects
    before = redis_client.info("stats")["total_reads_processed"]
    api.post(URL, [notification(number) for number in range(500)], format="json")
    reads = redis_client.info("stats")["total_reads_processed"] - before
    assert reads < 50  # the 500 need some reads of Redis's buffer, but not one each


@pytest.mark.usefixtures("redis_away")
def test_without_redis_nothing_of_a_list_counts_as_taken(api: APIClient) -> None:
    answer = api.post(URL, [notification(0), {}], format="json")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert list(answer.json()) == ["detail"]


def test_a_list_can_be_typed_in_the_browsable_api(alice: User, topic: Listener) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    page = browser.get(URL, HTTP_ACCEPT="text/html").content.decode()
    assert 'name="_content"' in page
    answer = browser.post(
        URL,
        json.dumps([notification(0), {}]),
        content_type="application/json",
        HTTP_ACCEPT="text/html",
        HTTP_X_CSRFTOKEN=browser.cookies["csrftoken"].value,
    )
    assert answer.status_code == 207
    assert "This field is required." in answer.content.decode()
    assert bodies(topic) == [b"number 0"]


def test_options_tell_the_fields(api: APIClient) -> None:
    fields = api.options(URL).json()["actions"]["POST"]
    assert list(fields) == ["topic", "message"]
    assert all(field["required"] for field in fields.values())
