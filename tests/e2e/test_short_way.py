"""Services that post again and again, over two processes: known there, and forgotten in time."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.processes import TIMEOUT, Gateway, manage

SECONDS = 2.0
BODY = json.dumps({"topic": "/topic/signed/a", "message": "x"}).encode()

_PEOPLE = """
from django.contrib.auth.models import Group, Permission
from rest_framework.authtoken.models import Token
from tests.kit.users import make_user
team = Group.objects.create(name="team")
team.permissions.add(Permission.objects.get(codename="publish"))
for name in {names!r}:
    user = make_user(name)
    user.groups.add(team)
    print(Token.objects.create(user=user).key)
"""

_CHANGE = """
import time
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
user = User.objects.get(username={name!r})
{change}
print(time.time())
"""

#: What is changed, by a process of its own, and what is answered then.
CHANGES = {
    "token": ("Token.objects.get(user=user).delete()", 401),
    "inactive": ("user.is_active = False; user.save()", 401),
    "deleted": ("user.delete()", 401),
    "left": ("user.groups.clear()", 403),
}


@dataclass
class Nodes:
    """Two gateways on one Redis, and the tokens of services."""

    gateways: tuple[Gateway, Gateway]
    tokens: dict[str, str]
    variables: dict[str, str]

    def change(self, name: str, change: str) -> float:
        code = _CHANGE.format(name=name, change=change)
        return float(manage("shell", "-v", "0", "-c", code, **self.variables))

    def post(self, name: str) -> list[int]:
        """Return what each gateway answers."""
        return [status_of(gateway, self.tokens[name]) for gateway in self.gateways]


def status_of(gateway: Gateway, token: str) -> int:
    client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=TIMEOUT)
    headers = {"Content-Type": "application/json", "Authorization": f"Token {token}"}
    with closing(client):
        client.request("POST", "/api/notification", BODY, headers)
        answer = client.getresponse()
        answer.read()
        return answer.status


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder: Path = tmp_path_factory.mktemp("nodes")
    variables = {
        "DEBUG": "0",
        "STOMP_ROUTING": "tests.ruled_routing",
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
    }
    manage("migrate", "-v", "0", **variables)
    code = _PEOPLE.format(names=list(CHANGES))
    keys = manage("shell", "-v", "0", "-c", code, **variables).split()
    with (
        Gateway(folder / "here", **variables) as here,
        Gateway(folder / "there", **variables) as there,
    ):
        yield Nodes((here, there), dict(zip(CHANGES, keys, strict=True)), variables)


@pytest.mark.parametrize("name", CHANGES)
def test_who_may_not_any_more_is_refused_by_all_nodes_within_two_seconds(
    nodes: Nodes, name: str
) -> None:
    change, refused = CHANGES[name]
    assert [nodes.post(name) for _ in range(3)] == [[202, 202]] * 3
    # A change that no signal tells of is not seen: both know the service without asking.
    nodes.change(name, "User.objects.filter(pk=user.pk).update(is_active=False)")
    assert nodes.post(name) == [202, 202]
    nodes.change(name, "User.objects.filter(pk=user.pk).update(is_active=True)")
    changed = nodes.change(name, f"user.refresh_from_db(); {change}")
    while nodes.post(name) != [refused, refused]:
        assert time.time() - changed < SECONDS
        time.sleep(0.02)
    time.sleep(0.1)
    assert nodes.post(name) == [refused, refused]
