"""Requests to the API as daphne hands them over: nothing that guards Django is left out."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.testing import HttpCommunicator
from django.contrib.auth.models import User
from django.db.backends.signals import connection_created
from django.test import Client
from rest_framework.authtoken.models import Token

from gateway.asgi import application
from notifications.api import views
from notifications.api.ways import long as handler
from realtime import concurrency
from tests.kit.users import make_user

URL = "/api/notification"
TOAST = json.dumps({"topic": "/topic/toast", "message": "hello"}).encode()

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice() -> User:
    return make_user("alice", "notifications.publish")


@pytest.fixture
def token(alice: User) -> dict[str, str]:
    return {"authorization": f"Token {Token.objects.create(user=alice).key}"}


def call(
    headers: dict[str, str], body: bytes = TOAST, *, method: str = "POST", path: str = URL
) -> dict[str, Any]:
    """Return the status, the headers and the body of the application's answer."""
    usual = {"host": "localhost", "content-type": "application/json"}
    given = usual | {"content-length": str(len(body))} | headers
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    answer = async_to_sync(HttpCommunicator(application, method, path, body, pairs).get_response)()
    names = {name.decode().lower(): value.decode() for name, value in answer["headers"]}
    return {**answer, "headers": names}


def test_a_token_lets_in(token: dict[str, str]) -> None:
    assert call(token)["status"] == 202
    assert call(token, b"[" + TOAST + b"]")["status"] == 202


@pytest.mark.parametrize("body", [TOAST, b"[" + TOAST + b"]"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Token wrong"}])
def test_nothing_else_does(headers: dict[str, str], body: bytes) -> None:
    assert call(headers, body)["status"] in (401, 403)


def test_a_token_that_was_withdrawn_does_not(token: dict[str, str]) -> None:
    assert call(token)["status"] == 202
    Token.objects.all().delete()
    assert call(token)["status"] in (401, 403)


@pytest.mark.parametrize("body", [TOAST, b"[" + TOAST + b"]"])
def test_the_cookie_of_a_login_needs_the_csrf_token_too(alice: User, body: bytes) -> None:
    browser = Client()
    browser.force_login(alice)
    browser.get(URL, HTTP_ACCEPT="text/html")
    csrf = browser.cookies["csrftoken"].value
    cookie = f"sessionid={browser.cookies['sessionid'].value}; csrftoken={csrf}"
    answer = call({"cookie": cookie}, body)
    assert answer["status"] == 403
    assert b"CSRF" in answer["body"]
    assert call({"cookie": cookie, "x-csrftoken": csrf}, body)["status"] == 202


def test_a_strange_host_is_refused(token: dict[str, str]) -> None:
    assert call({**token, "host": "elsewhere.example"})["status"] == 400


def test_pages_of_allowed_origins_may_read_the_answer(token: dict[str, str], settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://good.example"]
    for origin, allowed in (
        ("https://good.example", "https://good.example"),
        ("https://bad.example", None),
    ):
        answer = call({**token, "origin": origin})
        assert answer["headers"].get("access-control-allow-origin") == allowed
        asked = {"origin": origin, "access-control-request-method": "POST"}
        answer = call(asked, method="OPTIONS")
        assert answer["headers"].get("access-control-allow-origin") == allowed


def test_every_answer_has_the_headers_that_guard_browsers(token: dict[str, str]) -> None:
    for headers in (token, {}):
        answer = call(headers)
        assert answer["headers"]["x-content-type-options"] == "nosniff"
        assert answer["headers"]["x-frame-options"] == "DENY"


def test_the_browsable_api_comes_this_way_too(alice: User) -> None:
    browser = Client()
    browser.force_login(alice)
    cookie = {"cookie": f"sessionid={browser.cookies['sessionid'].value}"}
    answer = call({**cookie, "accept": "text/html"}, b"", method="GET")
    assert answer["status"] == 200
    assert b'name="topic"' in answer["body"]
    assert "csrftoken=" in answer["headers"]["set-cookie"]


def test_what_does_not_exist_is_not_found(token: dict[str, str]) -> None:
    assert call(token, path="/api/nothing")["status"] == 404
    assert call(token, path="/nothing")["status"] == 404


def test_a_request_takes_one_hop_to_a_thread(
    token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hops: list[str] = []

    class Threads(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            hops.append(self._thread_name_prefix)
            return super().submit(*args, **kwargs)

    def publish(checked: Any, door: str) -> list[str]:
        hops.append(threading.current_thread().name)
        return [each.message.id for each in checked]

    with Threads(1, thread_name_prefix="only") as threads:
        monkeypatch.setattr(handler, "_threads", threads)
        monkeypatch.setattr(views, "publish_many", publish)
        assert call(token)["status"] == 202
    assert hops == ["only", "only_0"]


def test_its_threads_keep_their_connections_to_the_database(
    token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "CONNECTION_SECONDS", 60)  # which is 0 for other tests
    keep = handler._threads._initializer  # type: ignore[attr-defined]
    made: list[Any] = []

    def count(**event: Any) -> None:
        made.append(event["connection"])

    connection_created.connect(count)
    try:
        with ThreadPoolExecutor(handler.THREADS, initializer=keep) as threads:
            monkeypatch.setattr(handler, "_threads", threads)
            for _ in range(3 * handler.THREADS):
                assert call(token)["status"] == 202
    finally:
        connection_created.disconnect(count)
    assert len(made) <= handler.THREADS


def test_a_client_that_hangs_up_while_it_sends_is_forgotten() -> None:
    communicator = HttpCommunicator(application, "POST", URL)

    async def hang_up() -> bool:
        await communicator.send_input({"type": "http.request", "body": b"{", "more_body": True})
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait()
        return communicator.output_queue.empty()

    assert async_to_sync(hang_up)()


def test_large_bodies_have_a_thread_for_themselves_which_rests(
    token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[str] = []
    rests: list[float] = []
    respond = handler.SynchronousHandler._respond_sync

    def noted(self: Any, *request: Any) -> Any:
        worked.append(threading.current_thread().name)
        return respond(self, *request)

    monkeypatch.setattr(handler.SynchronousHandler, "_respond_sync", noted)
    monkeypatch.setattr(handler.time, "sleep", rests.append)
    for length in (handler.LARGE_BYTES - 1, handler.LARGE_BYTES):
        body = b"[" + b" " * (length - 2) + b"]"
        assert call(token, body)["status"] == 400
    handler._large_thread.submit(lambda: None).result()
    small, large = (name.rpartition("_")[0] for name in worked)
    assert (small, large) == ("notifications", "notifications-large")
    assert len(rests) == 1 and rests[0] > 0
