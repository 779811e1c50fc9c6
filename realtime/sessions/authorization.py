"""
Authorization: what one session may do, for how long, and what becomes of it when that changes.

::

    CONNECT ────> log_in         the clock of CONNECT stops; who leaves meanwhile is forgotten
    SUBSCRIBE ──> check_hearing  by a rule, or by a token that was signed for it
    SEND ───────> grants.check   by a rule
    the clock ──> tick           a login, or a token of a subscription, has come to its end
    revocation ─> recheck        the user has changed: ask again for whatever is heard
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from realtime.access import signing
from realtime.access.authentication import authenticate
from realtime.access.credentials import NOT_OF_TICKET, Credentials, Login
from realtime.access.rules import Decision, Permissions, record_refused
from realtime.concurrency import nothing
from realtime.destinations.names import TEMPORARY, USER, check_destination, check_published
from realtime.routes.rules import Action
from realtime.routes.table import rules_of
from realtime.stomp import AccessDenied, LoginExpired, StompError, Unavailable, events

from .failures import as_stomp_error
from .session import Session
from .subscriptions import Subscriptions

T = TypeVar("T")

#: Where a client SENDs a fresh token, before the old one expires.
REFRESH: Final = "/app/auth/refresh"

#: The header of a SUBSCRIBE with what :func:`realtime.sign` made.
TOKEN: Final = "token"

#: So much is read of a client whose login is being looked at, to see whether it leaves.
MAX_AHEAD_BYTES: Final = 64 * 1024

#: What takes no longer is waited for without a look whether the client is there still.
AT_ONCE_SECONDS: Final = 0.05

_NEVER: Final = float("inf")


class Grants:
    """
    What one session may hear and send, and until when.

    Args:
        session: Whose they are.
    """

    __slots__ = ("_session", "permissions", "signed")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.permissions = Permissions(session)
        #: Until when a token that was signed grants a subscription, by its key; Unix seconds.
        self.signed: dict[str, float] = {}

    async def check(self, action: Action, destination: str) -> Decision:
        """
        Return the decision if the session may do this.

        Raises:
            AccessDenied: If not.
            Unavailable: If that can't be said now.
        """
        if action == "send" and destination.startswith(USER):
            destination = check_published(destination)  # a name may be spelled in many ways
        self._check_ticket(action, destination)
        return await self.permissions.check(action, destination)

    async def grant(
        self, key: str, destination: str, *, tokens: Sequence[str] = (), past: bool = False
    ) -> None:
        """
        Let the session hear a destination, by a token that was signed for it or by the rules.

        Args:
            key: Of the subscription.
            past: Whether it also wants what was published before.

        Raises:
            AccessDenied: If it may not.
            Unavailable: If that can't be said now.
        """
        if needs_no_rule(check_destination(destination)):
            self._check_ticket("subscribe", destination)
            return
        if tokens:
            self._check_ticket("subscribe", destination)  # a token stands in for rules only
            self.signed[key] = _until(tokens, destination, self._session.user_name)
            return
        answered_in = None
        while answered_in != self.permissions.era:  # what was said before counts no more
            answered_in = self.permissions.era
            await self.check("subscribe", destination)
            if past:
                await self.check("history", destination)

    def _check_ticket(self, action: Action, destination: str) -> None:
        login = self._session.login
        if login is not None and not login.is_for(destination):
            self._record(action, destination, NOT_OF_TICKET)
            raise AccessDenied(f"this ticket is not for {destination!r}", code=f"{action}-denied")

    def record_token(self, destination: str, error: AccessDenied) -> None:
        """Write into the audit log that a signed token was of no use, if that is the error."""
        if error.code == "bad-token":
            self._record("subscribe", destination, error.message)

    def _record(self, action: Action, destination: str, reason: str) -> None:
        record_refused(self._session, self._session.address, action, reason, destination)

    def seconds_left(self) -> float:
        """
        Return how long what is granted lasts.

        Raises:
            LoginExpired: If the login has come to its end.
        """
        now, login = time.time(), self._session.login
        until = login.until if login is not None else _NEVER
        if until <= now:
            raise LoginExpired("the login has expired: log in again", code="login-expired")
        return min([until, *self.signed.values()]) - now

    def expired(self) -> list[str]:
        """Return the keys of subscriptions whose tokens have come to their end."""
        now = time.time()
        return [key for key, until in self.signed.items() if until <= now]

    async def recheck(
        self, user: Any, heard: Iterable[tuple[str, str]]
    ) -> AsyncIterator[tuple[str, str, StompError]]:
        """
        Ask again for what is heard, for the user as the database has it now; yield the keys and
        destinations of what may not be heard any more, and why. A rule that raises denies.

        Raises:
            Unavailable: In the end, if some of it can't be said now; that is heard on.
        """
        self._session.update_user(user)
        self.permissions.forget()
        unsaid = None
        for key, destination in heard:
            if key in self.signed or destination.startswith(USER):
                continue
            try:
                await self.check("subscribe", destination)
            except Exception as error:
                refused = as_stomp_error(error)
                if isinstance(refused, Unavailable):
                    unsaid = refused
                else:
                    yield key, destination, refused
        if unsaid is not None:
            raise unsaid


class Authorization:
    """
    The grants of a STOMP session, and what becomes of it when they end.

    Args:
        session: Whose they are.
        subscriptions: What it hears.
        fail: Called with the error that ends the session.
    """

    __slots__ = ("_fail", "_session", "_subscriptions", "grants", "soft_errors")

    def __init__(
        self,
        session: Session,
        subscriptions: Subscriptions,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._session = session
        self._subscriptions = subscriptions
        self._fail = fail
        self.grants = Grants(session)
        #: Whether what is refused leaves the session as it is.
        self.soft_errors = False

    def log_in(self, event: events.Connect, login: Login | None) -> None:
        """Let the session be that of a login, or of nobody."""
        self._session.log_in(login)
        self.soft_errors = event.headers.get("x-soft-errors") == "true"

    async def refresh(self, event: events.Send) -> None:
        """
        Go on with a fresh login of the same user: SEND to :data:`REFRESH` with ``authorization``
        as in CONNECT, or with the token as body.

        Raises:
            AccessDenied: If it shows somebody else, or nobody.
            Unavailable: If that can't be said now.
        """
        token = event.body.decode(errors="replace").strip()
        named = {name.lower(): value for name, value in event.headers.items()}
        authorization = named.get("authorization", f"Bearer {token}")
        credentials = Credentials(address=self._session.address, authorization=authorization)
        login, user = await authenticate(credentials), self._session.user
        if login is None or user is None or login.user.pk != user.pk:
            raise AccessDenied("that is no login of this user", code="authentication-failed")
        self._session.log_in(login)
        self.grants.permissions.forget()

    async def check_hearing(self, event: events.Subscribe) -> None:
        """
        Check a SUBSCRIBE, and what it wants of the past.

        Raises:
            AccessDenied: If it may not hear that.
            Unavailable: If that can't be said now.
        """
        headers = event.headers
        tokens = [headers[TOKEN]] if TOKEN in headers else []
        past = "last-message-id" in headers or "replay" in headers
        try:
            await self.grants.grant(event.key, event.destination, tokens=tokens, past=past)
        except AccessDenied as error:
            self.grants.record_token(event.destination, error)
            raise

    def discard(self) -> None:
        """Tell nobody any more what ends: the client is gone."""
        self._fail = nothing

    def unsubscribed(self, key: str) -> None:
        """Forget what was signed for a subscription."""
        self.grants.signed.pop(key, None)

    def tick(self) -> float:
        """
        End what has expired; return in how many seconds to look again.

        Raises:
            LoginExpired: If the session's login has.
        """
        for key in self.grants.expired():
            self._end(key, AccessDenied("the token has expired", code="token-expired"))
        return self.grants.seconds_left()

    async def recheck(self, user: Any) -> None:
        """
        End what may not be heard any more, as its rule says.

        Raises:
            Unavailable: If some of it can't be said now.
        """
        heard = self._subscriptions.named()
        async for key, destination, error in self.grants.recheck(user, heard):
            if (key, destination) not in self._subscriptions.named():
                continue  # its client has ended it meanwhile
            if any(rule.on_revoked == "close" for rule, _ in rules_of(destination)):
                self._fail(error)
                return
            self._end(key, error)

    def _end(self, key: str, error: StompError) -> None:
        self.unsubscribed(key)
        self._subscriptions.refuse(key, error)


@dataclass(slots=True)
class Ahead:
    """What a client sent while its login was looked at, which is to be seen next."""

    receive: Callable[[], Awaitable[dict[str, Any]]] | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def read(self) -> None:
        """Read until the client is gone; what it sends is kept, up to a bound."""
        assert self.receive is not None
        size = 0
        while size < MAX_AHEAD_BYTES:
            message = await self.receive()
            self.messages.append(message)
            if message["type"] == "websocket.disconnect":
                return
            size += len(message.get("bytes") or message.get("text") or "")
        await asyncio.Future()  # it has to wait, as others do who send too much


async def unless_gone(work: Awaitable[T], ahead: Ahead) -> T:
    """
    Return what work returns; it is cancelled if the client leaves, and it takes longer than
    :data:`AT_ONCE_SECONDS`.

    Raises:
        StompError: If the client has left.
    """
    future = asyncio.ensure_future(work)
    try:
        await asyncio.wait({future}, timeout=AT_ONCE_SECONDS)
        if not future.done() and not await _is_done_first(future, ahead):
            raise StompError("the client has left", code="gone")
        return future.result()
    finally:
        future.cancel()


async def _is_done_first(future: asyncio.Future[Any], ahead: Ahead) -> bool:
    """Wait until it is done or the client is gone; return whether it is done."""
    gone = asyncio.ensure_future(ahead.read())
    try:
        await asyncio.wait({future, gone}, return_when=asyncio.FIRST_COMPLETED)
        return future.done()
    finally:
        gone.cancel()
        await asyncio.wait({gone})


def needs_no_rule(destination: str) -> bool:
    """
    Return whether no rule is asked who may hear a destination: a user's own is theirs, and others
    of users and sessions nobody hears by name.
    """
    return destination.startswith((USER, TEMPORARY))


def _until(tokens: Sequence[str], destination: str, user_name: str) -> float:
    """Return until when the first of some tokens that is for a destination grants it."""
    reason = ""
    for token in tokens:
        try:
            return signing.verify(token, destination, user_name or None)
        except signing.NotSigned as error:
            reason = str(error)
    raise AccessDenied(f"the token: {reason}", code="bad-token")
