"""`manage.py explain` says what a client would be told."""

from __future__ import annotations

import sys
from io import StringIO
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command

from realtime.routes import allow, anyone, authenticated, on_send, on_subscribe, owner, service
from realtime.routes.rules import permission, staff
from tests.kit.local_client import LocalClient, local_node
from tests.kit.users import make_user

pytestmark = pytest.mark.django_db


async def is_odd(who: Any, destination: str, variables: Any) -> bool:
    return int(variables["number"]) % 2 == 1


@pytest.fixture(autouse=True)
def table(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("explained_routing")
    module.routes = [
        on_send("/app/greet", lambda message, session: None),
        on_subscribe("/app/settings", lambda session: {}),
        allow("/topic/news", subscribe=anyone, publish=service),
        allow("/topic/audit", subscribe=permission("auth.view_user"), history=staff),
        allow("/topic/home/{username}/*", subscribe=owner, send=owner),
        allow("/topic/home/**", subscribe=authenticated),
        allow("/topic/numbers/{number}", subscribe=is_odd),
        allow("/topic/team/**", subscribe=authenticated),
        allow("/user/*/queue/**", send=authenticated, publish=service),
        allow("/app/**", send=authenticated, subscribe=authenticated),
    ]
    monkeypatch.setitem(sys.modules, "explained_routing", module)
    settings.STOMP_ROUTING = "explained_routing"
    settings.DEBUG = False


def explain(*words: str, user: str | None = None) -> tuple[int, str]:
    """Return the exit status and what is printed."""
    out = StringIO()
    try:
        call_command("explain", *words, user=user, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue().strip()
    return 0, out.getvalue().strip()


ALLOWED = [
    ("SUBSCRIBE", "/topic/news", "allow('/topic/news'): anyone"),
    ("SUBSCRIBE", "/topic/home/alice/x", "allow('/topic/home/{username}/*'): owner"),
    ("SUBSCRIBE", "/topic/numbers/3", "allow('/topic/numbers/{number}'): is_odd"),
    ("SUBSCRIBE", "/topic/team/**", "allow('/topic/team/**'): authenticated"),
    ("SUBSCRIBE", "/app/settings", "allow('/app/**'): authenticated"),
    ("SEND", "/app/greet", "allow('/app/**'): authenticated"),
    ("SEND", "/user/alice/queue/x", "allow('/user/*/queue/**'): authenticated"),
    ("SEND", "/app/auth/refresh", "it needs no rule: a fresh login of the same user"),
    ("history", "/topic/news", "allow('/topic/news'): anyone"),
    ("SUBSCRIBE", "/user/queue/x", "it needs no rule: a user's own, /user/alice/queue/x"),
]


@pytest.mark.parametrize(("action", "destination", "why"), ALLOWED)
def test_it_says_which_rule_allows_something(action: str, destination: str, why: str) -> None:
    make_user("alice")
    for written in (action, action.lower()):
        assert explain(written, destination, user="alice") == (0, f"alice: allowed: {why}")


DENIED = [
    ("SUBSCRIBE", "/topic/x", "no rule of explained_routing covers it (subscribe-denied)"),
    ("SUBSCRIBE", "/topic/audit", "asks for permission('auth.view_user') (subscribe-denied)"),
    ("history", "/topic/audit", "allow('/topic/audit') asks for staff (history-denied)"),
    ("SUBSCRIBE", "/topic/home/bob/x", "asks for owner (subscribe-denied)"),
    ("SUBSCRIBE", "/topic/numbers/2", "asks for is_odd (subscribe-denied)"),
    ("SEND", "/topic/news", "allow('/topic/news') says nothing of send (send-denied)"),
    ("SEND", "/user/bob/queue/x", "allow('/user/*/queue/**') asks for service (send-denied)"),
    ("publish", "/topic/news", "publishing needs the permission notifications.publish"),
    ("SUBSCRIBE", "/topic/home/**", "covers a part, and asks for owner (subscribe-denied)"),
    ("SUBSCRIBE", "/topic/*", "no rule of explained_routing covers it (subscribe-denied)"),
    ("SUBSCRIBE", "/topic/a*b", "no rule of explained_routing covers it (subscribe-denied)"),
    ("SUBSCRIBE", "/topic/team/a*b", "is not a pattern: * has to be a whole segment"),
    ("SUBSCRIBE", "/queue/x", "(unknown-destination)"),
    ("SUBSCRIBE", "/user/bob/queue/x", "name your own as /user/queue/NAME (bad-destination)"),
    ("SUBSCRIBE", "/temp-queue/x", "by naming it as reply-to of a SEND to /app/NAME"),
    ("SUBSCRIBE", "/app/other", "nothing handles '/app/other'"),
    ("SEND", "/app/other", "nothing handles '/app/other'"),
    ("history", "/app/settings", "is not a topic"),
]


@pytest.mark.parametrize(("action", "destination", "why"), DENIED)
def test_it_says_what_denies_something(action: str, destination: str, why: str) -> None:
    make_user("alice")
    status, answer = explain(action, destination, user="alice")
    assert (status, answer.partition(": ")[0]) == (1, "alice")
    assert answer.startswith("alice: denied: ")
    assert why in answer


def test_a_service_may_publish_where_a_rule_says_so_too() -> None:
    make_user("backend", "notifications.publish")
    assert explain("publish", "/topic/news", user="backend")[0] == 0
    assert explain("publish", "/user/bob/queue/x", user="backend")[0] == 0
    status, answer = explain("publish", "/topic/audit", user="backend")
    assert (status, "allow('/topic/audit') says nothing of publish" in answer) == (1, True)


def test_an_anonymous_client_may_what_anyone_may_where_it_may_connect(settings: Any) -> None:
    status, answer = explain("SUBSCRIBE", "/topic/news")
    assert (status, "(login-required)" in answer) == (1, True)
    settings.STOMP_ANONYMOUS = True
    assert explain("SUBSCRIBE", "/topic/news") == (
        0,
        "an anonymous client: allowed: allow('/topic/news'): anyone",
    )
    status, answer = explain("SUBSCRIBE", "/user/queue/x")
    assert (status, "log in to hear" in answer) == (1, True)


def test_an_account_that_is_not_active_may_nothing() -> None:
    make_user("alice", is_active=False)
    status, answer = explain("SUBSCRIBE", "/topic/news", user="alice")
    assert (status, answer) == (
        1,
        "alice: denied: the account is not active (authentication-failed)",
    )


def test_an_unknown_user_or_action_is_an_error() -> None:
    with pytest.raises(CommandError, match="there is no user 'nobody'"):
        explain("SUBSCRIBE", "/topic/news", user="nobody")
    with pytest.raises(CommandError, match="invalid choice"):
        explain("DELETE", "/topic/news")


def test_it_says_that_debug_is_on(settings: Any) -> None:
    settings.DEBUG = True
    settings.STOMP_ROUTING = ""
    status, answer = explain("publish", "/topic/x")
    assert status == 0
    assert "allow('/**'): anyone" in answer
    assert "DEBUG is on" in answer


@pytest.mark.django_db(transaction=True)
async def test_a_client_is_told_the_same_while_debug_is_on(settings: Any) -> None:
    await sync_to_async(make_user)("alice")
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["localhost"]
    async with local_node():
        for action, destination, _ in ALLOWED + DENIED:
            if action in ("SUBSCRIBE", "SEND") and destination != "/app/auth/refresh":
                explained = await sync_to_async(explain)(action, destination, user="alice")
                assert explained[0] == await told(action, destination, explained[1])


async def told(action: str, destination: str, explained: str) -> int:
    """Return whether a client is refused something, in the words that were explained."""
    client = LocalClient()
    await client.connect(login="alice", passcode="wonderland")
    await client.send(action, {"id": "0", "destination": destination, "receipt": "done"})
    frame = await client.frame()
    if frame.command == "ERROR":
        said = f"alice: denied: {frame.headers['message']} ({frame.headers['code']})"
        assert explained.splitlines()[0] == said
    await client.socket.disconnect()
    return int(frame.command == "ERROR")
