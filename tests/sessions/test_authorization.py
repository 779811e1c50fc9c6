"""Authorization: what a session may do, for how long, and what it is told when that changes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

from realtime import sign
from realtime.broker import apublish
from realtime.routes import allow, anyone, authenticated, on_send, on_subscribe, permission, staff
from realtime.routes.rules import requirement
from realtime.sessions import authorization
from realtime.sessions.node import this_node
from tests.kit.local_client import LocalClient, local_client, until
from tests.kit.tokens import key_text, token
from tests.kit.users import grant, make_user
from tests.sse.test_stream import open_stream

pytestmark = pytest.mark.django_db(transaction=True)

#: What the function of a rule answers; a test changes it.
OPEN = {"/topic/open": True, "/topic/shut": False}


def is_open(who: Any, destination: str, variables: Any) -> bool:
    return OPEN.get(destination, False)


async def take(message: Any, session: Any) -> None: ...


async def answer(session: Any) -> str:
    return "answered"


TABLE = ModuleType("tests.sessions.rules")
TABLE.routes = [  # type: ignore[attr-defined]
    allow("/topic/strict", subscribe=requirement(is_open), send=anyone, on_revoked="close"),
    allow("/topic/staff", subscribe=staff, send=staff),
    allow("/topic/permitted", subscribe=permission("auth.view_user"), send=authenticated),
    allow("/topic/signed"),
    allow("/topic/all", subscribe=anyone, send=anyone),
    allow("/topic/{name}", subscribe=is_open, send=is_open),
    allow("/app/all", subscribe=anyone, send=anyone),
    on_send("/app/all", take),
    on_send("/app/denied", take),
    on_subscribe("/app/all", answer),
    on_subscribe("/app/denied", answer),
]


@pytest.fixture(autouse=True)
def rules(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tests.sessions.rules", TABLE)
    settings.STOMP_ROUTING = "tests.sessions.rules"
    settings.STOMP_JWT = {"key": key_text("RS256"), "leeway": 0}
    for name, value in {"/topic/open": True, "/topic/strict": True, "/topic/shut": False}.items():
        monkeypatch.setitem(OPEN, name, value)


def soon() -> int:
    """Return the end of a login, one to two seconds from now."""
    return int(time.time()) + 2


@pytest.fixture
async def alice(node: None, transactional_db: None) -> User:
    return await sync_to_async(make_user)("alice")


@pytest.fixture
async def soft(alice: User) -> AsyncIterator[LocalClient]:
    """A client of alice's that goes on when it is refused something."""
    options = {"x-soft-errors": "true"}
    async with local_client(login="alice", passcode="wonderland", **options) as client:
        yield client


def connected() -> Any:
    (member,) = this_node().members
    return member


async def recheck() -> None:
    """Have the only session looked at again."""
    member = connected()
    await member.recheck(await User.objects.aget(pk=member.session.user.pk))


# What is refused


@pytest.mark.parametrize(
    ("command", "headers"),
    [
        ("SUBSCRIBE", {"id": "1", "destination": "/topic/shut"}),
        ("SUBSCRIBE", {"id": "1", "destination": "/app/denied"}),
        ("SUBSCRIBE", {"id": "1", "destination": "/topic/signed", "token": "x"}),
        ("SEND", {"destination": "/topic/shut"}),
        ("SEND", {"destination": "/app/denied"}),
        ("SEND", {"destination": "/app/auth/refresh"}),
    ],
)
async def test_softly_refused_a_client_is_told_and_goes_on(
    soft: LocalClient, command: str, headers: dict[str, str]
) -> None:
    await soft.send(command, {**headers, "receipt": "7"}, b"body")
    told = await soft.frame()
    assert (told.command, told.headers["destination"]) == ("MESSAGE", headers["destination"])
    assert told.headers["receipt-id"] == "7"
    assert told.headers["refused"].endswith(("-denied", "-token", "-failed"))
    assert told.headers.get("subscription") == headers.get("id")
    assert "message-id" in told.headers
    await soft.subscribe("/topic/open", id="1")
    await soft.request("SEND", {"destination": "/topic/open"}, b"heard")
    assert (await soft.frame("MESSAGE")).body == b"heard"


