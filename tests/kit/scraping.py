"""Scrapes of ``/metrics``, as Prometheus makes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and not os.environ.get("REQUIRE_PROMTOOL"),
    reason="no promtool is installed (Debian has it in the package prometheus)",
)

#: By name and labels, as in ``gateway_sessions{kind="sse"}``.
Scrape = dict[str, float]


def scrape_text(port: int) -> str:
    """Return what a new connection is told, from whichever worker it reaches."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def scrape(port: int) -> Scrape:
    return parse(scrape_text(port))


def parse(text: str) -> Scrape:
    samples = [
        sample for family in text_string_to_metric_families(text) for sample in family.samples
    ]
    return {_key(sample.name, sample.labels): sample.value for sample in samples}


def _key(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


def run_promtool(*arguments: str | Path, text: str = "") -> str:
    """Return what promtool says; it has to be content."""
    assert PROMTOOL, "install promtool: on Debian and Ubuntu, apt install prometheus"
    done = subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
