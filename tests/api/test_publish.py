"""POST /api/v1/publish: what it takes beyond a notification, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from realtime.messages.message import MAX_HEADER_BYTES, MAX_HEADERS, PROTOCOL_HEADERS
from tests.api.test_notification_api import Listener, bodies
from tests.kit.users import make_user

URL = "/api/v1/publish"
MESSAGE = {"topic": "/topic/toast", "message": "saved"}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def routing(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.routing"


def client_of(user: User) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=user).key}")
    return client


@pytest.fixture
def api() -> APIClient:
    return client_of(make_user("alice", "notifications.publish"))


@pytest.fixture
def topic(redis_client: Any) -> Any:
    listener = Listener(redis_client, "/topic/toast")
    yield listener
    listener.pubsub.close()


def post_json(api: APIClient, content: Any) -> Any:
    """POST it with escapes, which half of a surrogate pair needs."""
    return api.generic("POST", URL, json.dumps(content), content_type="application/json")


def errors_of(api: APIClient, **fields: Any) -> dict[str, list[str]]:
    answer = post_json(api, MESSAGE | fields)
    assert answer.status_code == 400, answer.content
    return answer.json()


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
def test_a_message_is_published_with_its_headers(api: APIClient, topic: Listener, url: str) -> None:
    answer = api.post(
        url, MESSAGE | {"headers": {"colour": "r\u00f6t", "empty": ""}}, format="json"
    )
    assert answer.status_code == 202, answer.content
    message = topic.message()
    assert message is not None
    assert answer.json() == {"id": message.id, "topic": "/topic/toast"}
    assert message.body == b"saved"
    wanted = {"colour": "r\u00f6t", "empty": "", "content-type": "text/plain;charset=UTF-8"}
    assert wanted.items() <= message.headers.items()


def test_headers_may_say_what_the_content_is(api: APIClient, topic: Listener) -> None:
    api.post(URL, MESSAGE | {"headers": {"content-type": "text/csv"}}, format="json")
    message = topic.message()
    assert message is not None
    assert message.headers["content-type"] == "text/csv"


def test_each_of_a_list_has_headers_of_its_own(api: APIClient, topic: Listener) -> None:
    good = [MESSAGE | {"headers": {"n": "1"}}, MESSAGE, MESSAGE | {"headers": {"n": "3"}}]
    answer = api.post(URL, [*good, MESSAGE | {"headers": {"ack": "x"}}], format="json")
    assert answer.status_code == 207
    assert list(answer.json()[3]["errors"]) == ["headers"]
    messages = [topic.message() for _ in good]
    assert [message and message.headers.get("n") for message in messages] == ["1", None, "3"]


# What is refused


@pytest.mark.parametrize(
    "name",
    [*sorted(PROTOCOL_HEADERS), "sender", "login", "passcode", "authorization", "cookie", "ticket"]
    + ["idempotency-key", " sender", "Sender\x00", "ACK", "\ufeffack\n"],
)
def test_headers_that_only_the_gateway_says_are_refused(
    api: APIClient, topic: Listener, name: str
) -> None:
    assert repr(name) in errors_of(api, headers={name: "x"})["headers"][0]
    assert topic.message(0.05) is None


@pytest.mark.parametrize(
    "headers", [None, [], "a", 1, {"a": 1}, {"a": None}, {"": "x"}, {"a": "\ud800"}, {"\ud800": ""}]
)
def test_headers_are_an_object_of_strings(api: APIClient, headers: Any) -> None:
    assert list(errors_of(api, headers=headers)) == ["headers"]
    answer = post_json(api, [MESSAGE | {"headers": headers}])
    assert list(answer.json()[0]["errors"]) == ["headers"]


def test_a_message_may_have_100_headers(api: APIClient) -> None:
    headers = {f"n{number}": "" for number in range(MAX_HEADERS)}
    assert api.post(URL, MESSAGE | {"headers": headers}, format="json").status_code == 202
    [error] = errors_of(api, headers=headers | {"more": ""})["headers"]
    assert error == "a message has 100 headers at most, not 101"


def test_a_header_may_reach_its_limit_and_not_exceed_it(api: APIClient) -> None:
    for length, status in ((MAX_HEADER_BYTES - 1, 202), (MAX_HEADER_BYTES, 413)):
        content = MESSAGE | {"headers": {"a": "x" * length}}
        answer = api.post(URL, content, format="json")
        assert answer.status_code == status
    assert "limit" in answer.json()["detail"]
    answer = api.post(URL, [content], format="json")
    assert "limit" in answer.json()[0]["errors"]["headers"][0]


def test_unknown_fields_are_refused_by_name(api: APIClient, topic: Listener) -> None:
    no_such = ["There is no such field."]
    assert errors_of(api, header={}, Topic="x") == {"header": no_such, "Topic": no_such}
    answer = api.post(URL, [MESSAGE, MESSAGE | {"mesage": "x"}], format="json")
    assert answer.status_code == 207
    assert answer.json()[1] == {"errors": {"mesage": no_such}}
    assert bodies(topic) == [b"saved"]


def test_many_and_odd_unknown_fields_make_no_large_answer(api: APIClient) -> None:
    errors = errors_of(api, **{f"f{number}": 1 for number in range(1000)})
    assert len(errors) == 10
    [name] = errors_of(api, **{"\ud800" + "x" * 100_000: 1})
    assert name == "\\ud800" + "x" * 79


def test_a_notification_ignores_what_it_does_not_know_as_ever(
    api: APIClient, topic: Listener
) -> None:
    content = MESSAGE | {"headers": {"colour": "red"}, "idempotency_key": 1, "more": 1}
    for _ in range(2):
        assert api.post("/api/notification", content, format="json").status_code == 202
    for _ in range(2):
        message = topic.message()
        assert message is not None
        assert "colour" not in message.headers


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "a/b"])
def test_it_takes_json_only(api: APIClient, kind: str) -> None:
    answer = api.generic("POST", URL, b"topic=/topic/toast&message=x", content_type=kind)
    assert answer.status_code == 415
    assert kind in answer.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"1", b'"a"', b"true", b"[]", b"[[]]", b"[null]", b"{}", b"[" * 100_000,
        b'{"a":' * 100_000, b"1" * 5000, b"1e999", b"\x00", b"\xff", b'{"topic": null}',
        b'{"topic": "/topic/a\\u0000", "message": 1}', b'{"topic": "/topic/a", "message": 1e999}',
        b'{"topic": "/topic/a", "message": ' + b"9" * 5000 + b"}",
        b'{"topic": "/topic/a", "message": ' + b"[" * 900 + b"]" * 900 + b', "x": 1}',
        b'{"topic": {"a": 1}, "message": {"\\ud800": 1}}',
        b'{"topic": "/topic/a", "message": "x", "idempotency_key": "\\ud800"}',
    ],
)  # fmt: skip
def test_nothing_that_is_sent_is_an_error_of_ours(api: APIClient, content: bytes) -> None:
    answer = api.generic("POST", URL, content, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()


@pytest.mark.parametrize("charset", ["hex", "rot13", "utf-16", "idna", "none-such", "\u00e9"])
def test_no_charset_is_an_error_of_ours(api: APIClient, charset: str) -> None:
    for url in (URL, "/api/notification", "/api/ticket"):
        kind = f"application/json; charset={charset}"
        answer = api.generic("POST", url, b'{"topic": "/topic/toast"}', content_type=kind)
        assert answer.status_code == 415
        assert "UTF-8" in answer.json()["detail"]


# Keys


def test_a_key_of_its_own_makes_a_repeat_one(api: APIClient, topic: Listener) -> None:
    content = MESSAGE | {"idempotency_key": "first"}
    first, again = (api.post(URL, content, format="json").json() for _ in range(2))
    assert first == again
    other = api.post(URL, MESSAGE | {"idempotency_key": "second"}, format="json").json()
    assert other != first
    assert len(bodies(topic)) == 2


def test_its_own_key_counts_before_that_of_the_request(api: APIClient, topic: Listener) -> None:
    content = [MESSAGE | {"idempotency_key": "own"}, MESSAGE]
    ids = [
        [each["id"] for each in api.post(URL, content, format="json", headers=key).json()]
        for key in ({"Idempotency-Key": "a"}, {"Idempotency-Key": "b"})
    ]
    assert ids[0][0] == ids[1][0]
    assert ids[0][1] != ids[1][1]
    assert len(bodies(topic)) == 3


def test_the_same_key_in_a_field_and_in_the_header_is_one(api: APIClient, topic: Listener) -> None:
    api.post(URL, MESSAGE, format="json", headers={"Idempotency-Key": "one"})
    api.post(URL, MESSAGE | {"idempotency_key": "one"}, format="json")
    assert len(bodies(topic)) == 1


def test_keys_of_different_users_never_meet(api: APIClient, topic: Listener) -> None:
    content = MESSAGE | {"idempotency_key": "ours"}
    for client in (api, client_of(make_user("bob", "notifications.publish"))):
        assert client.post(URL, content, format="json").status_code == 202
    assert len(bodies(topic)) == 2


@pytest.mark.parametrize(
    ("key", "status"), [("x" * 255, 202), ("x" * 256, 400), ("", 400), (None, 400), (7, 400)]
)
def test_a_key_has_1_to_255_characters(api: APIClient, key: Any, status: int) -> None:
    answer = api.post(URL, MESSAGE | {"idempotency_key": key}, format="json")
    assert answer.status_code == status
    assert status == 202 or list(answer.json()) == ["idempotency_key"]


# Who may


def test_it_needs_the_permission_and_a_rule(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.ruled_routing"
    signed = {"topic": "/topic/signed/a", "message": "x"}
    secret = {"topic": "/topic/secret/a", "message": "x"}
    service, reader = client_of(make_user("backend", "notifications.publish")), client_of(
        make_user("reader")
    )  # fmt: skip
    assert service.post(URL, signed, format="json").status_code == 202
    assert service.post(URL, secret, format="json").status_code == 403
    assert reader.post(URL, signed, format="json").status_code == 403
    answer = APIClient().post(URL, signed, format="json")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_list_may_have_1000_messages(api: APIClient) -> None:
    for count, status in ((1000, 202), (1001, 400), (0, 400)):
        assert api.post(URL, [MESSAGE] * count, format="json").status_code == status


def test_people_find_a_form_for_json_that_works_as_it_stands(topic: Listener) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(make_user("carol", "notifications.publish"))
    page = client.get(URL, headers={"Accept": "text/html"})
    assert page.status_code == 405
    text = page.content.decode()
    assert 'name="_content"' in text
    assert "Not Found" not in text
    answer = client.generic(
        "POST",
        URL,
        json.dumps({"topic": "/topic/toast", "message": ""}),
        content_type="application/json",
        headers={"Accept": "text/html", "X-CSRFToken": client.cookies["csrftoken"].value},
    )
    assert answer.status_code == 202