@pytest.mark.parametrize(
    ("command", "headers", "code"),
    [
        ("SUBSCRIBE", {"id": "0", "destination": "/topic/open"}, "duplicate-subscription"),
        ("SUBSCRIBE", {"id": "1", "destination": "/queue/a"}, "unknown-destination"),
        ("SUBSCRIBE", {"id": "1"}, "missing-header"),
        ("SEND", {"destination": "/topic/shut", "transaction": "t"}, "send-denied"),
        ("SEND", {"destination": "/app/auth/refresh", "transaction": "t"}, "bad-header"),
        ("SEND", {"destination": "/queue/a"}, "unknown-destination"),
        ("UNSUBSCRIBE", {"id": "1"}, "unknown-subscription"),
    ],
)
async def test_other_errors_close_all_the_same(
    soft: LocalClient, command: str, headers: dict[str, str], code: str
) -> None:
    await soft.subscribe("/topic/open", id="0")
    await soft.request("BEGIN", {"transaction": "t"})
    await soft.send(command, headers)
    assert (await soft.error())[0] == code


@pytest.mark.parametrize("value", ["false", "", "TRUE", "1"])
async def test_without_the_header_a_refusal_closes(alice: User, value: str) -> None:
    async with local_client(**{"x-soft-errors": value}) as client:
        await client.send("SUBSCRIBE", {"id": "0", "destination": "/topic/shut"})
        assert await client.error() == ("subscribe-denied", 1008)


async def test_refused_subscriptions_do_not_count(soft: LocalClient, settings: Any) -> None:
    for number in range(settings.STOMP_MAX_SUBSCRIPTIONS + 1):
        await soft.send("SUBSCRIBE", {"id": f"{number}", "destination": "/topic/shut"})
        assert (await soft.frame()).headers["refused"] == "subscribe-denied"
    assert connected().session.subscriptions == 0
    await soft.subscribe("/topic/open")


async def test_who_unsubscribes_from_what_was_refused_or_ended_goes_on(soft: LocalClient) -> None:
    await soft.send("SUBSCRIBE", {"id": "0", "destination": "/topic/shut"})
    await soft.subscribe("/topic/open", id="1")
    assert (await soft.frame("MESSAGE")).headers["refused"] == "subscribe-denied"
    OPEN["/topic/open"] = False
    await recheck()
    for id in ("0", "1"):
        await soft.request("UNSUBSCRIBE", {"id": id})
    await soft.send("UNSUBSCRIBE", {"id": "1"})
    assert (await soft.error())[0] == "unknown-subscription"


async def test_an_answer_is_remembered_until_it_is_due(soft: LocalClient, settings: Any) -> None:
    await soft.request("SEND", {"destination": "/topic/open"})
    OPEN["/topic/open"] = False
    await soft.request("SEND", {"destination": "/topic/open"})
    settings.STOMP_RULE_SECONDS = 0
    OPEN["/topic/open"] = True
    connected()._authorization.grants.permissions.forget()
    await soft.request("SEND", {"destination": "/topic/open"})
    OPEN["/topic/open"] = False
    await soft.send("SEND", {"destination": "/topic/open"})
    assert (await soft.frame()).headers["refused"] == "send-denied"


async def test_what_is_allowed_no_more_at_commit_is_not_sent(alice: User, settings: Any) -> None:
    settings.STOMP_RULE_SECONDS = 0
    async with local_client(login="alice", passcode="wonderland") as client:
        await client.request("BEGIN", {"transaction": "t"})
        await client.request("SEND", {"destination": "/topic/open", "transaction": "t"})
        OPEN["/topic/open"] = False
        await client.send("COMMIT", {"transaction": "t"})
        assert await client.error() == ("send-denied", 1008)


# What changes


