"""A real PostgreSQL, which keeps nothing beyond its test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

from tests.conftest import free_port

TIMEOUT = 30

#: Debian has them where no PATH leads.
FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
POSTGRES = shutil.which("postgres", path=os.pathsep.join([*map(str, FOLDERS), os.environ["PATH"]]))

needs_postgres = pytest.mark.skipif(
    POSTGRES is None and not os.environ.get("REQUIRE_POSTGRES"),
    reason="no PostgreSQL is installed (Debian has it in the package postgresql)",
)


class Postgres:
    """A server with a user ``gateway``, who has a password, and an empty database of that name."""

    def __init__(self, password: str) -> None:
        assert POSTGRES, "install PostgreSQL: on Debian and Ubuntu, apt install postgresql"
        self.port = free_port()
        self.url = f"postgres://gateway:{password}@127.0.0.1:{self.port}/gateway"
        self._programs = Path(POSTGRES).resolve().parent
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
        #: It refuses to run as root.
        self._as_nobody: dict[str, Any] = {}
        if os.getuid() == 0:
            self._as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self._folder, "nobody")
        self._make(password)
        self.start()
        with psycopg.connect(self._url_of("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE gateway")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start, again if need be, and return when it answers."""
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "fsync=off"]
        command = [self._programs / "postgres", "-D", self._folder / "data", *options]
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd="/", **self._as_nobody
            )
        deadline = time.monotonic() + TIMEOUT
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """End it at once, with all connections."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
        self._process.wait(TIMEOUT)

    def connections(self) -> set[int]:
        """Return the processes that serve the connections of others to the database."""
        query = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = 'gateway' AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        with psycopg.connect(self.url) as connection:
            return {pid for (pid,) in connection.execute(query).fetchall()}

    def _make(self, password: str) -> None:
        secret = self._folder / "password"
        secret.write_text(password)
        options = ["-N", "--locale=C.UTF-8", "-U", "gateway", "--auth=scram-sha-256"]
        command = [self._programs / "initdb", "-D", self._folder / "data", *options]
        command.append(f"--pwfile={secret}")
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._as_nobody)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url_of("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _url_of(self, database: str) -> str:
        return f"{self.url.rpartition('/')[0]}/{database}"
