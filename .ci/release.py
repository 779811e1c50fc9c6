#!/usr/bin/env python
"""
The release: sdist, wheel and a list of what the gateway runs on (SBOM, CycloneDX), in ``dist/``.

Nothing is uploaded. It fails where the changelog has no dated section for the version, or where
twine finds what an index would refuse.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
DIST: Final = PROJECT / "dist"


def main() -> int:
    """Make all files, and look at them; return the exit status."""
    version = version_of((PROJECT / "realtime" / "__init__.py").read_text())
    day = date_of(version, (PROJECT / "CHANGELOG.md").read_text())
    shutil.rmtree(DIST, ignore_errors=True)
    run("build", "--outdir", str(DIST))
    bill = DIST / f"stomp_gateway-{version}.cdx.json"
    wanted = str(PROJECT / "requirements-production.txt")
    run("cyclonedx_py", "requirements", wanted, "--output-file", str(bill))
    packages = sorted(path for path in DIST.iterdir() if path != bill)
    run("twine", "check", "--strict", *map(str, packages))
    print(f"release: {version} of {day:%Y-%m-%d}, in dist/")
    for path in [*packages, bill]:
        print(f"  {path.name}  {path.stat().st_size // 1024} KiB")
    return 0


def version_of(code: str) -> str:
    """Return the version that a module says; the only place where it stands."""
    [version] = re.findall(r'^__version__ = "(.+)"$', code, re.MULTILINE)
    return str(version)


def date_of(version: str, changelog: str) -> date:
    """Return the day of a version; end the program if the changelog has none."""
    day = re.search(rf"^## {re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)$", changelog, re.MULTILINE)
    if day is None:
        sys.exit(f"release: CHANGELOG.md has no section '## {version} (YEAR-MONTH-DAY)'")
    return date.fromisoformat(day[1])


def run(module: str, *arguments: str) -> None:
    """Run a module with this Python; end the program with all it said if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nrelease: {module} FAILED")


if __name__ == "__main__":
    sys.exit(main())
