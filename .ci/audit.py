#!/usr/bin/env python
"""
The audit: our code by bandit, and the installed packages by pip-audit.

It fails for what either of them finds. pip-audit asks PyPI; where PyPI can't be asked, as on a
machine without internet, that half is skipped, and a line says so.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

PROJECT: Final = Path(__file__).resolve().parent.parent
CODE: Final = ["realtime", "notifications", "gateway"]

#: What Python itself put into .venv, whatever its age: the gateway runs without them.
NOT_OURS: Final = {"pip", "setuptools"}

#: How pip-audit ends when it reaches nobody, or nobody who can answer: its last line of all.
_AWAY: Final = re.compile(
    r"requests\.exceptions\.|urllib3\.exceptions\.|ServiceError|your network may be blocking"
)


class Outcome(NamedTuple):
    """What to say, and whether all is well."""

    text: str
    fine: bool = True


def main() -> int:
    """Audit both, whatever becomes of the first; return the exit status."""
    outcomes = [audit_code(), audit_packages()]
    for outcome in outcomes:
        print(outcome.text, flush=True)
    return 0 if all(outcome.fine for outcome in outcomes) else 1


def audit_code() -> Outcome:
    """Look for what is unsafe in our code; pyproject.toml says what does not count, and why."""
    done = run("bandit", "-q", "-c", "pyproject.toml", "-r", *CODE)
    if done.returncode == 0:
        return Outcome(f"audit: bandit finds nothing in {', '.join(CODE)}")
    return Outcome(f"{done.stdout}{done.stderr}\naudit: BANDIT FINDS the above", fine=False)


def audit_packages() -> Outcome:
    """Look for known vulnerabilities of what is installed beside this Python."""
    done = run("pip_audit", "--local", "--format", "json", "--progress-spinner", "off")
    return judge(done.stdout, done.stderr)


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module with this Python."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def judge(report: str, errors: str) -> Outcome:
    """Say what a report of pip-audit means, or that there is none."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        return _without_report(errors)
    vulnerable = [each for each in packages if each.get("vulns") and each["name"] not in NOT_OURS]
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    if vulnerable:
        lines = [_line(package, found) for package in vulnerable for found in package["vulns"]]
        return Outcome("\n".join(["audit: PIP-AUDIT FINDS", *lines]), fine=False)
    if len(unknown) == len(packages):
        return _skipped(f"PyPI, as it is seen from here, knows none of {len(packages)} packages")
    text = f"audit: pip-audit knows nothing bad of {len(packages) - len(unknown)} packages"
    return Outcome(text + (f", and NOTHING of {', '.join(unknown)}" if unknown else ""))


def _without_report(errors: str) -> Outcome:
    last = errors.strip().rpartition("\n")[2]
    if _AWAY.search(last):
        return _skipped(f"PyPI can't be asked: {last[:200]}")
    return Outcome(f"{errors}\naudit: PIP-AUDIT FAILED", fine=False)


def _skipped(reason: str) -> Outcome:
    return Outcome(f"audit: PIP-AUDIT SKIPPED, no package was looked up: {reason}")


def _line(package: dict[str, Any], found: dict[str, Any]) -> str:
    fixed = ", ".join(found.get("fix_versions", [])) or "nothing yet"
    return f"  {package['name']} {package['version']}: {found['id']}, fixed by {fixed}"


if __name__ == "__main__":
    sys.exit(main())
