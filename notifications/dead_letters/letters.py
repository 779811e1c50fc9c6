"""
Dead letters: what came to a bridge and can't be delivered, kept for people to look at.

Each route has a Redis stream of them, bounded in number, whose entries are bounded in size. A
bridge adds to it with :func:`command`; the other functions are for people, and synchronous::

    letters = newest([route.id], count=50)
    redrive(route, [letter.key.entry_id for letter in letters])

All of them raise redis.RedisError while the gateway's own Redis is away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from heapq import nlargest
from itertools import chain, islice
from typing import Any, Final, NamedTuple, Self

from redis import RedisError

from notifications.bridges.routes import IncomingRoute
from notifications.bridges.store import client_to, key_of
from realtime.conf import conf
from realtime.redis import execute_all
from realtime.redis.cluster import ClusterClient

#: What is kept of one original: bytes of its names and values, and how many fields.
MAX_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 128

MAX_REASON_CHARACTERS: Final = 500

#: Seconds for which nobody else can re-drive a letter; publishing takes less, or has failed.
CLAIM_SECONDS: Final = 60

_KEY: Final = re.compile(r"(\d{1,19})-(\d{1,19})@(.+)", re.ASCII | re.DOTALL)


class Key(NamedTuple):
    """Which letter it is; keys are ordered by time. As text: ``MILLISECONDS-NUMBER@ROUTE``."""

    milliseconds: int
    number: int
    route_id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the key that a text stands for.

        Raises:
            ValueError: If it stands for none.
        """
        match = _KEY.fullmatch(text)
        if match is None:
            raise ValueError(f"no key of a dead letter: {text[:100]!r}")
        return cls(int(match[1]), int(match[2]), match[3])

    @property
    def entry_id(self) -> str:
        """The id in the stream of the route."""
        return f"{self.milliseconds}-{self.number}"

    def __str__(self) -> str:
        return f"{self.entry_id}@{self.route_id}"


