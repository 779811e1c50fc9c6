"""Logins by tokens of Django REST framework: many are one query, and one spoils no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from rest_framework.authtoken.models import Token

from realtime.access import authentication
from realtime.access.authentication import authenticate, authenticate_sync
from realtime.access.credentials import Credentials, digest
from realtime.stomp import AccessDenied

#: Whatever else may stand where a token does.
WRONG = [
    "Token unknown",
    "Token \0",
    "Token " + 39 * "a" + "\0",
    "Token \ud800",
    "Token é",
    "Token " + 41 * "a",
    "Token " + 40 * "a",
    "Token",
    "Basic dGVzdDp0ZXN0",
    "",
]


def asked(authorization: str) -> Credentials:
    return Credentials(address="192.0.2.1", authorization=authorization)


def token_of(name: str, *, active: bool = True) -> Token:
    user = User.objects.create_user(name, is_active=active)
    return Token.objects.create(user=user)


@pytest.mark.django_db
def test_many_tokens_are_one_query_and_what_is_wrong_with_one_is_said_of_it_alone() -> None:
    good = [token_of(f"user-{number}") for number in range(3)]
    gone = token_of("gone", active=False)
    many = [asked(text) for text in (*WRONG, *(f"Bearer {each.key}" for each in (gone, *good)))]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found: list[Any] = authentication.token_user.of_many(many)  # type: ignore[attr-defined]
    assert len(queries) == 1
    refused, logins = found[: len(WRONG) + 1], found[len(WRONG) + 1 :]
    assert all(isinstance(each, AccessDenied) for each in refused)
    assert all(repr(error).find("aaaa") == -1 for error in refused)
    assert [login.user.username for login in logins] == ["user-0", "user-1", "user-2"]
    assert [login.proof for login in logins] == [digest(token.key) for token in good]


@pytest.mark.django_db
def test_what_no_token_can_be_is_asked_of_nobody() -> None:
    many = [asked("Token \0"), asked("Token \ud800"), asked("Token " + 41 * "a"), asked("Basic x")]
    with CaptureQueriesContext(connection) as queries:
        found = authentication.token_user.of_many(many)  # type: ignore[attr-defined]
    assert len(queries) == 0
    assert {each.code for each in found} == {"authentication-failed"}


@pytest.mark.django_db(transaction=True)
async def test_those_who_come_together_each_get_their_own_login() -> None:
    tokens = [await sync_to_async(token_of)(f"user-{number}") for number in range(20)]
    comers = [asked(f"Token {token.key}") for token in tokens] + [asked(text) for text in WRONG]
    found: list[Any] = await asyncio.gather(*map(authenticate, comers), return_exceptions=True)
    assert [login.user.username for login in found[:20]] == [f"user-{n}" for n in range(20)]
    assert all(isinstance(each, AccessDenied) for each in found[20:])


@pytest.mark.django_db
def test_one_is_found_or_refused_in_the_thread_of_a_request() -> None:
    token = token_of("user")
    login = authenticate_sync(asked(f"Token {token.key}"))
    assert login is not None and login.user.username == "user"
    with pytest.raises(AccessDenied, match="the token is not valid"):
        authenticate_sync(asked("Token unknown"))


@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a bad name")])
def test_only_a_database_that_is_away_is_the_error_of_all(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asks = []

    def fail(credentials: Credentials) -> None:
        asks.append(credentials)
        raise error

    monkeypatch.setattr(authentication, "_jwt_user", fail)
    monkeypatch.setattr(authentication.conf, "STOMP_JWT", {"key": "a" * 32})
    many = [asked("Token x"), asked("Token y")]
    if isinstance(error, OperationalError):
        with pytest.raises(OperationalError):
            authentication.jwt_user.of_many(many)  # type: ignore[attr-defined]
        assert asks == many[:1]
    else:
        assert authentication.jwt_user.of_many(many) == [error, error]  # type: ignore[attr-defined]
