"""
Limits: how often clients may ask for something, and the log of those who ask for more, or while the
database is away.

A limit is a :class:`Bucket`: a client may take out what is in it at once, and then as much as flows
into it. Who takes out more is read more slowly where that is enough, and else refused.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Hashable
from threading import Lock
from typing import Any, Final, TypeGuard

from django.db import DataError, IntegrityError, ProgrammingError
from django.db import Error as DatabaseError

from realtime.conf import conf
from realtime.stomp import TooMany

from .addresses import is_trusted_proxy, neighbourhood

logger = logging.getLogger(__name__)

#: How often what is refused is logged, for each address and reason.
QUIET_SECONDS: Final = 60.0

#: Of so many addresses it is known when they were logged last.
MAX_NOTED: Final = 10_000

#: So many buckets are kept at most that are not full.
MAX_BUCKETS: Final = 50_000

#: How many seconds later than they could those are to come who were refused, at random: not all at
#: once.
AGAIN_SECONDS: Final = (5.0, 15.0)


class Bucket:
    """A bucket, kept as the time at which it will be full again."""

    __slots__ = ("full_at",)

    def __init__(self) -> None:
        self.full_at = 0.0

    def spend(self, amount: float, now: float, rate: float, burst: float) -> float:
        """
        Take out an amount, whether it is there or not.

        Args:
            rate: How much flows in, in a second.
            burst: How much fits in.

        Returns:
            In how many seconds nothing is missing any more.
        """
        self.full_at = max(self.full_at, now) + amount / rate
        return max(0.0, self.full_at - now - burst / rate)


class Buckets:
    """A bucket for each key; threads may share them."""

    def __init__(self) -> None:
        self._full_at: dict[Hashable, float] = {}
        self._lock = Lock()

    def take(self, key: Hashable, rate: float, burst: float) -> float:
        """Take one out, if it is there; return in how many seconds it will be, 0 if it was."""
        with self._lock:
            now = time.monotonic()
            full_at = max(self._full_at.get(key, 0.0), now) + 1 / rate
            missing = full_at - now - burst / rate
            if missing > 1e-9:  # what floating point loses is nobody's fault
                return missing
            if len(self._full_at) >= MAX_BUCKETS:
                self._forget(now)
            self._full_at[key] = full_at
            return 0.0

    def _forget(self, now: float) -> None:
        """Forget those that are full; if there are hardly any, all."""
        kept = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._full_at = kept if len(kept) < MAX_BUCKETS * 0.9 else {}


class Refusals:
    """What was refused: a count for each reason, and a line a minute for each address too."""

    def __init__(self) -> None:
        #: How often, by reason.
        self.counts: Counter[str] = Counter()
        self._noted: dict[tuple[str, str], tuple[float, int]] = {}

    def note(self, reason: str, client: Any, text: str, verb: str = "refused") -> None:
        """Log what a client was refused, unless it was a moment ago; ``client`` is the scope's."""
        self.counts[reason] += 1
        now = time.monotonic()
        address = client[0] if client else "somebody"
        key = reason, neighbourhood(address)
        until, unsaid = self._noted.get(key, (0.0, 0))
        if now < until:
            self._noted[key] = until, unsaid + 1
            return
        if len(self._noted) >= MAX_NOTED:
            self._noted.clear()
        self._noted[key] = now + QUIET_SECONDS, 0
        more = f"; {unsaid} more since the last line" if unsaid else ""
        logger.warning(
            "%(verb)s %(address)s (%(reason)s): %(text)s",
            {"verb": verb, "address": address, "reason": reason, "text": text + more},
        )


#: Those of this process.
refusals: Final = Refusals()


def is_outage(error: BaseException) -> TypeGuard[DatabaseError]:
    """Return whether an error is the database's: not that of what it was told to keep."""
    return isinstance(error, DatabaseError) and not isinstance(error, IntegrityError | DataError)


class Outage:
    """
    Whether the database is away, as far as this process knows, which any thread may say.

    The log says so once when it begins, and once when it is over. What the database said is not
    repeated: it may have values of a query in it.
    """

    def __init__(self) -> None:
        #: With what the database failed, "" while it answers.
        self.reason = ""
        self._lock = Lock()

    def refuse(self, error: Exception) -> None:
        """Count somebody who was refused because the database failed."""
        refusals.counts["database-away"] += 1
        self.begin(error)

    def begin(self, error: Exception) -> None:
        """Take note that the database failed."""
        with self._lock:
            begins, self.reason = not self.reason, _why(error)
        if begins:
            logger.warning("the database is away: %(reason)s", {"reason": self.reason})

    def end(self) -> None:
        """Take note that the database answered."""
        with self._lock:
            ends, self.reason = bool(self.reason), ""
        if ends:
            logger.warning("the database is back")


def _why(error: Exception) -> str:
    """Return with what the database failed; what a release needs may not be there yet."""
    name = type(error).__name__
    if isinstance(error, ProgrammingError) or str(error).startswith("no such "):
        return f"{name}: it lacks a table or a column; run manage.py migrate"
    return name


#: That of this process.
outage: Final = Outage()

_connects: Final = Buckets()


def check_connect(address: str) -> None:
    """
    Count an attempt to log in, at whatever door of those who stay.

    Raises:
        TooMany: If that is one too many of an address.
    """
    most = conf.STOMP_CONNECTS_PER_MINUTE
    if most <= 0 or not address or is_trusted_proxy(address):
        return
    if seconds := _connects.take(neighbourhood(address), most / 60, most):
        text = f"more than {most} CONNECTs a minute from this address"
        refusals.note("too-many-connects", (address,), text)
        raise TooMany(text, code="too-many-connects", retry_after=again_in(seconds))


def again_in(seconds: float) -> float:
    """Return after how many seconds somebody may come again, who is one of many."""
    return seconds + random.uniform(*AGAIN_SECONDS)
