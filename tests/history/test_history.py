"""The history of a destination as a process knows it, without Redis."""

from __future__ import annotations

import time

import pytest

from realtime.history.log import MAX_REPLAY, Log, Lost
from realtime.history.positions import Position, parse_ended
from realtime.routes.table import topic_options
from realtime.routes.topics import History


def log_of(*numbers: int, size: int = 1000, ttl: float = 60, **ended: int) -> Log:
    """A log of the epoch ``now`` with these messages; the first number says where it starts."""
    log = Log(Position("now", numbers[0] - 1), ended, size, ttl)
    for number in numbers:
        assert log.append(Position("now", number), number)
    return log


def reason(log: Log, epoch: str, offset: int) -> str:
    with pytest.raises(Lost) as lost:
        log.since(Position(epoch, offset))
    return lost.value.reason


@pytest.mark.parametrize(
    "text", ["", "7", "-7", "e-", "e-x", "e--", "e-1234567890123456789", "e-²"]
)
def test_what_is_no_position_is_none(text: str) -> None:
    assert Position.parse(text) is None


@pytest.mark.parametrize("position", [Position("e", 0), Position("a-b", 7), Position("e", 10**17)])
def test_a_position_is_written_and_read(position: Position) -> None:
    assert Position.parse(str(position)) == position


def test_all_after_a_position_is_there_or_nothing_is() -> None:
    log = log_of(*range(5, 11))
    assert log.since(Position("now", 10)) == []
    assert log.since(Position("now", 7)) == [8, 9, 10]
    assert log.since(Position("now", 4)) == list(range(5, 11))
    assert reason(log, "now", 3) == "expired"
    assert reason(log, "now", 11) == "epoch"
    assert reason(log, "other", 10) == "epoch"


def test_a_position_is_covered_even_if_its_messages_have_expired() -> None:
    log = log_of(*range(5, 11), before=7)
    covered = [Position("now", 10), Position("now", 0), Position("before", 7)]
    assert all(map(log.covers, covered))
    others = [Position("now", 11), Position("before", 8), Position("other", 0)]
    assert not any(map(log.covers, others))


def test_a_position_of_an_epoch_that_ended_counts_up_to_its_end() -> None:
    log = log_of(*range(5, 11), before=7)
    assert log.since(Position("before", 7)) == [8, 9, 10]
    assert reason(log, "before", 8) == "epoch"


def test_what_is_left_of_what_was_missed_is_what_is_certainly_new() -> None:
    log = log_of(*range(5, 11), before=7)
    assert log.left(Position("now", 2)) == list(range(5, 11))
    assert log.left(Position("now", 8)) == [9, 10]
    assert log.left(Position("before", 9)) == [8, 9, 10]
    assert log.left(Position("other", 9)) == []  # this may be an older copy
    assert log_of(*range(1, 4)).left(Position("other", 9)) == [1, 2, 3]  # all was lost


def test_an_epoch_counts_no_further_than_those_after_it() -> None:
    assert parse_ended(b"") == {}
    assert parse_ended(b"a:10 b:12") == {"a": 10, "b": 12}
    assert parse_ended(b"a:10 b:5 c:8") == {"a": 5, "b": 5, "c": 8}


def test_not_more_is_replayed_than_is_reasonable() -> None:
    log = log_of(*range(1, MAX_REPLAY + 2))
    assert len(log.since(Position("now", 1))) == MAX_REPLAY
    assert reason(log, "now", 0) == "limit"
    assert len(log.newest(10**9)) == MAX_REPLAY
    assert log.newest(2) == [MAX_REPLAY, MAX_REPLAY + 1]
    assert log.newest(0) == []


def test_a_log_keeps_no_more_than_its_size_and_nothing_for_longer_than_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = log_of(*range(1, 21), size=10, ttl=60)
    assert log.newest(100) == list(range(11, 21))
    assert reason(log, "now", 9) == "expired"
    now = time.monotonic()
    monkeypatch.setattr("realtime.history.log.time.monotonic", lambda: now + 61)
    assert log.newest(100) == []
    assert reason(log, "now", 19) == "expired"
    assert log.since(Position("now", 20)) == []  # quiet: nothing was missed


def test_what_is_not_next_is_not_appended() -> None:
    log = log_of(1, 2)
    assert not log.append(Position("now", 2), 2)
    assert not log.append(Position("now", 4), 4)
    assert not log.append(Position("other", 3), 3)
    assert log.append(Position("now", 3), 3)


def test_topics_have_a_history_unless_a_route_says_otherwise() -> None:
    default = topic_options("/topic/a").history
    assert default == History("/topic/**", size=100, ttl=300)
    assert topic_options("/user/alice/queue/a").history is None
    assert topic_options("/temp-queue/session/a").history is None
