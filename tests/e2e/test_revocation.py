"""Who may not any more is put out within 2 seconds, wherever that was decided."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.async_api import expect

from tests.kit.browser import needs_chromium, open_page
from tests.kit.clients import StompClient
from tests.kit.event_client import EventClient
from tests.kit.processes import Gateway, manage

SECONDS = 2.0

_PEOPLE = """
from django.contrib.auth.models import Group, User
from rest_framework.authtoken.models import Token
team = Group.objects.create(name="team")
for name in ("alice", "bob", "carol", "dave"):
    user = User.objects.create_user(name, password=f"secret of {name}")
    user.groups.add(team)
    print(Token.objects.create(user=user).key)
"""

_CHANGE = """
import time
from django.contrib.auth.models import Group, User
from rest_framework.authtoken.models import Token
user = User.objects.get(username={name!r})
{change}
print(time.time())
"""


@dataclass
class Nodes:
    """Two gateways without DEBUG on one Redis, and the tokens of four members of a team."""

    here: Gateway
    there: Gateway
    tokens: dict[str, str]
    variables: dict[str, str]

    def change(self, name: str, change: str) -> float:
        """Change a user in a process of its own; return when that was."""
        code = _CHANGE.format(name=name, change=change)
        return float(manage("shell", "-v", "0", "-c", code, **self.variables))

    def client(self, gateway: Gateway, name: str, **headers: str) -> StompClient:
        token = {"authorization": f"Bearer {self.tokens[name]}"}
        return StompClient(gateway.stomp, connect={**token, **headers})


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    variables = {
        "DEBUG": "0",
        "STOMP_ROUTING": "tests.kit.team_routing",
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
    }
    manage("migrate", "-v", "0", **variables)
    keys = manage("shell", "-v", "0", "-c", _PEOPLE, **variables).split()
    tokens = dict(zip(("alice", "bob", "carol", "dave"), keys, strict=True))
    with (
        Gateway(folder / "here", **variables) as here,
        Gateway(folder / "there", **variables) as there,
    ):
        yield Nodes(here, there, tokens, variables)


async def test_a_group_that_was_left_ends_subscriptions_on_all_nodes(nodes: Nodes) -> None:
    async with (
        nodes.client(nodes.here, "alice") as here,
        nodes.client(nodes.there, "alice") as there,
        nodes.client(nodes.there, "alice") as closed,
        nodes.client(nodes.here, "bob") as bob,
    ):
        for client in (here, there, bob):
            await client.subscribe("/topic/all/x", id="all")
            await client.subscribe("/topic/team/x", id="team")
        await closed.subscribe("/topic/closed/x")
        changed = nodes.change("alice", "user.groups.clear()")
        for client in (here, there):
            told = await client.message()
            assert (told.headers["subscription"], told.headers["refused"]) == (
                "team",
                "subscribe-denied",
            )
        error = await closed.frame("ERROR")
        assert time.time() - changed < SECONDS
        assert error.headers["code"] == "subscribe-denied"
        assert await closed.close_code() == 1008
        # The others go on, and the id is free again.
        await here.request("UNSUBSCRIBE", {"id": "all"})
        await here.subscribe("/topic/all/y", id="team")
        await bob.request("UNSUBSCRIBE", {"id": "team"})
        assert not bob.waiting("MESSAGE")


async def ended(client: StompClient) -> str:
    error = await client.frame("ERROR")
    assert await client.close_code() == 1008
    return error.headers["code"]


async def test_a_changed_password_ends_the_sessions_that_logged_in_with_it(nodes: Nodes) -> None:
    passcode = {"login": "bob", "passcode": "secret of bob"}
    async with (
        StompClient(nodes.here.stomp, connect=passcode) as here,
        StompClient(nodes.there.stomp, connect=passcode) as there,
        nodes.client(nodes.there, "bob") as with_token,
    ):
        changed = nodes.change("bob", "user.set_password('another'); user.save()")
        assert [await ended(here), await ended(there)] == ["login-ended"] * 2
        assert time.time() - changed < SECONDS
        await with_token.subscribe("/topic/all/x")
    async with StompClient(nodes.here.stomp, connect={"accept-version": ""}) as again:
        await again.send("CONNECT", {"accept-version": "1.2", **passcode})
        assert (await again.frame("ERROR")).headers["code"] == "authentication-failed"


async def test_a_deleted_token_ends_sessions_and_streams(nodes: Nodes) -> None:
    token = {"authorization": f"Bearer {nodes.tokens['carol']}"}
    async with (
        nodes.client(nodes.here, "carol") as here,
        nodes.client(nodes.there, "carol") as there,
        EventClient(nodes.there.url, "/topic/all/x", **token) as stream,
    ):
        assert stream.status == 200
        await stream.event()
        changed = nodes.change("carol", "Token.objects.filter(user=user).delete()")
        assert [await ended(here), await ended(there)] == ["login-ended"] * 2
        refused = await stream.event()
        assert time.time() - changed < SECONDS
        assert (refused.type, refused.json["code"]) == ("refused", "login-ended")


async def test_a_deactivated_account_ends_its_sessions(nodes: Nodes) -> None:
    async with nodes.client(nodes.there, "dave") as client:
        changed = nodes.change("dave", "user.is_active = False; user.save()")
        assert await ended(client) == "login-ended"
        assert time.time() - changed < SECONDS
    nodes.change("dave", "user.is_active = True; user.save()")


@needs_chromium
async def test_a_logout_in_one_tab_ends_the_socket_of_another(nodes: Nodes) -> None:
    async with open_page(f"{nodes.here.url}/login/") as page:
        await page.fill("[name=username]", "dave")
        await page.fill("[name=password]", "secret of dave")
        await page.press("[name=password]", "Enter")
        await expect(page.locator("#state")).to_have_text("Connected as dave")
        other = await page.context.new_page()
        await other.goto(nodes.here.url)
        await other.click("text=Log out")
        loggedout = time.time()
        await expect(page.locator("#error")).to_contain_text("login", timeout=SECONDS * 1000)
        await expect(page.locator("#state")).not_to_contain_text("Connected as dave")
        assert time.time() - loggedout < SECONDS
