"""
Counters: what this process has done since it began, in plain numbers that cost next to nothing.

Whoever does something adds to them; reports of nodes and ``/metrics`` read them. Those of one event
loop need no lock; what threads do is counted with one.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final, Literal, TypeVar

T = TypeVar("T", bound=Hashable)

#: The ways in for messages: SEND, the API, a bridge, and Django code.
Door = Literal["send", "api", "bridge", "code"]

#: Seconds, the upper bounds of what is counted together.
BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

#: Of so many durations, the newest, it is known exactly how long they were.
RECENT: Final = 512


class Histogram:
    """Durations in seconds: how many were below each of :data:`BOUNDS`, and the newest of them."""

    def __init__(self) -> None:
        #: How many fell below each bound and above the one before; the last are above all.
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds
        self._recent.append((time.monotonic(), seconds))

    def quantiles(self, *shares: float, within: float = 60.0) -> list[float] | None:
        """Return how long these shares of the newest took at most; None where there are none."""
        since = time.monotonic() - within
        newest = sorted(seconds for at, seconds in tuple(self._recent) if at >= since)
        if not newest:
            return None
        return [newest[min(len(newest) - 1, int(len(newest) * share))] for share in shares]


class Counters:
    """Those of one process; each counts up from its start."""

    def __init__(self) -> None:
        #: For what threads add to.
        self.lock = threading.Lock()
        #: Sessions that began, those of server-sent events too.
        self.sessions = 0
        #: Sessions that ended with an error, by its code.
        self.ended: Counter[str] = Counter()
        #: Requests of clients, by the class of the event; heart-beats are none.
        self.requests: Counter[type[Any]] = Counter()
        self.bytes_in = 0
        #: Of the messages that were handed to clients' outboxes, as frames.
        self.bytes_out = 0
        #: Messages that were handed to Redis, by the way they came in; threads do so, too.
        self.published: Counter[Door] = Counter()
        #: Messages that were handed to a client's outbox, or to what stands before it.
        self.delivered = 0
        #: Messages that slow clients did not get, by the policy of their topics.
        self.dropped = 0
        #: How often a history was read because messages seemed to be missing here, and how often
        #: some were lost for good.
        self.gaps = 0
        self.lost = 0
        #: Subscriptions that went on after a message, by what came of it: "whole", or why not.
        self.resumes: Counter[str] = Counter()
        #: Lost connections to Redis that were replaced.
        self.reconnections = 0
        #: What was refused: by the rule that did, "none" where none covers it, and "unasked" where
        #: no rule had to be asked.
        self.refused: Counter[str] = Counter()
        #: What the audit log was told, by the first word of its line.
        self.audited: Counter[str] = Counter()
        #: Answers to HTTP requests, by their status.
        self.responses: Counter[int] = Counter()
        #: From the call that publishes until Redis has the message, and until this process has
        #: written it to its clients; of some messages each second.
        self.publish_seconds = Histogram()
        self.delivery_seconds = Histogram()
        #: By how much the event loop was late for the clock of the sessions.
        self.loop_seconds = Histogram()

    def add(self, counter: Counter[T], key: T, count: int = 1) -> None:
        """Count in one of these, in whatever thread."""
        with self.lock:
            counter[key] += count


class Sampler:
    """
    How long some messages take: the first that is published after each call of :meth:`arm`.

    A message is followed by its own id: another process may publish to the topic meanwhile.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        #: Whether the next message is one of them; read for each, so it is no more than this.
        self.armed = False
        #: When those were published of which nothing was heard yet, by their ids.
        self.expected: dict[Any, float] = {}

    def arm(self) -> None:
        """Follow the next message, and forget what does not come back."""
        self.armed = True
        before = time.perf_counter() - BOUNDS[-1]
        self.expected = {id: at for id, at in self.expected.items() if at > before}

    def begin(self, message_id: str) -> float:
        """Follow a message that is published now; return when that was."""
        self.armed = False
        now = self.expected[message_id] = time.perf_counter()
        return now

    def published(self, began: float) -> None:
        """Take note that Redis has what was published at that time."""
        self._counters.publish_seconds.observe(time.perf_counter() - began)

    def delivered(self, envelopes: Iterable[Mapping[str, Any]]) -> None:
        """Take note of what was delivered, among it perhaps what is expected."""
        for envelope in envelopes:
            headers = envelope.get("headers")
            id = headers.get("message-id") if isinstance(headers, dict) else None
            if (began := self.expected.pop(id, None)) is not None:
                self._counters.delivery_seconds.observe(time.perf_counter() - began)


#: Those of this process.
counters: Final = Counters()
sampler: Final = Sampler(counters)
