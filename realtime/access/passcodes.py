"""
Passcodes: check ``login`` and ``passcode`` without letting a few jam the logins of all.

Hashing a passcode takes a processor for some tenths of a second, on purpose. So

* it has a few threads of its own, :data:`hashing`, and a bounded queue in which every address has
  its turn, and from which those who left are gone;
* what was right is remembered for a minute, so that a fleet that comes back does not hash again:
  an HMAC, with a key that only this process has, over the passcode and the stored hash, which a
  change of the password changes;
* who fails again and again is held back for longer and longer: the address, and the account from
  that address; a right passcode from another address is not.
"""

from __future__ import annotations

import hmac
import math
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Hashable
from hashlib import sha256
from threading import Lock
from typing import Any, Final

from django.contrib.auth import authenticate, get_user_model, user_logged_in, user_login_failed
from django.http import HttpRequest

from realtime.concurrency import FairThreads
from realtime.stomp import AccessDenied, Unavailable

from . import audit
from .addresses import neighbourhood
from .authentication import login_threads, needs
from .credentials import Credentials, Login

#: Where passcodes are hashed, at whatever door.
hashing: Final = FairThreads(
    max(2, (os.cpu_count() or 1) // 2), limit=256, limit_of_one=128, name="realtime-hashing"
)

#: What is said where they do not belong together, or there is no such account.
WRONG: Final = "wrong login or passcode"

#: Seconds for which a passcode that was right is remembered, and of how many.
REMEMBERED_SECONDS: Final = 60.0
MAX_REMEMBERED: Final = 10_000

#: Failures that cost nothing, of an account at an address, and of an address; each one more
#: doubles the delay.
FREE_FAILURES: Final = 3
FREE_FAILURES_OF_ADDRESS: Final = 20
MAX_DELAY_SECONDS: Final = 60.0

#: After so many seconds without another, failures are forgotten.
FAILURES_SECONDS: Final = 900.0
MAX_FAILURES: Final = 10_000


class Memory:
    """Right passcodes of the last minute, as keyed hashes."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def remember(self, user: Any, passcode: str) -> None:
        """Remember that a passcode is this user's."""
        if not user.has_usable_password():  # it was shown elsewhere, where it may change unseen
            return
        with self._lock:
            self._until[self._digest(user, passcode)] = time.monotonic() + REMEMBERED_SECONDS
            while len(self._until) > MAX_REMEMBERED:
                self._until.popitem(last=False)

    def recall(self, login: str, passcode: str) -> Any:
        """Return the user if this passcode was right a short time ago; asks the database."""
        if not self._until:
            return None
        users = get_user_model()
        try:
            user = users._default_manager.get_by_natural_key(login)
        except users.DoesNotExist:
            return None
        with self._lock:
            until = self._until.get(self._digest(user, passcode), 0.0)
        return user if until > time.monotonic() and user.is_active else None

    def _digest(self, user: Any, passcode: str) -> bytes:
        known = f"{user.pk}\0{user.password}\0{passcode}".encode(errors="surrogatepass")
        return hmac.digest(self._key, known, sha256)


class Failures:
    """
    Logins that failed lately, and until when more of them are held back.

    A client with IPv6 has more addresses than it could try: all of its network count as one. Of a
    login that was tried a hash is kept: it may be as long as a request.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()
        self._lock = Lock()

    def delay(self, address: str, login: str) -> float:
        """Return for how many seconds a login is held back, 0 for not at all."""
        of_login, of_address = _keys(address, login)
        return max(
            self._delay(of_login, FREE_FAILURES), self._delay(of_address, FREE_FAILURES_OF_ADDRESS)
        )

    def note(self, address: str, login: str) -> None:
        """Take note of a login that failed."""
        now = time.monotonic()
        with self._lock:
            for key in _keys(address, login):
                count, at = self._counts.pop(key, (0, now))
                self._counts[key] = (count + 1 if now - at < FAILURES_SECONDS else 1, now)
            while len(self._counts) > MAX_FAILURES:
                self._counts.popitem(last=False)

    def forget(self, address: str, login: str) -> None:
        """Forget those of an account at an address: somebody knows its passcode there."""
        with self._lock:
            self._counts.pop(_keys(address, login)[0], None)

    def _delay(self, key: Hashable, free: int) -> float:
        with self._lock:
            count, at = self._counts.get(key, (0, 0.0))
        if count < free:
            return 0.0
        delay = min(MAX_DELAY_SECONDS, 2.0 ** min(count - free, 10))
        return float(max(0.0, at + delay - time.monotonic()))


def _keys(address: str, login: str) -> tuple[Hashable, Hashable]:
    network = neighbourhood(address)
    return (network, hash(login)), network


memory: Final = Memory()
failures: Final = Failures()


@needs("login")
async def passcode_user(credentials: Credentials) -> Login | None:
    """Find the user of ``login`` and ``passcode``; old clients send an empty login for none."""
    address, login, passcode = credentials.address, credentials.login, credentials.passcode
    if not login:
        return None
    user = await login_threads.run(neighbourhood(address), memory.recall, login, passcode)
    if user is None:
        hold_back(address, login)
        user = await hashing.run(neighbourhood(address), _check, address, login, passcode)
    if user is None:
        raise AccessDenied(WRONG, code="authentication-failed")
    failures.forget(address, login)
    return Login(user, "passcode")


def hold_back(address: str, login: str) -> None:
    """
    Let those who failed too often try again later.

    Raises:
        Unavailable: If that is now.
    """
    if delay := failures.delay(address, login):
        seconds = str(math.ceil(delay))
        audit.record("login-held-back", address=address, login=login, seconds=seconds)
        raise Unavailable(
            "too many logins failed: try again later",
            code="too-many-failures",
            retry_after=delay,
        )


def _check(address: str, login: str, passcode: str) -> Any:
    # Others may have waited in this queue before: with the same passcode, and been right; or with
    # many wrong ones, which would all be tried if who was let in were not held back here.
    user = memory.recall(login, passcode)
    if user is None:
        hold_back(address, login)
        user = authenticate(username=login, password=passcode)
    if user is None:
        failures.note(address, login)
    else:
        memory.remember(user, passcode)
    return user


def _address(request: HttpRequest | None) -> str:
    return str(request.META.get("REMOTE_ADDR", "")) if request is not None else ""


def _failed(sender: Any, credentials: Any, request: HttpRequest | None = None, **_: Any) -> None:
    if request is None:  # it is noted where it was asked for
        return
    address, login = _address(request), str(credentials.get("username") or "")
    audit.record("login-failed", address=address, login=login, reason=WRONG)
    if not failures.delay(address, login):
        failures.note(address, login)


def _logged_in(sender: Any, request: HttpRequest | None, user: Any, **_: Any) -> None:
    failures.forget(_address(request), user.get_username())


user_login_failed.connect(_failed, dispatch_uid="realtime.access.passcodes")
user_logged_in.connect(_logged_in, dispatch_uid="realtime.access.passcodes")
