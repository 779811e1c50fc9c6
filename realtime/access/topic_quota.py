"""
Topic quota: bound how many topics with a history an account makes anew in a minute.

Each costs memory in Redis for an hour or more. Call it before each publish of a client or over the
API, of a list for each message, when all else allows it::

    quota.check(session.account, destination)  # raises TooManyTopics

Where many come, look first whether ``hash(destination)`` is in ``quota.known``.

What counts is what this process has not published to lately: no other process, and not Redis, is
asked. So ``STOMP_NEW_TOPICS_PER_MINUTE`` is per process; after its start a process counts topics
that are there already, once each. What comes by a bridge is not for it.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from threading import Lock
from typing import Final

from realtime.conf import conf
from realtime.routes.table import topic_options
from realtime.stomp import TooMany

#: So many topics are known at most, as hashes: 8 MB.
MAX_KNOWN: Final = 100_000

#: Seconds for which a topic that nothing is published to stays known at least.
KNOWN_SECONDS: Final = 3600.0

MINUTE: Final = 60.0


class TooManyTopics(TooMany):
    """
    An account makes new topics faster than it may; nothing was published.

    Args:
        retry_after: In how many seconds it may again, at least 1.
    """

    def __init__(self, account: str, most: int, retry_after: int) -> None:
        super().__init__(
            f"{account or 'an anonymous client'} makes new topics faster than"
            f" {most} a minute: try again in {retry_after} s",
            code="too-many-topics",
            retry_after=retry_after,
        )


class TopicQuota:
    """
    The topics that a process knows, and how many new ones each account made in this minute.

    They are known in two generations, so that neither age nor use has to be written down: a topic
    of the older one moves to the younger when it is used.
    """

    def __init__(self) -> None:
        #: The hashes of topics that need no :meth:`check`; the set is another one now and then.
        self.known: set[int] = set()
        self._older: set[int] = set()
        self._known_until = 0.0
        self._made: Counter[str] = Counter()
        self._minute_until = 0.0
        self._lock = Lock()  # threads of the API, too

    def check(self, account: str, destination: str, *, most: int | None = None) -> None:
        """
        Return if an account may publish to a destination; from then on the topic is known.

        Args:
            account: Its name, or an address, for anonymous clients.
            most: How many in a minute, 0 for any number; None for STOMP_NEW_TOPICS_PER_MINUTE.

        Raises:
            TooManyTopics: If that would be one new topic too many in this minute.
        """
        topic = hash(destination)
        if topic not in self.known:
            most = conf.STOMP_NEW_TOPICS_PER_MINUTE if most is None else most
            self._check_unknown(account, destination, topic, most)

    def counts(self, destination: str, most: int) -> bool:
        """Return whether :meth:`check` would have to look how many new topics there were."""
        if most <= 0 or hash(destination) in self.known:
            return False
        return topic_options(destination).history is not None

    def _check_unknown(self, account: str, destination: str, topic: int, most: int) -> None:
        if most <= 0 or topic_options(destination).history is None:
            return
        with self._lock:
            now = time.monotonic()
            if topic not in self._older:
                self._count(account, most, now)
            self._remember(topic, now)

    def _count(self, account: str, most: int, now: float) -> None:
        if now >= self._minute_until:
            self._made.clear()
            self._minute_until = now + MINUTE
        if self._made[account] >= most:
            raise TooManyTopics(account, most, max(1, math.ceil(self._minute_until - now)))
        self._made[account] += 1

    def _remember(self, topic: int, now: float) -> None:
        if now >= self._known_until or len(self.known) >= MAX_KNOWN // 2:
            self._older, self.known = self.known, set()
            self._known_until = now + KNOWN_SECONDS
        self.known.add(topic)


#: That of this process.
quota: Final = TopicQuota()
