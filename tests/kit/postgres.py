"""A real PostgreSQL of a test's own, to stop and start."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.conftest import free_port

#: Seconds after which a test that waits gives up.
TIMEOUT = 30


def programs() -> Path | None:
    """Return where PostgreSQL's programs are, on the PATH or where Debian has them; or None."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class Postgres:
    """One server on a port of its own, which keeps what it has while it is stopped."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgres://gateway@127.0.0.1:{self.port}/postgres"
        # Not in pytest's folders, which are for nobody else, as PostgreSQL is where root starts it.
        self._data = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
        self._log = self._data / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self._data, account.pw_uid, account.pw_gid)
            self._as = {"user": account.pw_uid, "group": account.pw_gid}
        self._run("initdb", "--auth", "trust", "--username", "gateway", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start, again if need be, and return when it answers."""
        options = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        options += ["-c", f"unix_socket_directories={self._data}", "-c", "max_connections=50"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program("postgres"), "-D", str(self._data), *options],
                stdout=log, stderr=log, cwd=self._data, **self._as,
            )  # fmt: skip
        deadline = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url):
                return
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, with all connections to it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(TIMEOUT)
            self._process = None

    def close(self) -> None:
        """Stop it, and remove what it has."""
        self.stop()
        shutil.rmtree(self._data)

    def _run(self, name: str, *options: str) -> None:
        command = [self._program(name), "-D", str(self._data), *options]
        subprocess.run(command, check=True, capture_output=True, cwd=self._data, **self._as)

    def _program(self, name: str) -> str:
        folder = programs()
        assert folder is not None
        return str(folder / name)
