"""
Outbox: messages that are rows until they are published.

A row is written by the transaction that it belongs to. ``manage.py bridge`` relays: it gives rows
their numbers, publishes them in this order, and deletes them. Wherever it dies, the next one goes
on: what was published with a number is not published again, as with the entries of a stream.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from django.db import transaction
from django.db.models import F

from realtime.broker import publish_many
from realtime.conf import conf
from realtime.layer.fence import Fence
from realtime.messages.message import Checked, Message, check
from realtime.models import OutboxMessage, OutboxNumber

logger = logging.getLogger(__name__)

#: How many rows are relayed at once.
ROUND_ROWS: Final = 200


def keep(message: Checked, using: str) -> None:
    """
    Write a message into the outbox of a database.

    Raises:
        ValueError: If nobody relays it, or it has an idempotency key: it is published once anyway.
    """
    if using not in conf.STOMP_OUTBOX:
        raise ValueError(f"nobody relays the outbox of {using!r}: add it to STOMP_OUTBOX")
    plain = message.message
    if plain.idempotency_key is not None:
        raise ValueError("a message of the outbox is published once, without an idempotency key")
    OutboxMessage.objects.using(using).create(
        destination=plain.destination, headers=dict(plain.headers), body=plain.body
    )


def relay(using: str, route: str, token: int) -> int:
    """
    Publish the next rows of an outbox, and delete them; return how many they were.

    Args:
        route: What owners of this outbox have in common: see :class:`.Fence`.
        token: The owner's, greater than those of all before.

    Raises:
        Fenced: If there is another owner by now.
        redis.RedisError: If Redis did not take all of them; then all stay.
        django.db.Error: If the database is away.
    """
    there = OutboxMessage.objects.using(using).filter(problem="")
    if there.filter(number=None).exists():
        _number(using)
    rows = list(there.exclude(number=None).order_by("number")[:ROUND_ROWS])
    _publish([each for row in rows if (each := _checked(row)) is not None], route, token)
    there.filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def waiting(using: str) -> int:
    """Return how many messages wait in the outbox of a database, the hopeless ones included."""
    return OutboxMessage.objects.using(using).count()


def _number(using: str) -> None:
    """Give rows the next numbers, in the order in which they were written, as far as committed."""
    with transaction.atomic(using):
        numbers, rows = OutboxNumber.objects.using(using), OutboxMessage.objects.using(using)
        if not numbers.filter(pk=1).update(last=F("last")):  # nobody else numbers meanwhile
            numbers.create(pk=1, last=0)
        # A database that was made anew, or restored, has numbers that were published before.
        last = max(numbers.get(pk=1).last, time.time_ns() // 1000)
        new = list(rows.filter(number=None, problem="").order_by("pk")[:ROUND_ROWS])
        for row in new:
            last += 1
            row.number = last
        rows.bulk_update(new, ["number"])
        numbers.filter(pk=1).update(last=last)


def _checked(row: OutboxMessage) -> tuple[int, Checked] | None:
    """Return the number of a row, and its message; or None if it can't be published any more."""
    assert row.number is not None
    try:
        return row.number, check(Message(row.destination, bytes(row.body), row.headers))
    except ValueError as error:
        row.number, row.problem = None, str(error)[:200]
        row.save(update_fields=["number", "problem"])
        logger.error(
            "message %(id)d of the outbox stays there: %(problem)s",
            {"id": row.pk, "problem": row.problem},
        )
        return None


def _publish(numbered: list[tuple[int, Checked]], route: str, token: int) -> None:
    if not numbered:
        return
    newest: dict[str, str] = {}
    fences = []
    for number, checked in numbered:
        destination, entry = checked.message.destination, f"{number:020d}"
        fences.append(Fence(route, token, entry, newest.get(destination, "")))
        newest[destination] = entry
    publish_many([checked for _, checked in numbered], "bridge", fences)
