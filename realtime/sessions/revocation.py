"""
Revocation: sessions whose user changed are looked at again, on every node.

::

    a signal of Django's (a user, a token, a group, a logout) ──> announce ──> the channel layer
                                                                                    │
    each node: Revocation, which looks up the logins of these users <───────────────┘
               and, each STOMP_RECHECK_SECONDS, those of all: for what no signal tells

A login that does not hold any more ends its session; others have the rules asked again for what
they hear. A login that is under way during a look may have been read before the change: when it is
there it is looked at, too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model, user_logged_out
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import Signal

from realtime.access.credentials import Login
from realtime.access.limits import is_outage, outage
from realtime.access.standing import look_up
from realtime.concurrency import in_thread
from realtime.conf import conf
from realtime.hub.hub import Hub
from realtime.hub.notices import hear_notices, tell
from realtime.stomp import AccessDenied, Unavailable

logger = logging.getLogger(__name__)

#: Where nodes are told of users; no client can name it.
USERS: Final = "/system/users"

#: Stands for all users.
EVERYBODY: Final = None

#: Sent with the keys of ``users`` that were changed by this process, before nodes are told.
users_changed: Final = Signal()

#: Seconds until nodes look: what is done to one user often comes in several steps.
_SOON: Final = 0.3

#: Seconds until they look again where the database could not say.
_AGAIN: Final = 1.0

#: The sessions of so many users ask the rules at once.
_USERS_AT_ONCE: Final = 1000

#: For so many seconds it is known which users were looked at: no login takes longer.
_KNOWN_SECONDS: Final = 600.0


class Revocation:
    """
    The looks of one node.

    Args:
        hub: Where it is told.
        members: Return the sessions that live here.
    """

    def __init__(self, hub: Hub, members: Callable[[], Sequence[Any]]) -> None:
        self._hub = hub
        self._members = members
        self._changed: set[str | None] = set()
        self._told = asyncio.Event()
        #: When users were looked at last, the latest at the end.
        self._looked_at: dict[str | None, float] = {}
        self._rechecks = Rechecks(self._tell_again)

    async def run(self) -> None:
        """Look, until cancelled."""
        loop = asyncio.get_running_loop()
        hearing = asyncio.create_task(hear_notices(self._hub, USERS, self.tell))
        try:
            while True:
                all_at = loop.time() + conf.STOMP_RECHECK_SECONDS
                while await self._is_told_before(all_at):
                    changed, self._changed = self._changed, set()
                    self._note(changed)
                    await self._look(changed)
                self._told.clear()
                self._changed.clear()
                await self._look({EVERYBODY})
        finally:
            hearing.cancel()
            self._rechecks.cancel()

    def tell(self, users: Sequence[str | None]) -> None:
        """Look at the sessions of these users soon."""
        self._changed.update(users)
        self._told.set()

    def check(self, login: Login | None) -> None:
        """Look soon at a login of now, if its user was looked at since it was asked for."""
        if login is None:
            return
        user = str(login.user.pk)
        looked_at = [self._looked_at.get(each, float("-inf")) for each in (user, EVERYBODY)]
        if max(looked_at) >= login.asked_at:
            self.tell([user])

    def _tell_again(self, *users: str | None) -> None:
        """Look at the sessions of users again in a while."""
        asyncio.get_running_loop().call_later(_AGAIN, self.tell, users)

    def _note(self, users: set[str | None]) -> None:
        """Remember that users are looked at now, and forget of whom that was long ago."""
        now, known = time.monotonic(), self._looked_at
        for user in users:
            known.pop(user, None)
            known[user] = now
        while known and known[first := next(iter(known))] < now - _KNOWN_SECONDS:
            del known[first]

    async def _is_told_before(self, deadline: float) -> bool:
        """Wait until some users have changed; return False when it is time to look at all."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._told.wait()
                await asyncio.sleep(_SOON)
        except TimeoutError:
            return False
        self._told.clear()
        return True

    async def _look(self, users: set[str | None]) -> None:
        sessions = {
            member.session.login: member
            for member in self._members()
            if (login := member.session.login) is not None
            and (EVERYBODY in users or str(login.user.pk) in users)
        }
        if not sessions:
            return
        try:
            found = await in_thread(lambda: list(look_up(sessions)))
        except Exception as error:
            if is_outage(error):
                outage.begin(error)
            else:
                logger.exception("could not look whether logins still hold")
            self._tell_again(*users)
            return
        for login, user in found:
            self._apply(sessions[login], login, user)

    def _apply(self, member: Any, login: Login, user: Any) -> None:
        session = member.session
        if session.login is not login:  # it has a fresh one, but hears what it heard
            login, user = session.login, session.user
        # What comes for a name is not for who had that name before.
        if user is not None and user.get_username() == session.user_name:
            self._rechecks.add(member, login, user)
            return
        try:
            member.fail(AccessDenied("the login does not hold any more", code="login-ended"))
        except Exception:  # others have to end, too
            logger.exception("a session whose login ended could not be ended")


