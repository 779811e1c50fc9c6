#!/usr/bin/env python
"""
Outdated: pinned packages of which there are newer versions, also those for a newer Python only.

``pip list --outdated`` says nothing of the latter: with Python 3.11 it would never name Django 6.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
#: How many packages are asked for at once.
AT_ONCE: Final = 8


def main() -> int:
    """Print what is newer; return 1 if some could not be asked for."""
    pins = dict(sorted(pin for file in PROJECT.glob("requirements*.txt") for pin in pins_of(file)))
    print(f"outdated: asking for {len(pins)} packages", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(newest, name, *how) for name in pins for how in ((), (ANY_PYTHON,))]
        answers = [each.result() for each in asked]
    unknown = []
    for (name, pinned), here, anywhere in zip(
        pins.items(), answers[::2], answers[1::2], strict=True
    ):
        print(line(name, pinned, here, anywhere), end="")
        unknown += [name] if anywhere is None else []
    if unknown:
        print(f"outdated: nothing is known of {', '.join(unknown)}: does pip reach an index?")
    return 1 if unknown else 0


ANY_PYTHON: Final = "--ignore-requires-python"


def pins_of(file: Path) -> list[tuple[str, str]]:
    """Return the names and versions that a file pins."""
    pins = re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", file.read_text(), re.MULTILINE)
    return [(name.lower(), version) for name, version in pins]


def newest(name: str, *how: str) -> str | None:
    """Return the newest version of a package, for this Python unless told otherwise."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "index", "versions"]
    done = subprocess.run([*command, *how, name], capture_output=True, text=True)
    found = re.match(rf"{re.escape(name)} \((.+)\)", done.stdout, re.IGNORECASE)
    return found[1] if found else None


def line(name: str, pinned: str, here: str | None, anywhere: str | None) -> str:
    """Return what to say of a package, which is nothing if it is the newest."""
    if anywhere in (None, pinned):
        return ""
    newer = f"{here}" if here not in (None, pinned) else ""
    if anywhere != here:
        newer += f"{', ' if newer else ''}{anywhere} for a newer Python"
    return f"{name} {pinned}: {newer}\n"


if __name__ == "__main__":
    sys.exit(main())
