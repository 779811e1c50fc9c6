"""Who may hear server-sent events, and from where, where it matters: without DEBUG."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kit.event_client import EventClient
from tests.kit.processes import Gateway, manage

FRIEND = "https://friend.example"

_PEOPLE = """
from django.contrib.auth.models import User
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from rest_framework.authtoken.models import Token
user = User.objects.create_user("alice")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(Token.objects.create(user=user).key, session.session_key)
"""


@dataclass
class Strict:
    """A gateway without DEBUG, and how alice logs in there."""

    gateway: Gateway
    token: str
    cookie: str


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strict]:
    folder = tmp_path_factory.mktemp("strict")
    variables = {
        "DEBUG": "0",
        "HTTPS": "0",
        "SECRET_KEY": "only-for-the-tests",
        "ALLOWED_HOSTS": "localhost",
        "ALLOWED_ORIGINS": FRIEND,
        "STOMP_ROUTING": "tests.routing",  # with a rule for all topics
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
    }
    manage("migrate", "-v", "0", **variables)
    token, session_key = manage("shell", "-v", "0", "-c", _PEOPLE, **variables).split()
    with Gateway(folder / "log", **variables) as gateway:
        yield Strict(gateway, f"Token {token}", f"sessionid={session_key}")


async def status(strict: Strict, *topics: str, **headers: str) -> int:
    async with EventClient(strict.gateway.url, *(topics or ("/topic/a",)), **headers) as client:
        if client.status != 200:
            assert list(json.loads(await client.body())) == ["detail"]
        return client.status


async def test_it_needs_a_token_or_a_login(strict: Strict) -> None:
    assert await status(strict) == 401
    assert await status(strict, authorization="Token wrong") == 401
    assert await status(strict, authorization=strict.token) == 200
    assert await status(strict, authorization=strict.token.replace("Token", "Bearer")) == 200
    assert await status(strict, cookie=strict.cookie) == 200
    assert await status(strict, cookie="sessionid=wrong") == 401


async def test_a_cookie_counts_from_the_own_origin_only(strict: Strict) -> None:
    own = strict.gateway.url
    assert await status(strict, cookie=strict.cookie, origin=own) == 200
    assert await status(strict, cookie=strict.cookie, sec_fetch_site="same-origin") == 200
    assert await status(strict, cookie=strict.cookie, origin=FRIEND) == 401
    assert await status(strict, cookie=strict.cookie, sec_fetch_site="cross-site") == 401
    assert await status(strict, cookie=strict.cookie, sec_fetch_site="same-site") == 401


async def test_pages_of_other_origins_are_refused_unless_they_are_allowed(strict: Strict) -> None:
    token = {"authorization": strict.token}
    async with EventClient(strict.gateway.url, "/topic/a", origin=FRIEND, **token) as client:
        assert client.status == 200
        assert client.headers["access-control-allow-origin"] == FRIEND
        assert client.headers["vary"] == "Origin"
    for origin in ("https://evil.example", "null"):
        async with EventClient(strict.gateway.url, "/topic/a", origin=origin, **token) as client:
            assert client.status == 403
            assert "access-control-allow-origin" not in client.headers
            assert origin in json.loads(await client.body())["detail"]
    assert await status(strict, host="rebound.example", **token) == 403


async def test_errors_can_be_read_by_pages_that_are_allowed(strict: Strict) -> None:
    async with EventClient(strict.gateway.url, "/topic/a", origin=FRIEND) as client:
        assert client.status == 401
        assert client.headers["access-control-allow-origin"] == FRIEND


async def test_a_page_may_ask_whether_it_may_send_its_headers(strict: Strict) -> None:
    headers = {
        "origin": FRIEND,
        "access_control_request_method": "GET",
        "access_control_request_headers": "authorization, last-event-id",
    }
    url = strict.gateway.url
    async with EventClient(url, "/topic/a", method="OPTIONS", **headers) as client:
        assert client.status == 200
        assert client.headers["access-control-allow-origin"] == FRIEND
        assert "last-event-id" in client.headers["access-control-allow-headers"]


async def test_a_user_hears_messages_for_that_user_and_no_other(strict: Strict) -> None:
    token = {"authorization": strict.token}
    url = strict.gateway.url
    async with EventClient(url, "/user/queue/news", **token) as client:
        await client.subscribed()
        code = "from realtime.broker import publish; publish('/user/alice/queue/news', 'yours')"
        await asyncio.to_thread(lambda: manage("shell", "-v", "0", "-c", code))
        event = await client.message()
        assert event.json["message"] == "yours"
        assert event.json["topic"] == "/user/alice/queue/news"
    async with EventClient(url, "/user/bob/queue/news", **token) as client:
        assert client.status == 400