@dataclass(frozen=True, slots=True)
class Letter:
    """
    One dead letter.

    Args:
        reason: Why it was not delivered.
        fields: The original's names and values, as far as they were kept, in their order.
        size: The bytes of all names and values that the original had.
        count: How many fields it had.
    """

    key: Key
    reason: str
    fields: Sequence[tuple[bytes, bytes]]
    size: int
    count: int

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.key.milliseconds / 1000, UTC)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was cut off: only then it can be re-driven."""
        return self.count == len(self.fields) and self.size == _size(self.fields)


class Outcome(Enum):
    """What became of a letter that somebody wanted to re-drive; the value says it to people."""

    REDRIVEN = "Published again"
    GONE = "Not there any more"
    CLAIMED = "Just being published again by somebody else"
    CUT = "Too large to be kept whole, so it can't be published again"
    UNHEARD = "Kept, because no bridge hears the Redis channel"
    REFUSED = "Kept, because the Redis of the route did not take it"


def command(route_id: str, reason: str, original: Mapping[Any, Any]) -> tuple[str | bytes, ...]:
    """
    Return the command that keeps what could not be delivered, for the gateway's own Redis.

    Args:
        original: Strings or bytes: the fields of the stream's entry, or ``channel`` and
            ``payload`` of what was published. What is over the bounds is cut off.
    """
    fields = [(_bytes(name), _bytes(value)) for name, value in original.items()]
    add = ("XADD", _stream(route_id), "MAXLEN", "~", str(conf.STOMP_DEAD_LETTERS), "*")
    about = ("reason", _bytes(reason[:MAX_REASON_CHARACTERS]))
    whole = ("size", str(_size(fields)), "fields", str(len(fields)))
    return (*add, *about, *whole, *chain.from_iterable(_cut(fields)))


def newest(route_ids: Iterable[str], count: int, before: Key | None = None) -> list[Letter]:
    """Return so many letters of these routes, the newest first, older than one of them."""
    asked = list(route_ids)
    answers = _ask(
        ("XREVRANGE", _stream(route_id), _end(route_id, before), "-", "COUNT", str(count))
        for route_id in asked
    )
    letters = (
        _letter(route_id, entry)
        for route_id, entries in zip(asked, answers, strict=True)
        for entry in entries
    )
    return nlargest(count, letters, key=lambda letter: letter.key)


def counts(route_ids: Iterable[str]) -> dict[str, int]:
    """Return how many letters each route has."""
    asked = list(route_ids)
    return dict(zip(asked, _ask(("XLEN", _stream(each)) for each in asked), strict=True))


def one(key: Key) -> Letter | None:
    """Return a letter, if it is there still."""
    [entries] = _ask([_reading(key.route_id, key.entry_id)])
    return _letter(key.route_id, entries[0]) if entries else None


def drop(route: IncomingRoute, ids: Iterable[str]) -> int:
    """Delete letters for good; return how many were there still."""
    [dropped] = _ask([("XDEL", _stream(route.id), *ids)])
    return int(dropped)


def redrive(route: IncomingRoute, ids: Iterable[str]) -> dict[str, Outcome]:
    """
    Publish letters again, where the route hears them, and delete each that was published.

    Others who read that Redis stream or channel get them again, too. A letter that is refused
    once more comes back as a new one.

    Of two who re-drive a letter at the same time, or one after the other, one publishes it. It
    stays if it could not be published, and it could be published twice only where that is not
    known: if Redis did not answer, or this process died, between publishing and deleting it.

    Returns:
        What became of each. It ends with the first that shows that the others won't do better;
        those have no outcome.
    """
    outcomes: dict[str, Outcome] = {}
    for entry_id in ids:
        outcomes[entry_id] = outcome = _redrive(route, entry_id)
        if outcome in (Outcome.UNHEARD, Outcome.REFUSED):
            break
    return outcomes


def _redrive(route: IncomingRoute, entry_id: str) -> Outcome:
    claim = key_of(route.id, f"redriving:{entry_id}")
    claimed, entries, lease = _ask(
        [
            ("SET", claim, "1", "NX", "EX", str(CLAIM_SECONDS)),
            _reading(route.id, entry_id),
            ("GET", key_of(route.id, "lease")),
        ]
    )
    if not claimed:
        return Outcome.CLAIMED
    letters = [_letter(route.id, entry) for entry in entries]
    outcome = _publish(route, letters[0], is_consumed=bool(lease)) if letters else Outcome.GONE
    delete = [("XDEL", _stream(route.id), entry_id)] if outcome is Outcome.REDRIVEN else []
    _ask([*delete, ("DEL", claim)])
    return outcome


def _publish(route: IncomingRoute, letter: Letter, *, is_consumed: bool) -> Outcome:
    if not letter.is_whole:
        return Outcome.CUT
    if route.kind != "stream" and not is_consumed:
        return Outcome.UNHEARD
    client = client_to(route.url)
    try:
        [answer] = execute_all(client, [_publishing(route, letter.fields)])
    except RedisError:
        return Outcome.REFUSED
    # The bridge may be connecting just now. A node of a cluster knows only who hears it there.
    if answer == 0 and not isinstance(client, ClusterClient):
        return Outcome.UNHEARD
    return Outcome.REDRIVEN


def _publishing(
    route: IncomingRoute, fields: Sequence[tuple[bytes, bytes]]
) -> tuple[str | bytes, ...]:
    if route.kind == "stream":
        return ("XADD", route.source, "*", *chain.from_iterable(fields))
    original = dict(fields)
    return ("PUBLISH", original[b"channel"], original[b"payload"])


def _ask(commands: Iterable[tuple[Any, ...]]) -> list[Any]:
    return execute_all(client_to(conf.REDIS_URL), commands)


def _stream(route_id: str) -> str:
    return key_of(route_id, "dead-letters")


def _reading(route_id: str, entry_id: str) -> tuple[str, ...]:
    return ("XRANGE", _stream(route_id), entry_id, entry_id)


def _end(route_id: str, before: Key | None) -> str:
    """Return where a route's letters begin, read backwards; of one moment, routes come in turn."""
    if before is None:
        return "+"
    return before.entry_id if route_id < before.route_id else f"({before.entry_id}"


def _letter(route_id: str, entry: list[Any]) -> Letter:
    """Return what :func:`command` has kept: of the pairs in an entry the first three are ours."""
    entry_id, flat = entry
    milliseconds, _, number = entry_id.decode().partition("-")
    (_, reason), (_, size), (_, count), *fields = zip(flat[::2], flat[1::2], strict=True)
    key = Key(int(milliseconds), int(number), route_id)
    return Letter(key, reason.decode(errors="replace"), fields, int(size), int(count))


def _size(fields: Iterable[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in fields)


def _cut(fields: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Return what is kept of fields."""
    left = MAX_BYTES
    for name, value in islice(fields, MAX_FIELDS):
        name = name[:left]
        value = value[: left - len(name)]
        left -= len(name) + len(value)
        yield name, value
        if not left:
            return


def _bytes(text: str | bytes) -> bytes:
    return text.encode(errors="replace") if isinstance(text, str) else text
