"""Standing: which logins still hold, and how few questions that takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from realtime.access import standing
from realtime.access.credentials import Login, digest
from realtime.access.standing import look_up
from tests.kit.users import grant, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return make_user("alice")


def login_of(user: User, how: str) -> Login:
    """Return what an authenticator would."""
    if how == "token":
        return Login(user, how, digest(Token.objects.get_or_create(user=user)[0].key))
    if how == "cookie":
        browser = Client()
        browser.force_login(user)
        return Login(User.objects.get(pk=user.pk), how, browser.cookies["sessionid"].value)
    return Login(user, how)


def holds(login: Login) -> bool:
    ((found, user),) = look_up([login])
    assert found is login
    assert user is None or user == login.user
    return user is not None


def change_password(user: User) -> None:
    changed = User.objects.get(pk=user.pk)
    changed.set_password("another")
    changed.save()


def rotate_token(user: User) -> None:
    Token.objects.filter(user=user).delete()
    Token.objects.create(user=user)


CHANGES: dict[str, Callable[[User], Any]] = {
    "nothing": lambda user: None,
    "renamed": lambda user: User.objects.update(username="alicia"),
    "deactivated": lambda user: User.objects.update(is_active=False),
    "deleted": lambda user: User.objects.all().delete(),
    "password": change_password,
    "token deleted": lambda user: Token.objects.all().delete(),
    "token rotated": rotate_token,
    "logged out": lambda user: Session.objects.all().delete(),
    "login session over": lambda user: Session.objects.update(expire_date=timezone.now()),
}

#: What ends logins of each kind, besides the end of the account.
ENDS: dict[str, set[str]] = {
    "passcode": {"password"},
    "token": {"token deleted", "token rotated"},
    "jwt": set(),
    "ticket": {"password"},
    "cookie": {"password", "logged out", "login session over"},
    "another": set(),
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_login_holds_as_long_as_what_showed_it(alice: User, how: str, change: str) -> None:
    login = login_of(alice, how)
    CHANGES[change](alice)
    assert holds(login) == (change not in ENDS[how] | {"deactivated", "deleted"})


def test_the_token_of_another_is_no_proof(alice: User) -> None:
    bob = make_user("bob")
    login = login_of(alice, "token")
    login_of(bob, "token")
    Token.objects.filter(user=alice).delete()
    assert [user for _, user in look_up([login, login_of(bob, "token")])] == [None, bob]


@pytest.mark.parametrize("engine", ["cache", "signed_cookies", "cached_db", "file"])
def test_login_sessions_may_be_kept_anywhere(
    alice: User, settings: Any, tmp_path: Any, engine: str
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    assert holds(login_of(alice, "cookie"))
    if engine != "signed_cookies":  # nobody can know of those
        assert not holds(Login(alice, "cookie", "a" * 32))


def test_the_user_comes_anew_with_the_rights_of_now(alice: User) -> None:
    login = login_of(alice, "passcode")
    assert not alice.has_perm("notifications.publish")
    grant(alice, "notifications.publish")
    assert not alice.has_perm("notifications.publish")  # it has been asked before
    ((_, user),) = look_up([login])
    assert user.has_perm("notifications.publish")


def test_many_logins_take_few_queries(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    users = [make_user(f"user-{number}") for number in range(7)]
    logins = [login_of(user, how) for user in users for how in ENDS]
    kinds = 3  # users, tokens, login sessions
    with django_assert_num_queries(kinds):
        found = list(look_up(logins))
    assert [login for login, _ in found] == logins
    assert all(user == login.user for login, user in found)
    monkeypatch.setattr(standing, "BATCH", 21)
    with django_assert_num_queries(2 * kinds):
        assert len(list(look_up(logins))) == 42
    with django_assert_num_queries(1):
        assert len(list(look_up([login_of(users[0], "jwt")] * 20))) == 20
    with django_assert_num_queries(0):
        assert list(look_up([])) == []


def test_who_is_deleted_has_no_key_any_more(alice: User) -> None:
    login = login_of(alice, "passcode")
    alice.delete()  # which takes the key from the very object
    assert not holds(login)
