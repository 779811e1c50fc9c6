"""Authentication: find out which Django user a client is."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial, wraps
from importlib import import_module
from itertools import groupby
from typing import Any, Final, TypeVar

from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.http import HttpRequest
from django.utils.module_loading import import_string

from realtime.concurrency import Busy, FairThreads
from realtime.conf import cached_setting, conf
from realtime.stomp import AccessDenied, Unavailable

from . import audit, jwt
from .addresses import neighbourhood
from .credentials import Credentials, Login, digest
from .limits import check_connect, is_outage

#: Finds out who a client is: see the package.
Authenticator = Callable[[Credentials], Awaitable[Login | None] | Login | None]
AnyAuthenticator = TypeVar("AnyAuthenticator", bound=Authenticator)

#: What authenticators that are asked of many at once say of each: a login, None, or its error.
Logins = list[Login | Exception | None]

#: Where logins that hash nothing ask the database: a flood from one address delays none from
#: another, and hashing delays neither.
login_threads: Final = FairThreads(4, limit=2000, limit_of_one=1000, name="realtime-login")


async def authenticate(credentials: Credentials) -> Login | None:
    """
    Return the login of who brings credentials, or None for an anonymous client.

    The authenticators are asked in their order; the first that finds a user decides.

    Raises:
        AccessDenied: If the credentials are wrong, or missing where they are needed.
        Unavailable: If so many log in, or the database is so slow, that they have to come again.
    """
    check_connect(credentials.address)
    if not asks(credentials):
        check_anonymous()
        return None
    asked_at = time.monotonic()
    try:
        async with asyncio.timeout(conf.STOMP_LOGIN_SECONDS):
            for is_async, some in groupby(_askable(credentials), _is_async):
                if (login := await _ask(is_async, list(some), credentials)) is not None:
                    check_active(login.user)
                    return replace(login, asked_at=asked_at)
    except TimeoutError:
        raise Unavailable(
            "logging in takes too long: try again", code="unavailable", retry_after=5
        ) from None
    except Busy as busy:
        raise too_many_logins(busy) from None
    except AccessDenied as error:
        _record(credentials, error)
        raise
    check_anonymous()
    return None


def authenticate_sync(credentials: Credentials) -> Login | None:
    """Do as :func:`authenticate`, in the thread of a request."""
    try:
        for authenticator in _askable(credentials):
            ask: Any = authenticator
            login = (async_to_sync(ask) if _is_async(ask) else ask)(credentials)
            if login is not None:
                check_active(login.user)
                return login
    except Busy as busy:
        raise too_many_logins(busy) from None
    except AccessDenied as error:
        _record(credentials, error)
        raise
    return None


def too_many_logins(busy: Busy) -> Unavailable:
    """Return what is said where too much is to be hashed, or asked of the database."""
    return Unavailable(
        "many clients log in just now: try again", code="unavailable", retry_after=busy.seconds
    )


def check_anonymous() -> None:
    """
    Check that a client may come without a login.

    Raises:
        AccessDenied: If not.
    """
    if not conf.STOMP_ANONYMOUS:
        raise AccessDenied(
            "log in: CONNECT needs login and passcode, or authorization with a token",
            code="login-required",
        )


def check_active(user: Any) -> None:
    """
    Check that an account may be used.

    Raises:
        AccessDenied: If not.
    """
    if not getattr(user, "is_active", True):
        raise AccessDenied("the account is not active", code="authentication-failed")


def needs(*kinds: str) -> Callable[[AnyAuthenticator], AnyAuthenticator]:
    """
    Let an authenticator be asked only of who brings one of these, of :class:`.Credentials`: who
    brings none is not taken to a thread to be told so.
    """

    def mark(authenticator: AnyAuthenticator) -> AnyAuthenticator:
        vars(authenticator)["needs"] = kinds
        return authenticator

    return mark


def of_many(ask: Callable[[Sequence[Credentials]], Logins]) -> Authenticator:
    """
    Let an authenticator be asked of many at once, who log in at the same time: where one query of
    the database can be for all of them.
    """

    @wraps(ask)
    def of_one(credentials: Credentials) -> Login | None:
        (login,) = ask([credentials])
        if isinstance(login, Exception):
            raise login
        return login

    vars(of_one)["of_many"] = ask
    return of_one


def asks(credentials: Credentials) -> bool:
    """Return whether anybody has to be asked who this is; if not, nothing is waited for."""
    return next(_askable(credentials), None) is not None


def _askable(credentials: Credentials) -> Iterator[Authenticator]:
    """Return the authenticators that could find somebody by these credentials, in their order."""
    for each in _authenticators():
        kinds = getattr(each, "needs", None)
        if kinds is None or any(_brings(credentials, kind) for kind in kinds):
            yield each


def _brings(credentials: Credentials, kind: str) -> bool:
    return bool(getattr(credentials, kind) != getattr(Credentials, kind))


async def _ask(
    is_async: bool, authenticators: Sequence[Authenticator], credentials: Credentials
) -> Login | None:
    """Ask those that are async here, and the others one after the other in one thread."""
    if not is_async:
        line = neighbourhood(credentials.address)
        if (find := _together(tuple(authenticators))) is not None:
            return await login_threads.run_together(line, find, credentials)
        return await login_threads.run(line, _first_login, authenticators, credentials)
    for authenticator in authenticators:
        ask: Any = authenticator
        if (login := await ask(credentials)) is not None:
            return login
    return None


def _first_login(authenticators: Sequence[Authenticator], credentials: Credentials) -> Login | None:
    for authenticator in authenticators:
        ask: Any = authenticator
        if (login := ask(credentials)) is not None:
            return login
    return None


@lru_cache
def _together(
    authenticators: tuple[Authenticator, ...],
) -> Callable[[Sequence[Credentials]], Logins] | None:
    """Return what asks these of many at once, if each of them can."""
    if all(hasattr(each, "of_many") for each in authenticators):
        return partial(_first_logins, authenticators)
    return None


def _first_logins(authenticators: Sequence[Any], many: Sequence[Credentials]) -> Logins:
    found: Logins = [None] * len(many)
    for authenticator in authenticators:
        unknown = [place for place, login in enumerate(found) if login is None]
        logins = authenticator.of_many([many[place] for place in unknown])
        for place, login in zip(unknown, logins, strict=True):
            found[place] = login
    return found


def _is_async(authenticator: Authenticator) -> bool:
    return inspect.iscoroutinefunction(authenticator)


def _record(credentials: Credentials, error: AccessDenied) -> None:
    audit.record(
        "login-failed", address=credentials.address, login=credentials.login, reason=error.message
    )


@cached_setting
def _authenticators() -> tuple[Authenticator, ...]:
    return tuple(map(import_string, conf.STOMP_AUTHENTICATORS))


@needs("authorization", "passcode")
@of_many
def jwt_user(many: Sequence[Credentials]) -> Logins:
    """Find the accounts that JSON Web Tokens name, in ``authorization`` or as passcode."""
    if not conf.STOMP_JWT:
        return [None] * len(many)
    return [_outcome(_jwt_user, each) for each in many]


def _jwt_user(credentials: Credentials) -> Login | None:
    try:
        claims = jwt.read(credentials.token or credentials.passcode)
    except jwt.BadToken as error:
        raise AccessDenied(str(error), code="authentication-failed") from None
    except jwt.KeysUnavailable:
        raise Unavailable(
            "the keys of tokens can't be read: try again", code="unavailable", retry_after=5
        ) from None
    if claims is None:
        return None
    users = get_user_model()
    try:
        user = users._default_manager.get_by_natural_key(claims.name)
    except users.DoesNotExist:
        raise AccessDenied(
            "the token names no account here", code="authentication-failed"
        ) from None
    return Login(user, "jwt", until=claims.expires)


@needs("authorization")
@of_many
def token_user(many: Sequence[Credentials]) -> Logins:
    """Find the owners of tokens of Django REST framework, in ``authorization``."""
    owners = _owners(_keys(many))

    def login(credentials: Credentials) -> Login | None:
        key = credentials.token
        if key is None:
            return None
        if key not in owners or not owners[key].is_active:
            raise AccessDenied("the token is not valid", code="authentication-failed")
        return Login(owners[key], "token", digest(key))

    return [_outcome(login, each) for each in many]


def _keys(many: Iterable[Credentials]) -> Iterator[str]:
    for each in many:
        with suppress(AccessDenied):
            if each.token is not None:
                yield each.token


def _owners(keys: Iterable[str]) -> dict[str, Any]:
    """Return the owners of tokens by their keys; what no token can have is asked of nobody."""
    tokens: Any = apps.get_model("authtoken", "Token").objects
    length = tokens.model._meta.get_field("key").max_length
    possible = {key for key in keys if len(key) <= length and key.isascii() and key.isprintable()}
    found = tokens.select_related("user").filter(key__in=possible) if possible else ()
    owners = {token.key: token.user for token in found}
    for user in owners.values():
        user._state.fields_cache.clear()  # or the token would be kept by its user
    return owners


def _outcome(
    ask: Callable[[Credentials], Login | None], credentials: Credentials
) -> Login | Exception | None:
    """Return what is found, or the error; one of the database would be that of all others."""
    try:
        return ask(credentials)
    except Exception as error:
        if is_outage(error):
            raise
        return error


@needs("session_key")
def cookie_user(credentials: Credentials) -> Login | None:
    """Find the user of the login session's cookie, unless other credentials were refused."""
    if credentials.session_key is None:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(credentials.session_key)
    user = get_user(request)
    return Login(user, "cookie", credentials.session_key) if user.is_authenticated else None
