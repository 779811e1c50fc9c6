"""Commit: messages that are published with the transaction they belong to, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from weakref import ref

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from realtime.broker import publish_many
from realtime.messages.message import Checked, Message, check

from . import outbox as kept

logger = logging.getLogger(__name__)


def publish_on_commit(
    destination: str,
    content: Any,
    headers: Mapping[str, str] | None = None,
    *,
    using: str | None = None,
    idempotency_key: str | None = None,
    outbox: bool = False,
) -> None:
    """
    Publish once the current transaction is committed, and nothing if it is rolled back.

    All messages of a transaction are published together, in their order. Without a transaction that
    is done at once. The content is taken as it is now. If Redis does not take them then, that is
    logged, and nothing is raised: what was committed stays so.

    Args:
        using: The alias of the database whose transaction it is; the default one without.
        idempotency_key: As for :func:`.publish`.
        outbox: Keep the message in a table until ``manage.py bridge`` has published it: then it is
            lost with nothing but the database. ``STOMP_OUTBOX`` has to list the database.

    Raises:
        DestinationError: If nobody can hear the destination.
        MessageTooLarge: If the body, or the headers, are over the limit.
        TypeError, ValueError: If the content can't be encoded, or a header is not a text; or for
            an outbox that nobody relays, or with an idempotency key.
    """
    alias = DEFAULT_DB_ALIAS if using is None else using
    message = check(Message.of(destination, content, headers, idempotency_key=idempotency_key))
    if outbox:
        kept.keep(message, alias)
        return
    connection = transaction.get_connection(alias)
    # No name here may hold it: see _Waiting.
    connection.on_commit(_Waiting(message, _batch(connection)))


class _Waiting:
    """
    A message that waits for the commit, when Django calls it.

    Nobody but Django holds it, and Django drops it when the savepoint that it belongs to is rolled
    back: so those of a batch that are still there are those to publish.

    Args:
        batch: All that wait for the same commit.
    """

    __slots__ = ("__weakref__", "_message", "_place", "batch")

    def __init__(self, message: Checked, batch: list[ref[_Waiting]]) -> None:
        self._message: Checked | None = message
        self._place = len(batch)
        self.batch = batch
        batch.append(ref(self))

    def __call__(self) -> None:
        """Publish this message and those after it, unless one before it has done so."""
        waiting = (each() for each in self.batch[self._place :])
        messages = [message for each in waiting if each and (message := each._take()) is not None]
        if not messages:
            return
        try:
            publish_many(messages)
        except Exception:
            first = messages[0].message.destination
            logger.exception(
                "%(count)d messages of a transaction were not published, the first to"
                " %(destination)s",
                {"count": len(messages), "destination": first},
            )

    def _take(self) -> Checked | None:
        message, self._message = self._message, None
        return message


def _batch(connection: BaseDatabaseWrapper) -> list[ref[_Waiting]]:
    """Return the messages that wait for the same commit."""
    for entry in reversed(connection.run_on_commit):
        if isinstance(hook := entry[1], _Waiting):
            return hook.batch
    return []
