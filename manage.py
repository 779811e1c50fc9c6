#!/usr/bin/env python3
"""
Django's commands for this folder, with what ``make`` has made and knows.

Where no virtual environment is active, that of ``make``, ``.venv``, is used. What the environment
does not say is as in ``.env`` (``ENV_FILE`` names another); where neither says anything of
production, it is for development, as with ``make``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PYTHON = FOLDER / ".venv" / "bin" / "python"

#: Who says one of these may mean production.
SAID = {
    "ALLOWED_HOSTS", "DATABASE_URL", "DATABASE_URL_FILE", "DEBUG", "ENV_FILE", "HTTPS",
    "SECRET_KEY", "SECRET_KEY_FILE", "TRUSTED_PROXIES",
}  # fmt: skip


def main() -> None:
    """Run the command that the arguments name."""
    if sys.prefix == sys.base_prefix and PYTHON.exists():
        os.execv(PYTHON, [str(PYTHON), *sys.argv])
    sys.path.insert(0, str(FOLDER))  # where Python is told to leave it out
    from gateway.environment import load_env

    is_of_make = Path(sys.prefix) == PYTHON.parent.parent.absolute()
    if not load_env() and is_of_make and not SAID & {*os.environ}:
        print("manage.py: nothing says otherwise: DEBUG=1, for development", file=sys.stderr)
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


if __name__ == "__main__":
    main()