async def test_what_may_not_be_heard_any_more_ends_and_is_told(soft: LocalClient) -> None:
    for number, topic in enumerate(("/topic/open", "/topic/all", "/user/queue/a")):
        await soft.subscribe(topic, id=f"{number}")
    OPEN["/topic/open"] = False
    await recheck()
    told = await soft.frame("MESSAGE")
    assert (told.headers["refused"], told.headers["subscription"]) == ("subscribe-denied", "0")
    for topic in ("/topic/open", "/topic/all", "/user/alice/queue/a"):
        await apublish(topic, topic)
    assert {(await soft.frame("MESSAGE")).body for _ in range(2)} == {
        b"/topic/all",
        b"/user/alice/queue/a",
    }
    OPEN["/topic/open"] = True
    await soft.subscribe("/topic/open", id="0")  # its id is free


async def test_a_subscription_that_closes_does(soft: LocalClient) -> None:
    await soft.subscribe("/topic/all", id="0")
    await soft.subscribe("/topic/strict", id="1")
    OPEN["/topic/strict"] = False
    await recheck()
    assert await soft.error() == ("subscribe-denied", 1008)


async def test_a_right_that_was_lost_counts_for_what_is_sent(alice: User) -> None:
    await sync_to_async(grant)(alice, "auth.view_user")
    async with local_client(login="alice", passcode="wonderland") as client:
        await client.subscribe("/topic/permitted")
        await sync_to_async(alice.user_permissions.clear)()
        await recheck()
        assert (await client.frame("MESSAGE")).headers["refused"] == "subscribe-denied"
        await client.request("SEND", {"destination": "/topic/permitted"})
        await client.send("SUBSCRIBE", {"id": "1", "destination": "/topic/permitted"})
        assert await client.error() == ("subscribe-denied", 1008)


async def test_a_stream_of_events_ends_and_says_so(alice: User) -> None:
    key = (await Token.objects.acreate(user=alice)).key
    login = {"authorization": f"Token {key}"}
    stream, _ = await open_stream("topic=/topic/open&topic=/topic/all", **login)
    OPEN["/topic/open"] = False
    await recheck()
    event = await stream.event()
    assert event["event"] == "refused"
    assert '"code":"subscribe-denied"' in event["data"].replace(" ", "")
    await stream._communicator.wait()
    assert not this_node().members


# What ends


async def test_a_signed_subscription_ends_with_its_token(alice: User) -> None:
    async with local_client() as client:
        short, long = sign("/topic/signed", ttl=1), sign("/topic/signed", ttl=60)
        await client.subscribe("/topic/signed", id="0", token=short)
        await client.subscribe("/topic/signed", id="1", token=long)
        told = await client.frame("MESSAGE")
        assert (told.headers["refused"], told.headers["subscription"]) == ("token-expired", "0")
        await apublish("/topic/signed", "heard")
        message = await client.frame("MESSAGE")
        assert (message.headers["subscription"], message.body) == ("1", b"heard")
        await client.request("UNSUBSCRIBE", {"id": "1"})
        assert connected()._authorization.grants.signed == {}


async def test_a_signed_stream_of_events_ends_with_its_token(node: None) -> None:
    stream, _ = await open_stream(f"topic=/topic/signed&token={sign('/topic/signed', ttl=1)}")
    assert "token-expired" in (await stream.event())["data"]
    await stream._communicator.wait()


async def test_a_signed_subscription_stays_whatever_the_rules_say(soft: LocalClient) -> None:
    await soft.subscribe("/topic/signed", token=sign("/topic/signed", user="alice"))
    await recheck()
    await apublish("/topic/signed", "heard")
    assert (await soft.frame("MESSAGE")).body == b"heard"


async def test_a_session_ends_with_its_login(alice: User) -> None:
    bearer = f"Bearer {token(exp=soon())}"
    async with local_client(authorization=bearer) as client:
        assert await client.error() == ("login-expired", 4005)


async def test_a_stream_of_events_ends_with_its_login(alice: User) -> None:
    bearer = f"Bearer {token(exp=soon())}"
    stream, _ = await open_stream("topic=/topic/all", authorization=bearer)
    assert "login-expired" in (await stream.event())["data"]
    await stream._communicator.wait()


