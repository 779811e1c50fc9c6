"""Requirements of rules, alone and as alternatives."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from realtime.access.rules import adecide, decide
from realtime.routes import allow, authenticated, permission, staff
from realtime.routes.table import Table
from realtime.sessions.session import Login, Session
from tests.kit.users import make_user


async def never(who: Any, destination: str, variables: Any) -> bool:
    return False


RULES = [
    allow("/topic/either", subscribe=staff | never | permission("auth.view_user")),
    allow("/topic/or", subscribe=permission("auth.view_user") | authenticated),
]


@pytest.mark.django_db(transaction=True)
async def test_an_alternative_may_ask_the_database_though_another_is_async(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.access.rules.rules_of", Table(RULES).rules)
    for name, permissions, allowed in (("alice", ["auth.view_user"], True), ("bob", [], False)):
        user = await sync_to_async(make_user)(name, *permissions)
        session = Session(login=Login(user, "passcode"))
        assert (await adecide(session, "subscribe", "/topic/either")).allowed is allowed
        in_a_view = await sync_to_async(decide)(session, "subscribe", "/topic/either")
        assert in_a_view.allowed is allowed
        assert (await adecide(session, "subscribe", "/topic/or")).allowed
