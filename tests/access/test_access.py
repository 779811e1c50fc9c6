"""Who is let in: origins, anonymous clients, logins, tokens, cookies."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token

from realtime.access.authentication import authenticate, login_threads, needs
from realtime.access.credentials import Credentials, Login, of_connect
from realtime.consumers import StompConsumer
from realtime.stomp import AccessDenied
from realtime.stomp.events import Connect


async def open_from(origin: str | None, host: str = "gateway.example") -> dict[str, Any] | None:
    """Return the scope that gets through from this origin, or None if it is refused."""
    seen: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []

    class Session:
        def __init__(self, scope: dict[str, Any], send: Any, node: Any) -> None:
            seen.append(scope)

        async def run(self, receive: Any) -> None:
            """Return: the client got through."""

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    headers = [(b"host", host.encode()), (b"cookie", b"sessionid=secret")]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("realtime.consumers.StompSession", Session)
        await StompConsumer()({"type": "websocket", "headers": headers}, None, send)
    assert bool(seen) != bool(sent)
    return seen[0] if seen else None


@pytest.mark.parametrize(
    ("origin", "host", "let_in", "cookie"),
    [
        ("https://gateway.example", "gateway.example", True, True),
        ("http://gateway.example:8080", "gateway.example:8080", True, True),
        ("https://gateway.example:443", "gateway.example", True, True),
        ("https://friend.example", "gateway.example", True, False),
        (None, "gateway.example", True, False),
        ("https://evil.example", "gateway.example", False, False),
        ("https://gateway.example.evil.example", "gateway.example", False, False),
        ("https://gateway.example:8443", "gateway.example", False, False),
        ("null", "gateway.example", False, False),
        ("", "gateway.example", False, False),
        ("http://[", "gateway.example", False, False),
        ("file://gateway.example", "gateway.example", False, False),
        ("https://rebound.example", "rebound.example", False, False),
        ("http://[::1]:8080", "[::1]:8080", True, True),
        ("https://[::1]", "[::1]:443", True, True),
        ("http://[::1]:8080", "[::1]", False, False),
        ("http://[::2]:8080", "[::2]:8080", False, False),
        ("http://GATEWAY.example.", "gateway.example.", True, True),
        ("http://me@gateway.example", "gateway.example", False, False),
        ("http://gateway.example:x", "gateway.example:x", False, False),
        ("http://", "", False, False),
    ],
)
async def test_pages_of_other_origins_are_refused_and_cookies_are_ours_alone(
    settings: Any, origin: str | None, host: str, let_in: bool, cookie: bool
) -> None:
    settings.ALLOWED_ORIGINS = ["https://friend.example"]
    settings.ALLOWED_HOSTS = ["gateway.example", "[::1]"]
    scope = await open_from(origin, host)
    assert (scope is not None) == let_in
    if scope is not None:
        assert any(name == b"cookie" for name, _ in scope["headers"]) == cookie


async def test_any_origin_may_be_allowed_but_never_with_its_cookies(settings: Any) -> None:
    settings.ALLOWED_ORIGINS = ["*"]
    for origin in ("https://debugging.example", "null"):
        scope = await open_from(origin)
        assert scope is not None
        assert not any(name == b"cookie" for name, _ in scope["headers"])


def connect(**headers: str) -> Connect:
    return Connect(
        versions=("1.2",),
        host=None,
        login=headers.get("login"),
        passcode=headers.get("passcode"),
        headers=headers,
    )


async def authenticate_session(scope: dict[str, Any], event: Connect) -> Any:
    """Return the user who connects so."""
    login = await authenticate(of_connect(scope, event))
    return login.user if login is not None else None


@pytest.fixture
def alice(transactional_db: None) -> User:
    return User.objects.create_user("alice", password="wonderland")


NO_COOKIE: dict[str, Any] = {"headers": []}


async def test_an_anonymous_client_is_refused_unless_that_is_allowed(settings: Any) -> None:
    with pytest.raises(AccessDenied) as refused:
        await authenticate_session(NO_COOKIE, connect())
    assert refused.value.code == "login-required"
    settings.STOMP_ANONYMOUS = True
    assert await authenticate_session(NO_COOKIE, connect()) is None


async def test_an_empty_login_is_none(settings: Any) -> None:
    settings.STOMP_ANONYMOUS = True
    assert await authenticate_session(NO_COOKIE, connect(login="", passcode="")) is None
    settings.STOMP_ANONYMOUS = False
    with pytest.raises(AccessDenied) as refused:
        await authenticate_session(NO_COOKIE, connect(login="", passcode=""))
    assert refused.value.code == "login-required"


async def test_nobody_is_taken_to_a_thread_to_be_told_that_it_brings_nothing(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STOMP_ANONYMOUS = True
    settings.STOMP_JWT = {"KEY": "x" * 32}

    async def run(*asked: Any) -> Any:
        raise AssertionError(asked)

    monkeypatch.setattr(login_threads, "run", run)
    assert await authenticate_session(NO_COOKIE, connect()) is None


async def test_in_a_thread_all_are_asked_in_their_order_and_together(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STOMP_ANONYMOUS = True
    names = ("first", "second", "awaited", "third", "fourth")
    settings.STOMP_AUTHENTICATORS = [f"{__name__}.{name}" for name in names]
    in_threads: list[Any] = []

    async def run(line: Any, function: Any, authenticators: Any, credentials: Any) -> Any:
        in_threads.append(authenticators)
        return function(authenticators, credentials)

    monkeypatch.setattr(login_threads, "run", run)
    asked.clear()
    assert await authenticate_session(NO_COOKIE, connect(login="alice")) is None
    assert asked == ["first", "second", "awaited", "fourth"]
    assert in_threads == [[first, second], [fourth]]


asked: list[str] = []


def first(credentials: Credentials) -> Login | None:
    asked.append("first")
    return None


@needs("authorization", "login")
def second(credentials: Credentials) -> Login | None:
    asked.append("second")
    return None


async def awaited(credentials: Credentials) -> Login | None:
    asked.append("awaited")
    return None


@needs("ticket", "passcode")
def third(credentials: Credentials) -> Login | None:
    asked.append("third")
    return None


def fourth(credentials: Credentials) -> Login | None:
    asked.append("fourth")
    return None


@pytest.mark.parametrize("header", ["authorization", "ticket"])
async def test_what_is_brought_but_empty_is_wrong_and_not_nothing(
    settings: Any, header: str
) -> None:
    settings.STOMP_ANONYMOUS = True
    with pytest.raises(AccessDenied) as refused:
        await authenticate_session(NO_COOKIE, connect(**{header: ""}))
    assert refused.value.code == "authentication-failed"


async def test_login_and_passcode_are_those_of_django(alice: User) -> None:
    user = await authenticate_session(NO_COOKIE, connect(login="alice", passcode="wonderland"))
    assert user == alice


@pytest.mark.parametrize(
    "headers",
    [
        {"login": "alice", "passcode": "wrong"},
        {"login": "alice"},
        {"login": "nobody", "passcode": "wonderland"},
        {"authorization": "Token wrong"},
        {"authorization": ""},
    ],
)
async def test_wrong_credentials_are_refused_even_where_anonymous_is_allowed(
    alice: User, settings: Any, headers: dict[str, str]
) -> None:
    settings.STOMP_ANONYMOUS = True
    with pytest.raises(AccessDenied) as refused:
        await authenticate_session(NO_COOKIE, connect(**headers))
    assert refused.value.code == "authentication-failed"
    assert "wrong" not in repr(connect(**headers))


@pytest.mark.parametrize("scheme", ["Token", "Bearer"])
async def test_an_api_token_logs_in_while_its_user_is_active(alice: User, scheme: str) -> None:
    token = await Token.objects.acreate(user=alice)
    event = connect(authorization=f"{scheme} {token.key}")
    assert await authenticate_session(NO_COOKIE, event) == alice
    alice.is_active = False
    await alice.asave()
    with pytest.raises(AccessDenied):
        await authenticate_session(NO_COOKIE, event)


@pytest.mark.parametrize(
    "credentials", ["{}", " {}", "Basic {}", "Basic x {}", "Token x {}", "Tok {}"]
)
async def test_a_token_counts_with_its_scheme_only(
    alice: User, settings: Any, credentials: str
) -> None:
    settings.STOMP_ANONYMOUS = True
    token = await Token.objects.acreate(user=alice)
    with pytest.raises(AccessDenied) as refused:
        await authenticate_session(NO_COOKIE, connect(authorization=credentials.format(token.key)))
    assert refused.value.code == "authentication-failed"
    assert token.key not in str(refused.value)


@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("scheme", ["Token", "token", "BEARER"])
async def test_the_header_and_its_scheme_may_be_written_in_any_case(
    alice: User, name: str, scheme: str
) -> None:
    token = await Token.objects.acreate(user=alice)
    event = connect(**{name: f"{scheme} {token.key}"})
    assert await authenticate_session(NO_COOKIE, event) == alice


async def test_the_first_authenticator_that_finds_a_user_decides(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(credentials: Credentials) -> None:
        return None

    def somebody(credentials: Credentials) -> Login:
        return Login(alice, "somehow")

    monkeypatch.setattr("tests.access.nobody", nobody, raising=False)
    monkeypatch.setattr("tests.access.somebody", somebody, raising=False)
    settings.STOMP_AUTHENTICATORS = ["tests.access.nobody", "tests.access.somebody"]
    assert await authenticate_session(NO_COOKIE, connect(login="x", passcode="y")) == alice
    settings.STOMP_AUTHENTICATORS = ["tests.access.nobody"]
    with pytest.raises(AccessDenied, match="log in"):
        await authenticate_session(NO_COOKIE, connect(login="x", passcode="y"))


async def test_the_cookie_of_a_login_session_logs_in(alice: User) -> None:
    browser = Client()
    await browser.aforce_login(alice)
    cookie = f"other=1; sessionid={browser.cookies['sessionid'].value}".encode()
    scope = {"headers": [(b"cookie", cookie)]}
    assert await authenticate_session(scope, connect()) == alice
    with pytest.raises(AccessDenied):
        await authenticate_session({"headers": [(b"cookie", b"sessionid=x")]}, connect())
