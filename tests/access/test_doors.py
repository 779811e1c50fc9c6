"""
The doors: whatever a client brings, and wherever it knocks, the answer is the same.

Each way to show who one is, in each of its states, at each door: CONNECT, CONNECT after an HTTP
request with the credentials, server-sent events, the API. Two do not apply everywhere: a passcode,
and a token in its place, are headers of CONNECT; a cookie is one of the HTTP request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from realtime.access import authentication, passcodes
from realtime.access.credentials import Credentials, Login
from realtime.layer import tickets
from tests.conftest import free_port
from tests.kit import doors
from tests.kit.doors import CSRF, DOORS, Brought, Door, Outcome
from tests.kit.key_server import KeyServer, answer_keys
from tests.kit.local_client import local_node
from tests.kit.tokens import jwk, key_text, token
from tests.kit.users import make_user

pytestmark = pytest.mark.django_db(transaction=True)

PASSCODE: Final = "wonderland-passcode"


@pytest.fixture(autouse=True)
async def node(settings: Any, transactional_db: None) -> AsyncIterator[None]:
    settings.STOMP_ROUTING = "tests.routing"
    settings.ALLOWED_HOSTS = ["localhost"]
    settings.STOMP_JWT = {"key": key_text("RS256")}
    async with local_node():
        yield


@pytest.fixture
def alice(transactional_db: None) -> User:
    return make_user("alice", "notifications.publish", password=PASSCODE)


def by_passcode(passcode: str, login: str = "alice") -> Brought:
    return Brought({"login": login, "passcode": passcode}, secrets=(passcode,) if passcode else ())


def by_authorization(authorization: str) -> Brought:
    headers = {"authorization": authorization}
    return Brought(headers, headers, secrets=(authorization.split()[-1],))


def by_ticket(ticket: str) -> Brought:
    return Brought({"ticket": ticket}, query={"ticket": ticket}, secrets=(ticket,))


def by_cookie(key: str) -> Brought:
    http = {
        "cookie": f"sessionid={key}; csrftoken={CSRF}",
        "x-csrftoken": CSRF,
        "origin": "http://localhost",
    }
    return Brought(http=http, secrets=(key,))


def drf_token(user: User) -> Brought:
    return by_authorization(f"Token {Token.objects.get_or_create(user=user)[0].key}")


def jwt(**claims: Any) -> Brought:
    return by_authorization(f"Bearer {token(**claims)}")


def jwt_as_passcode(**claims: Any) -> Brought:
    return by_passcode(token(**claims), login="jwt")


def ticket(user: User, seconds: int = 30) -> Brought:
    return by_ticket(tickets.make(str(user.pk), (), seconds))


def cookie(user: User) -> Brought:
    browser = Client()
    browser.force_login(user)
    return by_cookie(browser.cookies["sessionid"].value)


def outdated_ticket(user: User) -> Brought:
    brought = ticket(user, seconds=1)
    time.sleep(1.1)
    return brought


def used_ticket(user: User) -> Brought:
    brought = ticket(user)
    assert tickets.take(brought.query["ticket"]) is not None
    return brought


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def delete(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


def change_password(user: User) -> None:
    changed = User.objects.get(pk=user.pk)
    changed.set_password("another")
    changed.save()


def delete_token(user: User) -> None:
    Token.objects.filter(user=user).delete()


def log_out(user: User) -> None:
    Session.objects.all().delete()


def outdate_cookies(user: User) -> None:
    Session.objects.update(expire_date=timezone.now())


NOW: Final = int(time.time())
MAKERS: dict[str, Callable[[User], Brought]] = {
    "passcode": lambda _: by_passcode(PASSCODE),
    "token": drf_token,
    "jwt": lambda _: jwt(),
    "jwt as passcode": lambda _: jwt_as_passcode(),
    "ticket": ticket,
    "cookie": cookie,
}

#: Ways and states, and what is brought; what is not named here is refused.
CASES: dict[tuple[str, str], Callable[[User], Brought]] = {
    **{(way, "good"): make for way, make in MAKERS.items()},
    **{(way, state): make for way, make in MAKERS.items() for state in ("deactivated", "deleted")},
    ("passcode", "wrong"): lambda _: by_passcode("wrong-passcode"),
    ("passcode", "of nobody"): lambda _: by_passcode(PASSCODE, login="nobody"),
    ("passcode", "malformed"): lambda _: by_passcode(""),
    ("passcode", "revoked"): lambda _: by_passcode(PASSCODE),
    ("token", "wrong"): lambda _: by_authorization(f"Token {'0' * 40}"),
    ("token", "malformed"): lambda _: by_authorization(f"Basic {'b' * 20}"),
    ("token", "without scheme"): lambda user: by_authorization(drf_token(user).secrets[0]),
    ("token", "revoked"): drf_token,
    ("jwt", "wrong"): lambda _: jwt(number=1),
    ("jwt", "expired"): lambda _: jwt(exp=NOW - 60),
    ("jwt", "not yet valid"): lambda _: jwt(nbf=NOW + 3600),
    ("jwt", "malformed"): lambda _: by_authorization(f"Bearer {token()[:-9]}"),
    ("jwt", "no JWT at all"): lambda _: by_authorization("Bearer a.b.c-secret"),
    ("jwt", "without end"): lambda _: jwt(exp=None),
    ("jwt", "for others"): lambda _: jwt(aud="others"),
    ("jwt as passcode", "wrong"): lambda _: jwt_as_passcode(number=1),
    ("jwt as passcode", "expired"): lambda _: jwt_as_passcode(exp=NOW - 60),
    ("jwt as passcode", "not yet valid"): lambda _: jwt_as_passcode(nbf=NOW + 3600),
    ("jwt as passcode", "malformed"): lambda _: by_passcode(token()[:-9], login="jwt"),
    ("ticket", "wrong"): lambda _: by_ticket("t" * 43),
    ("ticket", "malformed"): lambda _: by_ticket("ticket-that-is-none"),
    ("ticket", "expired"): outdated_ticket,
    ("ticket", "revoked"): used_ticket,
    ("cookie", "wrong"): lambda _: by_cookie("k" * 32),
    ("cookie", "malformed"): lambda _: by_cookie("key-that-is-none"),
    ("cookie", "expired"): cookie,
    ("cookie", "revoked"): cookie,
    ("cookie", "of an old password"): cookie,
}

#: What happens after it was given out, and before it is brought.
CHANGES: dict[tuple[str, str], Callable[[User], None]] = {
    **{(way, "deactivated"): deactivate for way in MAKERS},
    **{(way, "deleted"): delete for way in MAKERS},
    ("passcode", "revoked"): change_password,
    ("token", "revoked"): delete_token,
    ("cookie", "expired"): outdate_cookies,
    ("cookie", "revoked"): log_out,
    ("cookie", "of an old password"): change_password,
}


def doors_of(way: str) -> tuple[Door, ...]:
    """Return where somebody may come in this way."""
    if "passcode" in way:
        return (doors.connect,)
    return DOORS[1:] if way == "cookie" else DOORS


async def knock(
    way: str, brought: list[Brought], log: pytest.LogCaptureFixture
) -> dict[Outcome, list[str]]:
    """Knock at each door; return the outcomes and where, having seen that no secret is told."""
    log.set_level(logging.DEBUG)
    found: dict[Outcome, list[str]] = {}
    for door, each in zip(doors_of(way), brought, strict=True):
        entry = await door(each)
        found.setdefault(entry.outcome, []).append(door.__name__)
        for secret in each.secrets:
            assert secret not in entry.text
            assert secret not in log.text
    return found


async def made(way: str, make: Callable[[User], Brought], user: User) -> list[Brought]:
    """Return something to bring to each door."""
    return [await sync_to_async(make)(user) for _ in doors_of(way)]


@pytest.mark.parametrize(("way", "state"), CASES, ids=lambda each: str(each).replace(" ", "-"))
async def test_the_answer_is_the_same_at_each_door(
    alice: User, caplog: pytest.LogCaptureFixture, way: str, state: str
) -> None:
    brought = await made(way, CASES[way, state], alice)
    if change := CHANGES.get((way, state)):
        await sync_to_async(change)(alice)
    found = await knock(way, brought, caplog)
    assert list(found) == ["in" if state == "good" else "refused"], found


@pytest.mark.parametrize("way", MAKERS)
async def test_while_the_database_is_away_nobody_is_refused(
    alice: User, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    brought = await made(way, MAKERS[way], alice)

    def fail(*args: Any, **options: Any) -> Any:
        raise OperationalError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", fail)
        found = await knock(way, brought, caplog)
    assert list(found) == ["unavailable"], found


async def test_while_redis_is_away_no_ticket_is_refused(
    alice: User, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    brought = await made("ticket", ticket, alice)
    request.getfixturevalue("redis_away")
    found = await knock("ticket", brought, caplog)
    assert list(found) == ["unavailable"], found


@pytest.mark.parametrize("way", ["jwt", "jwt as passcode"])
async def test_while_the_key_server_is_away_no_token_of_its_is_refused(
    alice: User, settings: Any, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    settings.STOMP_JWT = {"jwks": f"http://127.0.0.1:{free_port()}/keys"}
    found = await knock(way, await made(way, MAKERS[way], alice), caplog)
    assert list(found) == ["unavailable"], found
    brought = await sync_to_async(drf_token)(alice)
    assert (await doors.connect(brought)).outcome == "in"


#: Seconds that the backend of one login sleeps, and a client has until CONNECT.
SLEEP: Final = 1.2
CONNECT_SECONDS: Final = 0.4

#: What each way asks, and where it is found.
BACKENDS: dict[str, tuple[Any, str]] = {
    "passcode": (passcodes, "authenticate"),
    "token": (authentication, "digest"),
    "ticket": (tickets, "take"),
    "cookie": (ModelBackend, "get_user"),
}


def sleep_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let the first call of a function take long."""
    function, calls = getattr(owner, name), iter([SLEEP])

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(next(calls, 0))
        return function(*args, **options)

    monkeypatch.setattr(owner, name, slow)


