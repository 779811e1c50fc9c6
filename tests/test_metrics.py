"""What a process tells Prometheus; documents, rules and dashboard know the same metrics."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from gateway.metrics import registry
from realtime.counters import BOUNDS, counters
from realtime.metrics import COUNTERS, GAUGES, HISTOGRAMS
from tests.kit.scraping import Scrape, needs_promtool, parse, run_promtool

#: What each kind of metric adds to its name.
SUFFIXES = {
    "counter": ["_total"],
    "gauge": [""],
    "histogram": ["_bucket", "_sum", "_count"],
    "info": ["_info"],
}
METRIC = re.compile(r"\b(?:gateway|bridge|process)_[a-z_]+\b")


def told() -> Scrape:
    return parse(generate_latest(registry).decode())


@pytest.fixture(scope="module")
def exported() -> dict[str, list[str]]:
    """The metrics that there are: their names, and those of their samples."""
    return {
        family.name: [family.name + suffix for suffix in SUFFIXES[family.type]]
        for family in registry.collect()
    }


def test_counters_are_told_as_they_stand() -> None:
    before = told()
    counters.delivered += 3
    counters.add(counters.published, "api", 2)
    counters.add(counters.refused, 'allow("/topic/a")')
    after = told()
    grown = {name: after[name] - before.get(name, 0) for name in after if name in before}
    assert grown["gateway_delivered_messages_total"] == 3
    assert grown['gateway_published_messages_total{door="api"}'] == 2
    assert after['gateway_refused_by_rule_total{rule="allow("/topic/a")"}'] >= 1


def test_buckets_of_a_histogram_count_all_that_took_no_longer() -> None:
    before = told()
    for seconds in (BOUNDS[0], 0.004, 0.004, BOUNDS[-1] * 2):
        counters.publish_seconds.observe(seconds)
    after = told()

    def grown(name: str) -> float:
        return after[f"gateway_publish_seconds{name}"] - before[f"gateway_publish_seconds{name}"]

    assert grown('_bucket{le="0.0005"}') == 1
    assert grown('_bucket{le="0.0025"}') == 1
    assert grown('_bucket{le="0.005"}') == 3
    assert grown('_bucket{le="10.0"}') == 3
    assert grown('_bucket{le="+Inf"}') == grown("_count") == 4
    assert grown("_sum") == pytest.approx(BOUNDS[0] + 0.008 + BOUNDS[-1] * 2)


def test_no_two_metrics_have_one_name_and_all_say_what_they_are() -> None:
    metrics = [*COUNTERS, *GAUGES, *HISTOGRAMS]
    assert max(Counter(each.name for each in metrics).values()) == 1
    for each in metrics:
        assert re.fullmatch(r"gateway_[a-z_]+", each.name)
        assert each.text
        assert each.label not in ("user", "topic", "address", "session")


def test_operations_tells_of_each_metric_and_of_no_other(
    project: Path, exported: dict[str, list[str]]
) -> None:
    text = (project / "docs" / "operations.md").read_text().partition("\n## Metrics")[2]
    documented = set(METRIC.findall(text.partition("\n## ")[0]))
    histograms = {each.name for each in HISTOGRAMS}
    named = {name for name, samples in exported.items() if name in histograms}
    named |= {samples[0] for name, samples in exported.items() if name not in histograms}
    assert documented == named


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(
    project: Path, exported: dict[str, list[str]]
) -> None:
    samples = {name for names in exported.values() for name in names}
    rules = (project / "deploy" / "prometheus" / "alerts.yml").read_text()
    asked = set(METRIC.findall(" ".join(re.findall(r"expr: (?:>-\s+)?((?:.+\n)+?) *\w+:", rules))))
    assert len(asked) > 15
    assert asked <= samples
    dashboard = json.loads((project / "deploy" / "grafana" / "gateway.json").read_text())
    questions = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    shown = {name for question in questions for name in METRIC.findall(question)}
    assert len(shown) > 25
    assert shown <= samples


def test_the_dashboard_can_be_imported_into_any_grafana(project: Path) -> None:
    dashboard = json.loads((project / "deploy" / "grafana" / "gateway.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    sources = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "targets" in panel}
    assert sources == {"${datasource}"}
    assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource", "instance"]


@needs_promtool
def test_prometheus_takes_the_metrics() -> None:
    assert run_promtool("check", "metrics", text=generate_latest(registry).decode()) == ""


@needs_promtool
def test_prometheus_takes_the_rules_and_they_fire_when_they_should(project: Path) -> None:
    folder = project / "deploy" / "prometheus"
    assert "SUCCESS" in run_promtool("check", "rules", folder / "alerts.yml")
    assert "SUCCESS" in run_promtool("test", "rules", folder / "alerts_test.yml")
