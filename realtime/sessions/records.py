"""Records: the rows of a node's sessions in the database, written behind."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from realtime.concurrency import in_thread
from realtime.models import NodeRecord, SessionRecord

from .session import Session

logger = logging.getLogger(__name__)

#: Seconds between writes of what opened and closed; each brings the changes of one part in so many
#: of the other sessions as well.
WRITE_SECONDS: Final = 2.0
_PARTS: Final = 3

#: Its own, so that a storm of logins does not make this node look dead.
_thread: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="realtime-sessions")

_BATCH: Final = 500
_CHANGING: Final = [
    "user", "version", "heard_at", "subscriptions", "messages_in", "messages_out",
]  # fmt: skip


class SessionWriter:
    """
    Write a node's sessions behind: the socket's path only touches sets in memory.

    A storm of connections becomes a few transactions. A database that fails is tried
    again; meanwhile clients notice nothing.
    """

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._live: set[Session] = set()
        self._written: dict[Session, tuple[Any, ...]] = {}
        self._known = False  # the node's own row is there
        self._failing = False

    def opened(self, session: Session) -> None:
        """Take note of a new session."""
        self._live.add(session)

    def closed(self, session: Session) -> None:
        """Take note that a session ended."""
        self._live.discard(session)

    async def run(self) -> None:
        """Write until cancelled."""
        for part in itertools.cycle(range(_PARTS)):
            await self.write(part)
            await asyncio.sleep(WRITE_SECONDS)

    async def write(self, part: int | None = None) -> None:
        """
        Bring the database up to date: once, now. Of those that were there before only a part, if
        one is given: a thread that writes many takes time from the event loop.
        """
        live = {session: _changing_values(session) for session in self._live}
        gone = [session.id for session in self._written if session not in live]
        changed = {
            session: state
            for session, state in live.items()
            if session not in self._written
            or (part in (None, _part_of(session)) and self._written[session] != state)
        }
        try:
            await in_thread(self._save, list(changed), gone, threads=_thread)
        except Exception as error:
            if not self._failing:
                logger.warning("could not write the sessions, trying again: %s", error)
            self._failing = True
            return
        self._failing = False
        kept = {session: state for session, state in self._written.items() if session in live}
        self._written = kept | changed

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
                id=self._node_id, defaults={"seen_at": timezone.now()}
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
            heard_at=datetime.fromtimestamp(session.heard_at, UTC),
            subscriptions=session.subscriptions,
            messages_in=session.messages_in,
            messages_out=session.messages_out,
        )


def _changing_values(session: Session) -> tuple[Any, ...]:
    return (
        session.user_name,
        session.version,
        int(session.heard_at),
        session.subscriptions,
        session.messages_in,
        session.messages_out,
    )


def _part_of(session: Session) -> int:
    return hash(session.id) % _PARTS


def _batches(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
