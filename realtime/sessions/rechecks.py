"""Rechecks: sessions that ask the rules again for what they hear, because their users changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from realtime.access.credentials import Login
from realtime.stomp import Unavailable

logger = logging.getLogger(__name__)

#: The sessions of so many users ask at once.
USERS_AT_ONCE: Final = 1000


class Rechecks:
    """
    Those of one user ask one after another, and users side by side: whoever has many sessions, or
    rules that are slow, keeps nobody else waiting.

    Args:
        unsaid: Called with the key of a user where the rules could not answer for now.
    """

    def __init__(self, unsaid: Callable[[str], None]) -> None:
        self._unsaid = unsaid
        self._waiting: dict[str, dict[Any, tuple[Login, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(USERS_AT_ONCE)

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
