"""RESULTS.md: what was measured again takes the place of what was there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.workloads import BRIDGE, DAPHNE, GOALS

TITLES = ("Redis channel to topic", "POST a list")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    tables = dict.fromkeys(TITLES, "a table")
    measured = {"redis": {BRIDGE: {"rate": 30_000.0}}, "post-list": {DAPHNE: {"rate": 19_999.0}}}
    report.write("a machine", tables, measured, "the decoder")
    return report.RESULTS


def goal(results: Path, text: str) -> list[str]:
    (line,) = [line for line in results.read_text().splitlines() if line.startswith(f"{text}  ")]
    return line.split()[-2:]


def test_one_table_and_its_goals_are_replaced_and_the_others_stay(results: Path) -> None:
    assert goal(results, "Redis channel to topic") == ["30,000/s", "ok"]
    assert goal(results, "POST a list of 100")[-1] == "missed"
    measured = {"post-list": {DAPHNE: {"rate": 20_000.0}}}
    report.update({"POST a list": "another table"}, measured, rounds=5, seconds=2)
    text = results.read_text()
    assert (text.count("```\na table\n```"), text.count("```\nanother table\n```")) == (1, 1)
    assert text.count("Measured again on") == 1
    assert goal(results, "POST a list of 100")[-1] == "ok"
    assert goal(results, "Redis channel to topic") == ["30,000/s", "ok"]
    report.update({"POST a list": "a third table"}, measured, rounds=5, seconds=2)
    text = results.read_text()
    assert "another table" not in text
    assert text.count("Measured again on") == 1
    assert all(f"\n{each.text}  " in text for each in GOALS)


def test_a_table_that_is_not_there_is_an_error(results: Path) -> None:
    with pytest.raises(ValueError, match="measure everything once"):
        report.update({"Something new": "a table"}, {}, rounds=5, seconds=2)
