"""Logins by form: they hash where all do, and are held back as all are."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.test import Client

from gateway import login
from gateway.asgi import application
from gateway.login import hashes
from realtime.access import passcodes
from realtime.concurrency import Busy

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "x" * 32
DOORS = ["/login/", "/admin/login/"]


@pytest.fixture
def alice() -> User:
    return User.objects.create_superuser("alice", password="wonderland")


def post(client: Client, door: str, password: str) -> Any:
    return client.post(door, {"username": "alice", "password": password, "next": "/admin/"})


@pytest.mark.parametrize("door", DOORS)
def test_who_fails_too_often_is_told_when_to_come_again(alice: User, door: str) -> None:
    client = Client()
    for _ in range(passcodes.FREE_FAILURES):
        assert "Too many" not in post(client, door, "wrong").content.decode()
    post(client, door, "wrong")
    assert (
        "Too many logins failed: try again in" in post(client, door, "wonderland").content.decode()
    )
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert post(elsewhere, door, "wonderland").status_code == 302


@pytest.mark.parametrize("door", DOORS)
def test_a_right_password_logs_in(alice: User, door: str) -> None:
    assert post(Client(), door, "wonderland").status_code == 302


def test_only_posts_of_the_forms_hash() -> None:
    assert hashes({"method": "POST", "path": "/login/"})
    assert hashes({"method": "POST", "path": "/admin/login/"})
    assert not hashes({"method": "GET", "path": "/login/"})
    assert not hashes({"method": "POST", "path": "/api/notification"})


def request(door: str, *headers: tuple[bytes, bytes]) -> ApplicationCommunicator:
    scope = {
        "type": "http",
        "method": "POST",
        "path": door,
        "query_string": b"",
        "headers": [(b"host", b"testserver"), *headers],
        "client": ("192.0.2.9", 1),
    }
    return ApplicationCommunicator(application, scope)


@pytest.mark.parametrize("door", DOORS)
async def test_a_form_hashes_where_passcodes_do(door: str, monkeypatch: Any) -> None:
    seen: list[str] = []
    original = passcodes.hashing.submit

    def submit(key: Any, function: Any, *args: Any) -> Any:
        def noted(*args: Any) -> Any:
            seen.append(threading.current_thread().name)
            return function(*args)

        return original(key, noted, *args)

    monkeypatch.setattr(passcodes.hashing, "submit", submit)
    visit = request(door)
    await visit.send_input({"type": "http.request", "body": b""})
    assert (await visit.receive_output(5))["status"] == 403  # no CSRF token
    assert seen[0].startswith("realtime-hashing")
    await visit.receive_output(5)


@pytest.mark.parametrize("door", DOORS)
async def test_who_is_held_back_waits_for_that_answer(door: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(login, "HELD_BACK_SECONDS", 1.0)
    form = f"username=alice&password=x&csrfmiddlewaretoken={TOKEN}".encode()
    kind = (b"content-type", b"application/x-www-form-urlencoded")
    for failures in range(passcodes.FREE_FAILURES + 1):
        visit = request(door, kind, (b"cookie", f"csrftoken={TOKEN}".encode()))
        began = time.monotonic()
        await visit.send_input({"type": "http.request", "body": form})
        assert (await visit.receive_output(5))["status"] == 200
        is_late = time.monotonic() - began >= 1.0
        page = (await visit.receive_output(5))["body"]
        assert is_late == (b"Too many logins failed" in page)
        assert is_late == (failures == passcodes.FREE_FAILURES)


async def test_a_form_finds_too_many_others(monkeypatch: Any) -> None:
    def submit(*args: Any) -> Any:
        raise Busy(7.2)

    monkeypatch.setattr(passcodes.hashing, "submit", submit)
    visit = request("/login/")
    await visit.send_input({"type": "http.request", "body": b""})
    start = await visit.receive_output(5)
    assert start["status"] == 503
    assert dict(start["headers"])[b"Retry-After"] == b"8"
    assert b"try again in 8 s" in (await visit.receive_output(5))["body"]


async def test_who_hangs_up_leaves_the_queue(monkeypatch: Any) -> None:
    waiting: Future[Any] = Future()
    monkeypatch.setattr(passcodes.hashing, "submit", lambda *args: waiting)
    visit = request("/login/")
    await visit.send_input({"type": "http.request", "body": b""})
    await visit.send_input({"type": "http.disconnect"})
    await visit.wait(5)
    assert waiting.cancelled()
