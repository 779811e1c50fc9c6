"""Installation: a gateway on a PostgreSQL of its own, and an account that may do everything."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.postgres import Postgres
from tests.kit.processes import TIMEOUT, Gateway, manage

MAKE_USERS = """
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token
user = User.objects.create_superuser("olga", password="olga")
client = Client()
client.force_login(user)
print(Token.objects.create(user=user).key, client.cookies["sessionid"].value)
"""


@dataclass
class Installation:
    """A gateway on a database of its own, and who may do everything there."""

    database: Postgres
    gateway: Gateway
    token: str
    cookie: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Token {self.token}"}

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        client = http.client.HTTPConnection("localhost", self.gateway.port, timeout=TIMEOUT)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(client):
            client.request(method, path, body, named)
            answer = client.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def publish(self) -> tuple[int, http.client.HTTPMessage, str]:
        body = json.dumps({"topic": "/topic/a", "message": "hello"})
        headers = {**self.headers, "Content_Type": "application/json"}
        return self.ask("/api/notification", "POST", body, **headers)

    def readiness(self) -> tuple[int, Any]:
        status, _, body = self.ask("/readyz")
        return status, json.loads(body)

    def wait_for_readiness(self, wanted: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self.readiness()[1]["status"] != wanted:
            assert time.monotonic() < deadline, self.gateway.output
            time.sleep(0.1)


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    """Yield one that serves."""
    with Postgres("of-the-gateway") as database:
        variables = {"DATABASE_URL": database.url, "STOMP_ROUTING": "tests.kit.open_routing"}
        variables |= {"LOG_FORMAT": "text", "STOMP_RECHECK_SECONDS": "1"}
        manage("migrate", "-v", "0", **variables)
        token, cookie = manage("shell", "-v", "0", "-c", MAKE_USERS, **variables).split()
        with Gateway(folder / "log", **variables) as gateway:
            yield Installation(database, gateway, token, cookie)
