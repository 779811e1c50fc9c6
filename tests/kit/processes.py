"""Our own processes for the end-to-end tests, started as the Procfile says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings
from honcho.environ import parse_procfile

from realtime.testing.processes import TIMEOUT, Process, Server, environment

__all__ = ["TIMEOUT", "Gateway", "Process", "environment", "manage", "procfile"]

PROJECT: Path = settings.BASE_DIR


def procfile(name: str) -> str:
    """Return the command of a process in the Procfile."""
    command: str = parse_procfile((PROJECT / "Procfile").read_text()).processes[name]
    return command


#: How a gateway may be started: as the Procfile says, or with another server.
SERVERS = {
    "daphne": procfile("web"),
    "uvicorn": "uvicorn --port $PORT --log-level warning --ws websockets-sansio"
    " --ws-per-message-deflate false --timeout-graceful-shutdown 5 gateway.asgi:application",
}
SERVER = os.environ.get("GATEWAY_SERVER", "daphne")


class Gateway(Server):
    """A gateway as the Procfile starts it, on a free port unless one is given."""

    def __init__(
        self, log: Path, *, port: int | None = None, cwd: Path | None = None, **variables: str
    ) -> None:
        super().__init__(SERVERS[SERVER], log, port=port, cwd=cwd, **variables)


def manage(*arguments: str, **variables: str) -> str:
    """Run ``manage.py`` and return what it printed."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
