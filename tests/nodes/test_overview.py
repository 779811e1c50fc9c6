"""The overview: sums over nodes, and what is wrong, in words."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.nodes import overview as module
from realtime.nodes.overview import overview


def report(**different: Any) -> dict[str, Any]:
    rates = ("messages_in", "published", "delivered", "dropped", "bytes_in", "bytes_out")
    return {
        "id": "a", "version": "1", "sessions": 2, "subscriptions": 3, "topics": 1, "slow": 0,
        "waiting_bytes": 0, "per_second": dict.fromkeys(rates, 1.5) | {"dropped": 0.0},
        "publish_ms": [1.0, 2.0], "delivery_ms": None, "loop_ms": 1.0, "redis_ms": 1.0,
        "memory_bytes": 1, "processor": 0.25, **different,
    }  # fmt: skip


def of(monkeypatch: pytest.MonkeyPatch, *reports: dict[str, Any]) -> dict[str, Any]:
    class Board:
        def reports(self) -> list[dict[str, Any]]:
            return list(reports)

    monkeypatch.setattr(module, "board", Board)
    return overview()


def test_what_nodes_have_is_summed_and_the_worst_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    slower = report(id="b", publish_ms=[0.5, 9.0], loop_ms=7.0, redis_ms=None)
    content = of(monkeypatch, report(), slower)
    assert (content["sums"]["sessions"], content["sums"]["processor"]) == (4, 0.5)
    assert content["per_second"]["published"] == 3.0
    assert content["worst"] == {
        "publish_ms": [0.5, 9.0], "delivery_ms": None, "loop_ms": 7.0, "redis_ms": 1.0,
    }  # fmt: skip
    assert content["problems"] == []


@pytest.mark.parametrize(
    ("different", "problem"),
    [
        ({"loop_ms": 200.0}, "a: its event loop was late by 200 ms; look for handlers that block"),
        ({"redis_ms": 100.0}, "a: Redis took 100 ms to answer"),
        ({"processor": 0.9}, "a: it uses 90 % of a processor; start another worker"),
        ({"slow": 1}, "a: 1 session reads more slowly than messages come"),
        ({"slow": 2}, "a: 2 sessions read more slowly than messages come"),
        ({"waiting_bytes": 64 * 1024 * 1024}, "a: 64 MiB wait for its clients"),
        ({"per_second": {"dropped": 3.0}}, "a: 3 messages a second are dropped for slow clients"),
    ],
)
def test_a_problem_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, different: dict[str, Any], problem: str
) -> None:
    assert of(monkeypatch, report(**different))["problems"] == [problem]


@pytest.mark.parametrize(
    "different", [{"loop_ms": 199.9}, {"redis_ms": 99.9}, {"processor": 0.89}, {"loop_ms": None}]
)
def test_below_its_bound_nothing_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, different: dict[str, Any]
) -> None:
    assert of(monkeypatch, report(**different))["problems"] == []


def test_no_node_and_mixed_releases_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of(monkeypatch)["problems"] == [
        "no node reports: none is running, or none reaches Redis"
    ]
    mixed = of(monkeypatch, report(), report(version="2"))
    assert mixed["problems"] == ["nodes of several releases run together: 1, 2"]
