"""RESULTS.md: all of it is from one run, and it says of what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import report
from benchmarks.workloads import (
    BRIDGE,
    CENTRIFUGO_MEMORY,
    CENTRIFUGO_REDIS,
    DAPHNE,
    GOALS,
    SPRING,
    UVICORN,
    WORKLOADS,
)

TITLES = ("Redis channel to topic", "POST a list")
LIST = WORKLOADS["post-list"]
ROW: dict[str, Any] = {
    "rate": 20_000.0,
    "us": 40.0,
    "share of server": 0.98,
    "share of load": 0.3,
    "others, server's core": 0.01,
    "others, load's core": 0.01,
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    return report.RESULTS


def goal(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name}  ")]
    return line.split()[-2:]


def test_results_are_written_whole_with_tables_and_goals(results: Path) -> None:
    results.write_text("of another day")
    measured = {"redis": {BRIDGE: {"rate": 30_000.0}}, "post-list": {DAPHNE: {"rate": 19_999.0}}}
    report.write("a machine", dict.fromkeys(TITLES, "a table"), measured, "the decoder")
    text = results.read_text()
    assert "of another day" not in text
    assert text.count("```\na table\n```") == len(TITLES)
    assert goal(text, "Redis channel to topic") == ["30,000/s", "ok"]
    assert goal(text, "POST a list of 100")[-1] == "missed"
    assert all(f"\n{each.text}  " in text for each in GOALS)


def test_they_say_the_day_the_commit_and_what_was_measured() -> None:
    machine = report.machine(rounds=5, seconds=3)
    assert re.match(r"\d{4}-\d\d-\d\d, commit ([0-9a-f]{12}|unknown)", machine)
    assert re.search(r"Centrifugo v6\.\d+\.\d+, Spring Boot 3\.5\.\d+;\n", machine)


def test_a_table_says_in_a_line_which_servers_are_missing_and_what_to_do() -> None:
    both = (CENTRIFUGO_REDIS, CENTRIFUGO_MEMORY)
    missing = {**dict.fromkeys(both, "install Go"), SPRING: "install Maven", UVICORN: "no"}
    table = report.table(LIST, {DAPHNE: ROW}, missing)
    *_, row, line = table.splitlines()
    assert row.split()[:3] == ["gateway,", "daphne", "20,000"]
    assert line == f"Left out: {', '.join(both)} (install Go); {SPRING} (install Maven)."
    assert "Left out" not in report.table(LIST, {DAPHNE: ROW}, {})


def test_what_a_server_does_not_say_is_an_empty_cell() -> None:
    latency = WORKLOADS["latency"]
    row = {**ROW, **dict.fromkeys(latency.extra, 7.0)}
    silent = {name: value for name, value in row.items() if name != "longest_block"}
    table = report.table(latency, {DAPHNE: row, SPRING: silent}, {})
    head, ours, others = table.splitlines()
    end = head.index("longest block") + len("longest block")
    assert ours[:end].endswith("  7.00 ms         7.0 ms")
    assert others[:end].endswith(f"  7.00 ms  {'':13}")


def test_a_goal_beside_a_peer_that_is_left_out_or_failed_is_not_measured() -> None:
    name = "latency, p99, of Centrifugo Redis's"
    ours = {DAPHNE: {"p99": 4.0, "longest_block": 10.1}}
    for peer in ({}, {CENTRIFUGO_REDIS: {"failed": "lost"}}):
        text = report.goals({"latency": {**ours, **peer}})
        assert goal(text, name) == ["measured", "-"]
        assert goal(text, "latency, longest block") == ["ms", "missed"]
    text = report.goals({"latency": {**ours, CENTRIFUGO_REDIS: {"p99": 4.0}}})
    assert goal(text, name) == ["x", "ok"]


def test_one_table_is_never_written_beside_others_of_another_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--write", "--only", "fan-out"])
    with pytest.raises(SystemExit):
        command.parse_options()
    assert "leave out --only" in capsys.readouterr().err


def test_options_say_what_is_measured_and_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def options(*arguments: str) -> Any:
        monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
        return command.parse_options()

    quick = options("--quick", "--only", "fan-out", "post")
    assert (quick.rounds, quick.seconds, quick.only) == (1, 1.5, ["fan-out", "post"])
    given = options("--rounds", "2", "--seconds", "0.5", "--write")
    assert (given.rounds, given.seconds, given.write) == (2, 0.5, True)
    assert set(WORKLOADS) < set(given.only)
