"""Processes of a test: they end with it, and what they say can be read."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Self

from django.conf import settings

#: Seconds after which a test that waits for a process gives up.
TIMEOUT: Final = 30


#: Below those that connections are made from, which would take one at any time; each process of
#: tests begins somewhere else.
_PORTS: Final = itertools.cycle(range(10_000, 30_000))
for _ in range(random.SystemRandom().randrange(20_000)):
    next(_PORTS)


def free_port() -> int:
    """Return a port on which nobody listens, another one each time."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is always one")


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process: that of the test, and what is in its virtualenv."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **variables}


class Process:
    """
    A process which ends with the block.

    Args:
        command: A line for the shell.
        log: The file for its output.
        cwd: Its folder; that of the project without.
        variables: Of its environment.
    """

    def __init__(
        self, command: str, log: Path, *, cwd: Path | None = None, **variables: str
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                f"exec {command}",
                shell=True,
                cwd=cwd or getattr(settings, "BASE_DIR", None),
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
        """What it has said."""
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
        """Return when it has said something."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.output:
            assert self.popen.poll() is None, self.output
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            time.sleep(0.05)


class Server(Process):
    """
    A process that serves HTTP, once it does.

    Args:
        command: A line for the shell, with ``$PORT``.
        log: The file for its output.
        port: Where; a free one without.
        variables: Of its environment, and its folder.
    """

    def __init__(
        self, command: str, log: Path, *, port: int | None = None, **variables: Any
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.stomp = f"ws://localhost:{self.port}/stomp"
        super().__init__(command, log, **{**variables, "PORT": str(self.port)})
        try:
            self.wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def wait_until_it_answers(self) -> None:
        """Return when it answers, whatever it says."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert self.popen.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            with suppress(OSError, HTTPException), closing(self._open()) as connection:
                connection.request("GET", "/")
                connection.getresponse().read()
                return
            time.sleep(0.1)

    def _open(self) -> HTTPConnection:
        return HTTPConnection("localhost", self.port, timeout=TIMEOUT)
