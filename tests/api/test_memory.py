"""Memory: requests give theirs back when they are answered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.kit.processes import TIMEOUT, Gateway, manage

MIB = 2**20
NESTED = b"[" * 4 * MIB
LONG = json.dumps([{"a": 1}] * 400_000).encode()


@pytest.mark.parametrize("body", [NESTED, LONG], ids=["not JSON", "too long a list"])
def test_bodies_that_are_refused_leave_nothing_behind(body: bytes, tmp_path: Path) -> None:
    variables = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}"}
    manage("migrate", "-v", "0", **variables)
    with Gateway(tmp_path / "log", **variables) as gateway:
        before = resident(gateway)
        with ThreadPoolExecutor(4) as clients:
            statuses = set(clients.map(lambda _: post(gateway, body), range(60)))
        assert statuses == {400}
        assert resident(gateway) - before < 100 * MIB


def post(gateway: Gateway, body: bytes) -> int:
    client = HTTPConnection("localhost", gateway.port, timeout=TIMEOUT)
    client.request("POST", "/api/notification", body, {"Content-Type": "application/json"})
    status = client.getresponse().status
    client.close()
    return status


def resident(gateway: Gateway) -> int:
    """Return the resident memory in bytes."""
    return int(Path(f"/proc/{gateway.popen.pid}/statm").read_text().split()[1]) * 4096
