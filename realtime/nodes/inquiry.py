"""Inquiry: ask nodes for what only they know, or let them do something, and gather the answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from realtime.hub.notices import tell

from .board import board

#: Where nodes are asked; no client can name it.
QUESTIONS: Final = "/system/questions"

#: Seconds that nodes have to answer.
PATIENCE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Answers:
    """
    The answers to a question.

    Args:
        by_node: What each node said, by its id.
        missing: Nodes that did not answer in time, or could not.
    """

    by_node: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return lists of this name in all answers as one, each row with its ``node``."""
        return [
            {**row, "node": node} for node, answer in self.by_node.items() for row in answer[name]
        ]

    def total(self, name: str) -> int:
        """Return the sum of numbers of this name in all answers."""
        return sum(answer[name] for answer in self.by_node.values())


def ask(
    question: str,
    *,
    nodes: Iterable[str] | None = None,
    seconds: float = PATIENCE_SECONDS,
    **arguments: Any,
) -> Answers:
    """
    Ask nodes one of the questions of :mod:`.answers`, from synchronous code.

    Args:
        nodes: The ids of those that are asked; None for all that live.
        arguments: Those of the question; JSON has to be able to say them.

    Raises:
        redis.RedisError: If Redis is away.
    """
    here = board()
    waiting = set(nodes) if nodes is not None else {report["id"] for report in here.reports()}
    answers = Answers()
    if not waiting:
        return answers
    id = uuid4().hex
    here.expect_answers(id)
    tell(QUESTIONS, {"id": id, "to": sorted(waiting), "question": question, "with": arguments})
    for node, answer in here.take_answers(id, time.monotonic() + seconds):
        waiting.discard(node)
        if answer is None:
            answers.missing.append(node)
        else:
            answers.by_node[node] = answer
        if not waiting:
            break
    answers.missing.extend(sorted(waiting))
    return answers
