"""Standing: whether what sessions logged in with still holds; asked of the database in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends import signed_cookies
from django.utils import timezone

from .credentials import BY_PASSWORD, Login, digest

#: Logins that are looked up together.
BATCH: Final = 500


def look_up(logins: Iterable[Login]) -> Iterator[tuple[Login, Any]]:
    """
    Yield each login, and its user anew, whose permissions are read again; None for the user
    whose login doesn't hold any more: an account that is gone or not active, a changed password, a
    token or a login session that was deleted.
    """
    logins = list(logins)
    for some in (logins[at : at + BATCH] for at in range(0, len(logins), BATCH)):
        users = {user.pk: user for user in _users(some)}
        proofs = _proofs(some)
        for login in some:
            user = users.get(login.user.pk)
            yield login, user if user is not None and _holds(login, user, proofs) else None


def _users(logins: Sequence[Login]) -> Iterable[Any]:
    model = get_user_model()
    return model._default_manager.filter(pk__in={login.user.pk for login in logins})


def _proofs(logins: Sequence[Login]) -> set[tuple[str, str]]:
    """Return what of their proofs is there still."""
    asked: dict[str, Callable[[Sequence[Login]], set[str]]]
    asked = {"token": _tokens, "cookie": _login_sessions}
    return {
        (how, proof)
        for how, ask in asked.items()
        if (those := [login for login in logins if login.how == how])
        for proof in ask(those)
    }


def _tokens(logins: Sequence[Login]) -> set[str]:
    tokens = apps.get_model("authtoken", "Token").objects
    users = {login.user.pk for login in logins}
    return {digest(key) for key in tokens.filter(user__in=users).values_list("key", flat=True)}


def _login_sessions(logins: Sequence[Login]) -> set[str]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    keys = {login.proof for login in logins}
    if hasattr(store, "get_model_class"):
        sessions = store.get_model_class().objects.filter(expire_date__gt=timezone.now())
        return set(sessions.filter(pk__in=keys).values_list("pk", flat=True))
    if issubclass(store, signed_cookies.SessionStore):  # the browser has it, and nobody else
        return keys
    return {key for key in keys if store().exists(key)}


def _holds(login: Login, user: Any, proofs: set[tuple[str, str]]) -> bool:
    if not getattr(user, "is_active", True):
        return False
    if login.how in ("token", "cookie") and (login.how, login.proof) not in proofs:
        return False
    return login.how not in BY_PASSWORD or login.password == digest(user.password)