class Rechecks:
    """
    Sessions that ask the rules again for what they hear, because their users changed.

    Those of one user ask one after another, and users side by side: whoever has many sessions, or
    rules that are slow, keeps nobody else waiting.

    Args:
        unsaid: Called with the key of a user where the rules could not answer for now.
    """

    def __init__(self, unsaid: Callable[[str], None]) -> None:
        self._unsaid = unsaid
        self._waiting: dict[str, dict[Any, tuple[Login, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_USERS_AT_ONCE)

    def add(self, member: Any, login: Login, user: Any) -> None:
        """Let a session ask, for the user as the database has it now, when its turn comes."""
        key = str(login.user.pk)
        if key not in self._waiting:
            self._waiting[key] = {}
            task = asyncio.create_task(self._ask_all(key), name="realtime-recheck")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._waiting[key][member] = login, user

    def cancel(self) -> None:
        """Let nobody ask any more."""
        for task in self._tasks:
            task.cancel()

    async def _ask_all(self, key: str) -> None:
        waiting = self._waiting[key]
        try:
            async with self._turns:
                while waiting:
                    member = next(iter(waiting))
                    await self._ask(key, member, *waiting.pop(member))
        finally:
            del self._waiting[key]

    async def _ask(self, key: str, member: Any, login: Login, user: Any) -> None:
        session = member.session
        try:
            await member.recheck(user if session.login is login else session.user)
        except Unavailable:
            self._unsaid(key)
        except Exception:
            logger.exception("could not ask again what a session may do")


def announce(*users: Any) -> None:
    """Let every node look at the sessions of users, by their keys, once the transaction is done."""
    transaction.on_commit(lambda: _publish([None if each is None else str(each) for each in users]))


def _publish(users: Sequence[str | None]) -> None:
    users_changed.send(None, users=users)
    try:
        tell(USERS, users)
    except Exception as error:  # the look at all sessions will find it
        logger.warning("could not tell nodes that users changed: %s", error)


def connect_signals() -> None:
    """Announce what changes users; called once, when the app is ready."""
    user = get_user_model()
    post_save.connect(_saved, sender=user, dispatch_uid="realtime.user-saved")
    post_delete.connect(_saved, sender=user, dispatch_uid="realtime.user-deleted")
    for name in ("groups", "user_permissions"):
        if (field := getattr(user, name, None)) is not None:
            m2m_changed.connect(
                _rights_changed, sender=field.through, dispatch_uid=f"realtime.{name}"
            )
    m2m_changed.connect(
        _group_changed, sender=Group.permissions.through, dispatch_uid="realtime.group"
    )
    for model in (Group, Permission):
        post_delete.connect(_group_changed, sender=model, dispatch_uid=f"realtime.{model}-deleted")
    user_logged_out.connect(_logged_out, dispatch_uid="realtime.logged-out")
    if apps.is_installed("rest_framework.authtoken"):
        token = apps.get_model("authtoken", "Token")
        post_delete.connect(_token_deleted, sender=token, dispatch_uid="realtime.token")
    if settings.SESSION_ENGINE.endswith((".db", ".cached_db")):
        session = apps.get_model("sessions", "Session")
        post_delete.connect(_login_deleted, sender=session, dispatch_uid="realtime.session")


def _saved(instance: Any, update_fields: Any = None, created: bool = False, **_: Any) -> None:
    if not created and update_fields != {"last_login"}:  # which each login writes
        announce(instance.pk)


def _rights_changed(
    instance: Any, action: str, reverse: bool, pk_set: Any = None, **_: Any
) -> None:
    if not action.startswith("post_"):
        return
    if not reverse:
        announce(instance.pk)
    else:  # `group.user_set`: an emptied one does not say of whom
        announce(*(pk_set or [EVERYBODY]))


def _group_changed(action: str = "post_delete", **_: Any) -> None:
    if action.startswith("post_"):
        announce(EVERYBODY)


def _logged_out(user: Any = None, **_: Any) -> None:
    if user is not None:
        announce(user.pk)


def _token_deleted(instance: Any, **_: Any) -> None:
    announce(instance.user_id)


def _login_deleted(instance: Any, **_: Any) -> None:
    if (user := instance.get_decoded().get(SESSION_KEY)) is not None:
        announce(user)
