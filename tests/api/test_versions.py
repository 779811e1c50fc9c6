"""/api/v1/: the history, and the shape of errors, which is one everywhere."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from notifications.api.throttle import RequestCounts
from realtime.broker import publish
from tests.kit.users import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def routing(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.routing"


@pytest.fixture
def api() -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(make_user("alice", "notifications.publish"))
    return client


def detail(answer: Any, status: int) -> str:
    """Return what an error says, which has the one shape."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/json"
    content = answer.json()
    assert list(content) == ["detail"]
    return str(content["detail"])


# History


def test_the_history_is_that_of_a_notification_with_addresses_of_its_own(api: APIClient) -> None:
    topic = f"/topic/pages/{uuid4().hex}"
    start = api.get("/api/v1/history", {"topic": topic}).json()["position"]
    for number in range(3):
        publish(topic, number)
    query = {"topic": topic, "after": start, "limit": 2}
    pages = [api.get(url, query).json() for url in ("/api/v1/history", "/api/notification")]
    addresses = [page.pop("next") for page in pages]
    assert pages[0] == pages[1]
    assert addresses[0].startswith("http://testserver/api/v1/history?")
    assert [each["message"] for each in api.get(addresses[0]).json()["messages"]] == [2]


def test_a_history_is_of_a_topic(api: APIClient) -> None:
    answer = api.get("/api/v1/history")
    assert (answer.status_code, list(answer.json())) == (400, ["topic"])


@pytest.mark.parametrize(("limit", "status"), [(1, 200), (300, 200), (301, 400), (0, 400)])
def test_a_page_has_1_to_300_messages(api: APIClient, limit: int, status: int) -> None:
    query = {"topic": "/topic/toast", "limit": limit}
    assert api.get("/api/v1/history", query).status_code == status


@pytest.mark.parametrize("text", ["\x00", "\ud800", "\u0661", "9" * 5000, "-1", "1.5", "", "a-b-c"])
@pytest.mark.parametrize("name", ["topic", "after", "limit"])
def test_nothing_that_is_asked_is_an_error_of_ours(api: APIClient, name: str, text: str) -> None:
    query = {"topic": "/topic/toast"} | {name: text.encode(errors="surrogatepass")}
    answer = api.get("/api/v1/history", query)
    assert (answer.status_code, list(answer.json())) == (400, [name])


def test_rules_say_who_may_look_back(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.ruled_routing"
    query = {"topic": "/topic/past/a"}
    client = APIClient()
    for user, status in ((None, 401), (make_user("bob"), 403),
                         (make_user("eve", is_staff=True), 200)):  # fmt: skip
        client.force_authenticate(user)
        assert client.get("/api/v1/history", query).status_code == status


def test_people_read_it_in_the_browsable_api(api: APIClient) -> None:
    publish("/topic/toast", "seen by people")
    query = {"topic": "/topic/toast"}
    answer = api.get("/api/v1/history", query, headers={"Accept": "text/html"})
    assert "seen by people" in answer.content.decode()


# Errors


@pytest.mark.parametrize("path", ["/api/v1/publish", "/api/v1/history", "/api/v1/schema"])
def test_without_a_login_it_is_401(path: str) -> None:
    answer = APIClient().get(path)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert detail(answer, 401)
    answer = APIClient().get(path, headers={"Authorization": "Token wrong"})
    assert "not valid" in detail(answer, 401)


def test_without_the_permission_it_is_403() -> None:
    client = APIClient()
    client.force_authenticate(make_user("bob"))
    content = {"topic": "/topic/toast", "message": "x"}
    answer = client.post("/api/v1/publish", content, format="json")
    assert "notifications.publish" in detail(answer, 403)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/nowhere", "/api/v1/", "/api/v2/publish", "/api/v1/x/y"])
def test_where_nothing_is_it_is_404_whoever_asks(method: str, path: str) -> None:
    answer = APIClient(enforce_csrf_checks=True).generic(method, path)
    assert detail(answer, 404) == "Not found."


@pytest.mark.parametrize("path", ["/api/v1/publish", "/api/v1/history"])
def test_another_method_is_405(api: APIClient, path: str) -> None:
    answer = api.delete(path)
    assert "DELETE" in detail(answer, 405)
    assert "OPTIONS" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/api/v1/publish", "/api/v1/history", "/api/v1/schema"])
def test_another_format_is_406_or_404(api: APIClient, path: str) -> None:
    assert detail(api.get(path, headers={"Accept": "image/png"}), 406)
    assert detail(api.get(path, {"format": "png"}), 404)


@pytest.mark.parametrize("path", ["/api/v1/publish", "/api/v1/history", "/api/v1/schema"])
def test_too_many_requests_are_429(
    api: APIClient, path: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.api.throttle.counts", RequestCounts())
    settings.STOMP_API_REQUESTS_PER_MINUTE = 1
    api.get(path)
    answer = api.get(path)
    assert detail(answer, 429)
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.usefixtures("redis_away")
def test_without_redis_it_is_503(api: APIClient) -> None:
    content = {"topic": "/topic/toast", "message": "x"}
    for answer in (
        api.post("/api/v1/publish", content, format="json"),
        api.get("/api/v1/history", {"topic": "/topic/toast"}),
    ):
        assert "Redis is away" in detail(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
