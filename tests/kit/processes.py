"""Real processes for the end-to-end tests, started as the Procfile says."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Self

from django.conf import settings
from honcho.environ import parse_procfile

from tests.conftest import free_port

PROJECT: Path = settings.BASE_DIR
TIMEOUT = 30


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process under test, without what the caller's shell set."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **variables}


class Process:
    """A process whose output goes to a file, and which ends with the test."""

    def __init__(self, command: str, log: Path, *, cwd: Path = PROJECT, **variables: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                f"exec {command}",
                shell=True,
                cwd=cwd,
                env=environment(**variables),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """Ask the process to end and return its exit status."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise

    def wait_for_output(self, text: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while text not in self.output:
            assert self.popen.poll() is None, self.output
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            time.sleep(0.05)


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


class Gateway(Process):
    """A gateway as the Procfile starts it, on a free port unless one is given."""

    def __init__(
        self, log: Path, *, port: int | None = None, cwd: Path = PROJECT, **variables: str
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.stomp = f"ws://localhost:{self.port}/stomp"
        super().__init__(SERVERS[SERVER], log, cwd=cwd, PORT=str(self.port), **variables)
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert self.popen.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url, timeout=TIMEOUT).read()
                return
            time.sleep(0.1)


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
