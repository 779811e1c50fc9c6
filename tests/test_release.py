"""The version, where it is said, and what is newer than what is pinned."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

from realtime import __version__
from tests.kit.processes import PROJECT


def script(name: str) -> ModuleType:
    """Return a script of CI as a module."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / ".ci" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def release() -> ModuleType:
    return script("release")


@pytest.fixture
def outdated() -> ModuleType:
    return script("outdated")


def test_the_changelog_has_the_day_of_this_version(release: ModuleType, project: Path) -> None:
    code = (project / "realtime" / "__init__.py").read_text()
    assert release.version_of(code) == __version__
    changelog = (project / "CHANGELOG.md").read_text()
    assert date(2026, 1, 1) < release.date_of(__version__, changelog)


@pytest.mark.parametrize("changelog", ["", "## 1.0\n", "## 1x0 (2026-11-28)\n", "# 1.0 (soon)"])
def test_a_version_without_a_day_is_no_release(release: ModuleType, changelog: str) -> None:
    with pytest.raises(SystemExit, match="no section '## 1.0 "):
        release.date_of("1.0", changelog)


def test_the_gateway_says_its_version() -> None:
    command = [sys.executable, "-m", "gateway", "--version"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == f"stomp-gateway {__version__}\n"


@pytest.mark.parametrize(
    ("here", "anywhere", "said"),
    [
        ("5.2", "5.2", ""),
        (None, None, ""),
        ("5.3", "5.3", "django 5.2: 5.3\n"),
        ("5.2", "6.0", "django 5.2: 6.0 for a newer Python\n"),
        ("5.3", "6.0", "django 5.2: 5.3, 6.0 for a newer Python\n"),
    ],
)
def test_what_needs_a_newer_python_is_named_as_well(
    outdated: ModuleType, here: str | None, anywhere: str | None, said: str
) -> None:
    assert outdated.line("django", "5.2", here, anywhere) == said


def test_all_that_is_pinned_is_asked_for(outdated: ModuleType, project: Path) -> None:
    pins = dict(outdated.pins_of(project / "requirements-production.txt"))
    assert {"django", "daphne", "pyjwt", "redis"} <= set(pins)
    assert all(version[0].isdigit() for version in pins.values())
