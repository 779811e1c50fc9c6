"""
Settings of a live gateway: the project's, but for those that the test's process has changed.

``DJANGO_SETTINGS_MODULE`` of the process that :class:`.Gateway` starts.
"""

from __future__ import annotations

import json
import os
from importlib import import_module
from typing import Any, Final

#: The variables of the environment with the name of the project's module, with what is set
#: otherwise, and with the names of the databases, as JSON.
PROJECT: Final = "REALTIME_TESTING_SETTINGS"
CHANGED: Final = "REALTIME_TESTING_CHANGED"
DATABASE_NAMES: Final = "REALTIME_TESTING_DATABASES"


def _settings() -> dict[str, Any]:
    """Return all of them; none where there is no such gateway."""
    if PROJECT not in os.environ:
        return {}
    project = import_module(os.environ[PROJECT])
    found = {name: getattr(project, name) for name in dir(project) if name.isupper()}
    found |= json.loads(os.environ[CHANGED])
    for alias, name in json.loads(os.environ[DATABASE_NAMES]).items():
        found["DATABASES"][alias]["NAME"] = name
    return found


globals().update(_settings())