@pytest.mark.parametrize(("way", "at"), [(way, at) for way in BACKENDS for at in doors_of(way)])
async def test_a_slow_login_holds_up_no_other_and_comes_in_at_last(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch, way: str, at: Door
) -> None:
    settings.STOMP_CONNECT_SECONDS = CONNECT_SECONDS
    brought = await sync_to_async(MAKERS[way])(alice)
    other = await sync_to_async(drf_token)(alice)
    sleep_once(monkeypatch, *BACKENDS[way])
    slow = asyncio.create_task(at(brought))
    await asyncio.sleep(0.1)
    for door in DOORS:
        assert (await door(other)).outcome == "in"
    assert not slow.done()
    assert (await slow).outcome == "in"


async def test_a_slow_key_server_holds_up_no_other(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    settings.STOMP_CONNECT_SECONDS = CONNECT_SECONDS
    server = KeyServer()
    try:
        server.answer = answer_keys([jwk("RS256", "a")], after=SLEEP)
        settings.STOMP_JWT = {"jwks": server.url}
        slow = [asyncio.create_task(door(jwt(kid="a"))) for door in DOORS]
        await asyncio.sleep(0.1)
        other = await sync_to_async(drf_token)(alice)
        for door in DOORS:
            assert (await door(other)).outcome == "in"
        assert not any(task.done() for task in slow)
        assert [(await task).outcome for task in slow] == ["in"] * len(DOORS)
    finally:
        await asyncio.to_thread(server.close)


def test_nothing_shows_a_secret_when_it_is_printed(alice: User) -> None:
    secrets = {
        "passcode": "passcode-secret",
        "authorization": "Token key-secret",
        "ticket": "ticket-secret",
        "session_key": "session-secret",
    }
    assert "secret" not in repr(Credentials(login="alice", **secrets))
    assert "secret" not in repr(Login(alice, "cookie", proof="session-secret"))
    assert alice.password not in repr(Login(alice, "passcode"))
