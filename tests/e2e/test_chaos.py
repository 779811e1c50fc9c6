"""Whatever comes and goes, nobody loses a message in silence."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from realtime.history.positions import Position
from tests.e2e.chaos.model import Kind, Step, Topic
from tests.e2e.chaos.run import run

SECONDS = 45

#: Redis may be made to lose everything at once, when few have come back from anything else yet.
TRUE_SHARE = 0.4


async def test_every_client_has_every_message_once_or_was_told_where_and_only_where_it_is_due(
    tmp_path: Path,
) -> None:
    print(await run(tmp_path, SECONDS, random.getrandbits(32), TRUE_SHARE))


@pytest.mark.parametrize(
    ("kind", "before", "after", "good"),
    [
        ("message", "a-3", "a-4", True),
        ("message", "a-3", "a-5", False),  # a gap
        ("message", "a-3", "a-3", False),  # a repeat
        ("message", "a-10", "b-11", True),  # all was kept
        ("message", "a-11", "b-12", False),  # not all was kept
        ("message", "b-12", "c-13", False),  # c comes from a copy that does not know b
        ("resumed", "a-7", "c-7", True),
        ("resumed", "a-8", "c-8", False),
        ("resumed", "a-7", "d-7", False),  # d began with nothing
        ("refused", "a-8", "c-9", True),
        ("refused", "a-7", "c-9", False),
        ("refused", "a-7", "c-308", True),  # too many were missed
        ("refused", "b-9", "a-9", False),  # by who does not know b yet
        ("refused", "a-7", "d-7", True),
        ("lost", "a-9", "c-9", True),
        ("lost", "a-7", "c-7", False),
        ("lost", "a-10", "e-10", True),  # it may have been at b-10 by then
        ("refused", "a-10", "e-10", False),
        ("untold", "a-8", "e-8", True),  # it may have been refused in c
    ],
)
def test_the_model_knows_what_is_due(kind: Kind, before: str, after: str, good: bool) -> None:
    topic = Topic("/topic/a")
    for epoch, parent in (("a", None), ("b", "a-10"), ("c", "a-7"), ("d", None), ("e", "a-10")):
        topic.parents[epoch] = None if parent is None else Position.parse(parent)
    start, end = Position.parse(before), Position.parse(after)
    assert start is not None and end is not None
    assert (topic.fault(Step(kind, start, end, "", "a test", 0.0)) is None) == good


def test_the_model_knows_that_a_place_holds_one_message_whatever_its_epoch() -> None:
    topic = Topic("/topic/a")
    topic.found(Position("a", 1), {"a-1": 7}, "Redis")
    topic.found(Position("b", 2), {"b-1": 7, "b-2": 8}, "Redis")
    topic.acknowledged = {7, 8}
    assert list(topic.faults()) == []
    topic.holds("b-2", 9, "somebody")
    topic.holds("a-2", 9, "somebody")  # beyond the end of a: another place
    topic.holds("b-1", 7, "somebody")
    assert len(list(topic.faults())) == 1
    topic.acknowledged = {7, 8, 10}
    assert len(list(topic.faults())) == 2
