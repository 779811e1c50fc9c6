"""Site: a gateway as in production, with accounts, for as long as the context lasts."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.meter import resident_bytes
from tests.kit.processes import Gateway, manage

from .target import ADMIN, Target

#: That of all accounts.
PASSCODE: Final = "right-passcode"

#: Seconds between two looks at the memory of the gateway.
LOOK_SECONDS: Final = 0.1

#: Makes accounts with the real hasher, which takes long: all share one hash.
MAKE_ACCOUNTS: Final = """
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission, User
from rest_framework.authtoken.models import Token
password = make_password({passcode!r})
User.objects.bulk_create(
    User(username=name, password=password, is_staff=name in {admins}, is_superuser=name in {admins})
    for name in {names!r}
)
publish = Permission.objects.get(content_type__app_label="notifications", codename="publish")
for name in ("honest", "mallory"):
    user = User.objects.get(username=name)
    user.user_permissions.add(publish)
    print("TOKEN", Token.objects.create(user=user).key)
"""


class Site:
    """
    One process of the gateway, with the settings of production but for HTTPS.

    Args:
        folder: Where its database and its output are.
        fleet: How many accounts ``fleet-N`` there are besides, all with :data:`PASSCODE`.
        variables: Of its environment.
    """

    gateway: Gateway

    def __init__(self, folder: Path, *, fleet: int = 0, **variables: str) -> None:
        self._folder = folder
        self._fleet = fleet
        self._variables = {
            "DEBUG": "0",
            "STOMP_ROUTING": "tests.e2e.attack.routing",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "REDIS_PREFIX": folder.name,
            **variables,
        }

    def __enter__(self) -> Self:
        manage("migrate", "-v", "0", **self._variables)
        names = [ADMIN, "honest", "mallory", *map(fleet_name, range(self._fleet))]
        code = MAKE_ACCOUNTS.format(passcode=PASSCODE, admins=[ADMIN], names=names)
        output = manage("shell", "-v", "0", "-c", code, **self._variables)
        tokens = [line.split()[1] for line in output.splitlines() if line.startswith("TOKEN")]
        self.honest = {"authorization": f"Token {tokens[0]}"}
        self._token = tokens[1]
        self.gateway = Gateway(self._folder / "log", **self._variables)
        return self

    def __exit__(self, *error: object) -> None:
        self.gateway.stop()

    @property
    def port(self) -> int:
        return self.gateway.port

    @property
    def target(self) -> Target:
        return Target(self.port, self._token)

    @property
    def memory(self) -> int:
        """The resident memory of the gateway in bytes."""
        return resident_bytes(self.gateway.popen.pid)

    async def restart(self) -> None:
        """End the gateway, and start it again on its port."""
        port = self.port
        await asyncio.to_thread(self.gateway.stop)
        start: Any = Gateway
        self.gateway = await asyncio.to_thread(
            start, self._folder / "log", port=port, **self._variables
        )


def fleet_name(number: int) -> str:
    return f"fleet-{number}"


class MemoryWatch:
    """The most memory that the gateway had meanwhile; looked at from a thread."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.most = self.before = site.memory
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.most = max(self.most, self._site.memory)

    async def settled(self, seconds: float, slack: int) -> int:
        """Return what it has when it is back within slack, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while self._site.memory > self.before + slack and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        return self._site.memory
