"""Records: the rows of a node's sessions in the database, written behind."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models.functions import Now

from realtime.access.limits import outage
from realtime.concurrency import in_thread, keep_connections
from realtime.models import NodeRecord, SessionRecord

from .session import Session

logger = logging.getLogger(__name__)

#: Seconds between writes of what opened, closed and changed, where anything did.
WRITE_SECONDS: Final = 2.0

#: Seconds between two signs of life of a node.
SIGN_SECONDS: Final = 5.0

#: A database that has not answered for so long is away.
AWAY_SECONDS: Final = 30.0

#: Its own, so that a storm of logins does not make this node look dead.
_thread: Final = ThreadPoolExecutor(
    max_workers=1, thread_name_prefix="realtime-sessions", initializer=keep_connections
)

_BATCH: Final = 500
_CHANGING: Final = ["user", "version", "topics"]

#: So much of what a session hears is kept, in characters.
_MAX_TOPICS: Final = 4000


class SessionWriter:
    """
    Write a node's sessions behind: the socket's path only touches sets in memory.

    A storm of connections becomes a few transactions. A database that fails is tried
    again; meanwhile clients notice nothing. It writes so often that it knows whether the database
    is away, and tells :class:`.Outage`.
    """

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._live: set[Session] = set()
        self._written: set[Session] = set()
        self._gone: list[str] = []  # whose rows are to be removed
        self._known = False  # the node's own row is there
        self._signed_at = float("-inf")
        self._failing = False

    def opened(self, session: Session) -> None:
        """Take note of a new session."""
        self._live.add(session)

    def closed(self, session: Session) -> None:
        """Take note that a session ended."""
        self._live.discard(session)
        if session in self._written:
            self._written.discard(session)
            self._gone.append(session.id)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self.write()
            await asyncio.sleep(WRITE_SECONDS)

    async def write(self) -> None:
        """Bring the database up to date: once, now."""
        changed = [session for session in self._live if session.changed]
        gone, self._gone = self._gone, []
        if not (changed or gone or time.monotonic() - self._signed_at >= SIGN_SECONDS):
            return
        for session in changed:
            session.changed = False
        self._written.update(changed)  # those that end meanwhile have to be removed
        try:
            async with asyncio.timeout(AWAY_SECONDS):
                await in_thread(self._save, changed, gone, threads=_thread)
        except Exception as error:
            self._try_again(changed, gone, error)
        else:
            self._failing = False
            outage.end()
            self._signed_at = time.monotonic()

    def _try_again(self, changed: list[Session], gone: list[str], error: Exception) -> None:
        if isinstance(error, DatabaseError | TimeoutError):
            outage.begin(error)
        elif not self._failing:
            logger.warning("could not write the sessions, trying again: %s", error)
        self._failing = True
        self._gone += gone
        for session in changed:
            session.changed = True

    async def close(self) -> None:
        """Remove the node and its sessions."""
        self._live.clear()
        try:
            await in_thread(NodeRecord.objects.filter(id=self._node_id).delete, threads=_thread)
        except Exception as error:
            logger.warning("could not remove the sessions of this node: %s", error)

    def _save(self, changed: list[Session], gone: list[str]) -> None:
        with transaction.atomic():
            _, created = NodeRecord.objects.update_or_create(
                id=self._node_id, defaults={"seen_at": Now()}
            )
            if created and self._known:  # taken for dead by another node: write all anew
                changed = list(self._live)
            NodeRecord.objects.dead().delete()
            SessionRecord.objects.bulk_create(
                [self._record(session) for session in changed],
                batch_size=_BATCH,
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=_CHANGING,
            )
            for ids in _batches(gone):
                SessionRecord.objects.filter(id__in=ids).delete()
        self._known = True

    def _record(self, session: Session) -> SessionRecord:
        return SessionRecord(
            id=session.id,
            node_id=self._node_id,
            user=session.user_name,
            address=session.address[:45],
            user_agent=session.user_agent[:200],
            version=session.version,
            connected_at=datetime.fromtimestamp(session.connected_at, UTC),
            topics=_topics(session),
        )


def _topics(session: Session) -> str:
    return "\n".join(sorted(session.destinations))[:_MAX_TOPICS]


def _batches(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