async def refreshed(client: LocalClient, body: bytes = b"", **headers: str) -> None:
    await client.request("SEND", {"destination": authorization.REFRESH, **headers}, body)


@pytest.mark.parametrize("name", [None, "authorization", "Authorization"])
async def test_a_fresh_token_of_the_same_user_lets_it_go_on(alice: User, name: str | None) -> None:
    bearer = f"Bearer {token(exp=soon())}"
    async with local_client(authorization=bearer) as client:
        await client.subscribe("/topic/all")
        fresh = token()
        if name is None:
            await refreshed(client, fresh.encode())
        else:
            await refreshed(client, **{name: f"Bearer {fresh}"})
        await asyncio.sleep(2.2)
        await client.request("SEND", {"destination": "/topic/all"}, b"still here")
        assert (await client.frame("MESSAGE")).body == b"still here"


@pytest.mark.parametrize(
    "fresh", ["of bob", "wrong", "expired", "none"], ids=lambda each: each.replace(" ", "-")
)
async def test_nothing_else_does(alice: User, fresh: str) -> None:
    await sync_to_async(make_user)("bob")
    tokens = {
        "of bob": token(sub="bob"),
        "wrong": token(number=1),
        "expired": token(exp=time.time() - 60),
        "none": "",
    }
    async with local_client(authorization=f"Bearer {token()}") as client:
        login = connected().session.login
        await client.send("SEND", {"destination": authorization.REFRESH}, tokens[fresh].encode())
        assert await client.error() == ("authentication-failed", 1008)
        assert connected().session.login is login


async def test_nobody_becomes_somebody_by_a_fresh_token(alice: User) -> None:
    async with local_client() as client:
        await client.send("SEND", {"destination": authorization.REFRESH}, token().encode())
        assert await client.error() == ("authentication-failed", 1008)


async def test_a_fresh_token_is_no_message(soft: LocalClient) -> None:
    await refreshed(soft, token().encode())
    assert connected().session.messages_in == 0
    assert connected().session.login.how == "jwt"


# The login itself


async def test_who_leaves_while_it_waits_for_its_login_is_forgotten(
    node: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(credentials: Any) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    monkeypatch.setattr("realtime.sessions.stomp_session.authenticate", slow)
    client = LocalClient()
    await client.socket.connect()
    await client.send("CONNECT", {"accept-version": "1.2"})
    await began.wait()
    await client.socket.send_input({"type": "websocket.disconnect", "code": 1001})
    await ended.wait()
    await until(lambda: not this_node().members)
    await client.socket.wait()


async def test_what_comes_while_it_waits_is_done_afterwards_in_order(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def slow(credentials: Any) -> None:
        await gate.wait()

    monkeypatch.setattr("realtime.sessions.stomp_session.authenticate", slow)
    client = LocalClient()
    await client.socket.connect()
    await client.send("CONNECT", {"accept-version": "1.2"})
    await client.send("SUBSCRIBE", {"id": "0", "destination": "/topic/all", "receipt": "1"})
    for number in range(5):
        await client.send("SEND", {"destination": "/topic/all"}, b"%d" % number)
    await asyncio.sleep(0.05)
    gate.set()
    assert (await client.frame()).command == "CONNECTED"
    assert (await client.frame()).command == "RECEIPT"
    bodies = [(await client.frame("MESSAGE")).body for _ in range(5)]
    assert bodies == [b"0", b"1", b"2", b"3", b"4"]
    await client.socket.disconnect()


async def test_who_sends_a_lot_while_it_waits_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0

    async def receive() -> dict[str, Any]:
        nonlocal seen
        seen += 1
        return {"type": "websocket.receive", "text": "x" * 1024}

    async def work() -> str:
        await asyncio.sleep(0.05)
        return "done"

    ahead = authorization.Ahead(receive)
    assert await authorization.unless_gone(work(), ahead) == "done"
    assert seen == len(ahead.messages) == authorization.MAX_AHEAD_BYTES // 1024
