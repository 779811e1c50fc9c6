"""Requests that fit the API's schema, and such that do not, are never answered with a 5xx."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.e2e.attack.site import Site
from tests.kit.processes import environment

#: For each operation and phase; `make fuzz` sets more.
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "40")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("schema")) as site:
        yield site


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenAPI document, as the command writes it."""
    path = tmp_path_factory.mktemp("document") / "openapi.yaml"
    call_command("spectacular", file=str(path))
    return path


@pytest.mark.parametrize("logged_in", [True, False], ids=["a publisher", "nobody"])
def test_no_request_is_answered_with_a_5xx(
    site: Site, document: Path, tmp_path: Path, logged_in: bool
) -> None:
    headers = [f"{name}: {value}" for name, value in site.honest.items()] if logged_in else []
    # A process of its own: its warnings are not ours.
    run = subprocess.run(
        [
            "st",
            "run",
            str(document),
            "--exclude-path",
            "/api/events",
            "--url",
            site.gateway.url,
            "--max-examples",
            EXAMPLES,
        ]
        + ["--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"]
        + ["--suppress-health-check", "all", "--warnings", "off", "--no-color"]
        + [part for header in headers for part in ("--header", header)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
