"""The audit of `make check`: what it fails for, and what it skips aloud."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOOD = {"name": "channels", "version": "4.3.2", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI"}
BAD = {
    "name": "django",
    "version": "1.0",
    "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}],
}
REFUSED = """Traceback (most recent call last):
  File "requests/adapters.py", line 723, in send
    raise ConnectionError(e, request=request)
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='packages.example', port=443)
"""
BLOCKED = """ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed
ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another service
"""


@pytest.fixture
def audit(project: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("audit", project / ".ci" / "audit.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_is_a_failure(audit: ModuleType) -> None:
    text, fine = audit.judge(report(GOOD, BAD, UNKNOWN), "Found 1 known vulnerability")
    assert not fine
    assert "django 1.0: CVE-1, fixed by 1.1" in text


def test_what_is_good_passes_and_what_was_not_looked_up_is_named(audit: ModuleType) -> None:
    assert audit.judge(report(GOOD), "") == (
        "audit: pip-audit knows nothing bad of 1 packages",
        True,
    )
    text, fine = audit.judge(report(GOOD, UNKNOWN), "")
    assert fine
    assert text.endswith("of 1 packages, and NOTHING of ours")


def test_what_python_brings_along_does_not_count(audit: ModuleType) -> None:
    assert audit.judge(report(GOOD, {**BAD, "name": "pip"}), "").fine


@pytest.mark.parametrize("errors", [REFUSED, BLOCKED])
def test_where_nobody_can_be_asked_it_is_skipped_aloud(audit: ModuleType, errors: str) -> None:
    text, fine = audit.judge("", errors)
    assert fine
    assert "PIP-AUDIT SKIPPED, no package was looked up: PyPI can't be asked" in text


def test_a_mirror_that_knows_no_vulnerabilities_does_not_pass_for_a_good_answer(
    audit: ModuleType,
) -> None:
    text, fine = audit.judge(report(UNKNOWN, UNKNOWN), "No known vulnerabilities found")
    assert fine
    assert "PIP-AUDIT SKIPPED" in text


def test_a_broken_audit_is_a_failure(audit: ModuleType) -> None:
    text, fine = audit.judge("", "ModuleNotFoundError: No module named 'pip_audit'")
    assert not fine
    assert "No module named" in text


@pytest.mark.parametrize(
    ("status", "packages", "expected"), [(0, [GOOD], 0), (1, [GOOD], 1), (0, [BAD], 1)]
)
def test_it_fails_if_either_finds_something(
    audit: ModuleType,
    status: int,
    packages: list[dict[str, Any]],
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        if module == "bandit":
            return subprocess.CompletedProcess([], status, "", "")
        return subprocess.CompletedProcess([], bool(packages), report(*packages), "")

    monkeypatch.setattr(audit, "run", run)
    assert audit.main() == expected


def test_every_exception_from_bandit_says_why(project: Path) -> None:
    for folder in ("realtime", "notifications", "gateway"):
        for path in (project / folder).rglob("*.py"):
            for line in path.read_text().splitlines():
                _, mark, rest = line.partition("# nosec")
                assert not mark or "#" in rest, f"{path.name}: {line.strip()}"
