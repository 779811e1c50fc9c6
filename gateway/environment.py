"""Environment: what ``.env`` says, for all programs of this folder, where nothing else does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: The folder of the project.
FOLDER: Final = Path(__file__).resolve().parent.parent


def load_env() -> bool:
    """
    Take in ``.env``, if it is there, or the file that ``ENV_FILE`` names; return whether it was.

    It ends the program if that file is not there: what it says would be missed too late.
    """
    named = os.environ.get("ENV_FILE")
    path = Path(named or FOLDER / ".env")
    if not path.exists():
        return sys.exit(f"ENV_FILE is {named}: there is no such file") if named else False
    for name, value in read_env(path):
        os.environ.setdefault(name, value)
    return True


def read_env(path: Path) -> Iterator[tuple[str, str]]:
    """Return the names and values of a file of lines ``NAME=value``."""
    for line in path.read_text().splitlines():
        name, found, value = line.strip().removeprefix("export ").partition("=")
        if found and not name.startswith("#"):
            yield name.strip(), _unquoted(value.strip())


def _unquoted(value: str) -> str:
    """Return a value without the quotes around it, or the comment behind it."""
    if value[:1] in ("'", '"') and value[0] in value[1:]:
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].rstrip()
