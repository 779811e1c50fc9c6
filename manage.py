#!/usr/bin/env python3
"""
Django's commands for this folder, with what ``make`` has made and knows.

Where no virtual environment is active, that of ``make``, ``.venv``, is used. What the environment
does not say is as in ``.env`` (``ENV_FILE`` names another); and with neither of them, as with
``make``, it is for development.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PYTHON = FOLDER / ".venv" / "bin" / "python"


def main() -> None:
    """Run the command that the arguments name."""
    if sys.prefix == sys.base_prefix and PYTHON.exists():
        os.execv(PYTHON, [str(PYTHON), *sys.argv])
    for name, value in read_env(Path(os.environ.get("ENV_FILE") or FOLDER / ".env")):
        os.environ.setdefault(name, value)
    if Path(sys.prefix) == PYTHON.parent.parent.absolute() and not {
        "DEBUG", "SECRET_KEY", "SECRET_KEY_FILE"
    } & {name for name, value in os.environ.items() if value}:  # fmt: skip
        os.environ["DEBUG"] = "1"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("manage.py: Django is not installed here; `make run` installs what is needed")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")


def read_env(path: Path) -> Iterator[tuple[str, str]]:
    """Return the names and values of a file of lines ``NAME=value``; none if it is not there."""
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        name, found, value = line.strip().removeprefix("export ").partition("=")
        if found and not name.startswith("#"):
            yield name.strip(), unquoted(value.strip())


def unquoted(value: str) -> str:
    """Return a value without the quotes around it, or the comment behind it."""
    if value[:1] in ("'", '"') and value[0] in value[1:]:
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].rstrip()


if __name__ == "__main__":
    main()
