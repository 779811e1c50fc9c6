"""
Callers: who posted a moment ago, what Django answered then, and until when that holds.

A caller is found by a request that is the same but for its body: by a hash, with a key that only
this process has, over its path, its address and its headers. It is forgotten

* :data:`SECONDS` after Django was asked, or when its token expires;
* when its user changes, as sessions end or ask again: at once where that was done, and on the
  other nodes as soon as they are told;
* when a lost connection to Redis was replaced: what was told meanwhile is not known. While it is
  lost nobody is recalled, and nobody is before the node hears what is told.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from threading import Lock
from typing import Any, Final

from django.core.signals import setting_changed

from realtime.access.credentials import Login
from realtime.conf import conf
from realtime.hub.notices import hear_notices
from realtime.messages.message import Message
from realtime.routes.rules import Requirement
from realtime.sessions.revocation import EVERYBODY, USERS, users_changed

#: For so long a caller is known at most; changes that no signal tells of are found as late.
SECONDS: Final = 60.0

#: So many are known at most.
MAX_CALLERS: Final = 1000

#: Headers of browsers, which Django looks at.
_OF_BROWSERS: Final = frozenset({b"cookie", b"origin"})

#: Headers that are others in each request, and of which no answer depends.
_OF_ONE_REQUEST: Final = frozenset(
    {b"content-length", b"idempotency-key", b"traceparent", b"tracestate", b"x-request-id"}
)


@dataclass(frozen=True, eq=False)
class Caller:
    """
    Who posted, and what is known of that.

    Args:
        login: Whom the request showed.
        read: Return the message that one item of a body asks for, given its idempotency key.
        headers: Of the answer.
        held: What rules asked of the user, and allowed.
        until: When it has to be asked anew, on the clock of :func:`time.monotonic`.
    """

    login: Login
    read: Callable[[Any, str | None], Message] = field(repr=False)
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    held: frozenset[Requirement]
    until: float = field(default_factory=lambda: time.monotonic() + _seconds())

    @property
    def name(self) -> str:
        """Whose requests, topics and idempotency keys these are."""
        return str(self.login.user.get_username())

    @property
    def holds(self) -> bool:
        """Whether it need not be asked anew."""
        return time.monotonic() < self.until and time.time() < self.login.until


def _seconds() -> float:
    return min(SECONDS, conf.STOMP_RECHECK_SECONDS)


class Callers:
    """Those that this process knows; threads share them."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._callers: OrderedDict[bytes, Caller] = OrderedDict()
        self._lock = Lock()
        #: Whether this node hears now of users that change; None if it does not listen.
        self.hears: Callable[[], bool] | None = None
        #: Another number each time that anybody was forgotten.
        self.era = 0

    def key_of(self, scope: Mapping[str, Any]) -> bytes | None:
        """Return the key of a plain POST with a token, None of any other request."""
        if scope["method"] != "POST" or scope.get("query_string"):
            return None
        where = [scope.get(name) for name in ("scheme", "http_version", "path", "root_path")]
        whence = scope.get("server"), (scope.get("client") or [None])[0]
        parts = [repr((where, whence)).encode(), scope.get("raw_path") or b""]
        authorized = False
        for name, value in scope["headers"]:
            if name in _OF_BROWSERS:
                return None
            if name not in _OF_ONE_REQUEST:
                authorized = authorized or name == b"authorization"
                parts += name, value  # neither has a line break: this is read in one way only
        if not authorized:
            return None
        return blake2b(b"\n".join(parts), digest_size=32, key=self._secret).digest()

    def recall(self, key: bytes) -> Caller | None:
        """Return who posted with this key, if that holds still; on the node's event loop."""
        caller = self._callers.get(key)
        if caller is None or not caller.holds or self.hears is None or not self.hears():
            return None
        return caller

    def remember(self, key: bytes, caller: Caller, era: int) -> None:
        """
        Know a caller from now on.

        Args:
            era: That of before Django was asked: who was forgotten since then may be this one.
        """
        with self._lock:
            if era != self.era:
                return
            known = self._callers.pop(key, None)
            if known is not None and known.holds:
                caller = replace(caller, held=known.held | caller.held, until=known.until)
            self._callers[key] = caller
            while len(self._callers) > MAX_CALLERS:
                self._callers.popitem(last=False)

    def forget(self, users: Sequence[str | None]) -> None:
        """Forget users, by their keys; EVERYBODY is all of them."""
        with self._lock:
            self.era += 1
            for key, caller in list(self._callers.items()):
                if EVERYBODY in users or str(caller.login.user.pk) in users:
                    del self._callers[key]

    def forget_all(self) -> None:
        """Forget everybody."""
        self.forget([EVERYBODY])


#: Those of this process.
callers: Final = Callers()


async def serve(node: Any) -> None:
    """Let callers be recalled, as long as a node hears which users change."""

    def hears() -> bool:
        return bool(node.hub.hears)

    await hear_notices(node.hub, USERS, callers.forget)
    node.hub.on_renewed.append(callers.forget_all)
    callers.forget_all()  # what was told before was not heard
    callers.hears = hears
    try:
        await asyncio.Event().wait()
    finally:
        if callers.hears is hears:
            callers.hears = None
        callers.forget_all()


users_changed.connect(lambda users, **_: callers.forget(users), weak=False)
setting_changed.connect(lambda **_: callers.forget_all(), weak=False)
