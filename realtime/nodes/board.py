"""
Board: where nodes leave reports and answers, and whoever asks finds them.

It is in Redis, which forgets by its own clock: a report that is not renewed is gone after
:data:`REPORT_LIFE_SECONDS`, and its node with it. All of it is synchronous: views and commands ask,
and a node's own thread writes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, Protocol

from channels.layers import get_channel_layer

from realtime.layer.layer import TopicLayer
from realtime.redis.commands import ANSWER_SECONDS
from realtime.redis.connect import execute_all

#: Seconds that a report lives; it is renewed much more often.
REPORT_LIFE_SECONDS: Final = 10

#: Seconds that answers live which nobody takes.
ANSWER_LIFE_SECONDS: Final = 10

Report = dict[str, Any]


class Board(Protocol):
    """Reports by the ids of nodes, and answers by those of questions."""

    def put_report(self, node: str, report: Report) -> None:
        """Leave a node's report, in the place of its last one."""

    def remove_report(self, node: str) -> None:
        """Forget a node, which ends."""

    def reports(self) -> list[Report]:
        """Return the reports of all nodes that live."""

    def put_answer(self, question: str, answer: Any) -> None:
        """Leave an answer."""

    def expect_answers(self, question: str) -> None:
        """Keep the answers to a question that is about to be asked."""

    def take_answers(self, question: str, until: float) -> Iterator[Any]:
        """Return answers as they come, until then, in seconds of the monotonic clock."""


class RedisBoard:
    """
    The board of all nodes on one Redis; each raises :class:`redis.RedisError` if that is away.

    Its keys share one slot of a cluster.
    """

    def __init__(self, layer: TopicLayer) -> None:
        self._layer = layer
        self._tag = f"{{{layer.prefix}:nodes}}"
        self._client = layer.client(layer.shard_of(self._tag))

    def put_report(self, node: str, report: Report) -> None:
        data = self._layer.serialize(report)
        key = self._key("report", node)
        self._execute(
            ("SADD", self._key("known"), node),
            ("SET", key, data, "EX", REPORT_LIFE_SECONDS),
        )

    def remove_report(self, node: str) -> None:
        self._execute(("SREM", self._key("known"), node), ("DEL", self._key("report", node)))

    def reports(self) -> list[Report]:
        (known,) = self._execute(("SMEMBERS", self._key("known")))
        nodes = sorted(node.decode() for node in known)
        if not nodes:
            return []
        (found,) = self._execute(("MGET", *(self._key("report", node) for node in nodes)))
        dead = [node for node, data in zip(nodes, found, strict=True) if data is None]
        if dead:
            self._execute(("SREM", self._key("known"), *dead))
        return [self._layer.deserialize(data) for data in found if data is not None]

    def put_answer(self, question: str, answer: Any) -> None:
        key = self._key("answers", question)
        data = self._layer.serialize(answer)
        self._execute(("RPUSH", key, data), ("EXPIRE", key, ANSWER_LIFE_SECONDS))

    def expect_answers(self, question: str) -> None:
        """Do nothing: Redis keeps them."""

    def take_answers(self, question: str, until: float) -> Iterator[Any]:
        key = self._key("answers", question)
        while (seconds := until - time.monotonic()) > 0:
            # Less than a client waits for an answer of Redis.
            (found,) = self._execute(("BLPOP", key, f"{min(seconds, ANSWER_SECONDS / 2):.3f}"))
            if found is not None:
                yield self._layer.deserialize(found[1])

    def _key(self, *parts: str) -> str:
        return ":".join([self._tag, *parts])

    def _execute(self, *commands: tuple[Any, ...]) -> list[Any]:
        return execute_all(self._client, commands)


class LocalBoard:
    """The board of this process, where the channel layer is not in Redis: for development."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[float, Report]] = {}
        self._answers: dict[str, queue.SimpleQueue[Any]] = {}
        self._lock = threading.Lock()

    def put_report(self, node: str, report: Report) -> None:
        with self._lock:
            self._reports[node] = time.monotonic() + REPORT_LIFE_SECONDS, report

    def remove_report(self, node: str) -> None:
        with self._lock:
            self._reports.pop(node, None)

    def reports(self) -> list[Report]:
        with self._lock:
            now = time.monotonic()
            return [report for until, report in self._reports.values() if until > now]

    def put_answer(self, question: str, answer: Any) -> None:
        if (answers := self._answers.get(question)) is not None:  # or nobody waits any more
            answers.put(answer)

    def expect_answers(self, question: str) -> None:
        self._answers[question] = queue.SimpleQueue()

    def take_answers(self, question: str, until: float) -> Iterator[Any]:
        answers = self._answers[question]
        try:
            while (seconds := until - time.monotonic()) > 0:
                yield answers.get(timeout=seconds)
        except queue.Empty:
            return
        finally:
            del self._answers[question]


_local: Final = LocalBoard()


def board() -> Board:
    """Return the board of the channel layer."""
    layer = get_channel_layer()
    return RedisBoard(layer) if isinstance(layer, TopicLayer) else _local
