"""Senders: a MESSAGE says who sent it where the rule wants that, and nobody can pretend."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from realtime.routes import allow, anyone, on_send
from tests.kit.local_client import LocalClient
from tests.kit.users import make_user


async def who_says(message: Any, session: Any) -> str:
    return str(message.headers.get("sender", "nobody"))


@pytest.fixture(autouse=True)
def table(settings: Any, monkeypatch: pytest.MonkeyPatch, routing: None) -> None:
    module: Any = ModuleType("routing_of_senders")
    module.routes = [
        allow("/topic/said/*", subscribe=anyone, send=anyone, sender=True),
        allow("/app/said", send=anyone, sender=True),
        allow("/**", subscribe=anyone, send=anyone),
        on_send("/app/said", who_says, reply_to="/topic/replies"),
    ]
    monkeypatch.setitem(sys.modules, "routing_of_senders", module)
    settings.STOMP_ROUTING = "routing_of_senders"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("transaction", [False, True])
async def test_a_message_says_who_sent_it_where_the_rule_wants_that(
    node: None, transaction: bool
) -> None:
    await sync_to_async(make_user)("alice")
    client = LocalClient()
    await client.connect(login="alice", passcode="wonderland")
    for number, destination in enumerate(("/topic/said/a", "/topic/others", "/topic/replies")):
        await client.subscribe(destination, str(number))
    inside = {"transaction": "t"} if transaction else {}
    if transaction:
        await client.request("BEGIN", inside)
    for destination, sender in (
        ("/topic/said/a", "alice"),
        ("/topic/others", None),
        ("/app/said", "alice"),
    ):
        await client.request("SEND", {"destination": destination, "sender": "bob", **inside})
        if not transaction:
            assert await heard(client, destination) == sender
    if transaction:
        await client.request("COMMIT", inside)
        messages = [await client.frame("MESSAGE") for _ in range(3)]
        said = {each.headers["destination"]: each for each in messages}
        assert said["/topic/said/a"].headers.get("sender") == "alice"
        assert "sender" not in said["/topic/others"].headers
        assert said["/topic/replies"].body == b"alice"
    await client.socket.disconnect()


async def heard(client: LocalClient, destination: str) -> str | None:
    message = await client.frame("MESSAGE")
    return message.body.decode() if destination == "/app/said" else message.headers.get("sender")
