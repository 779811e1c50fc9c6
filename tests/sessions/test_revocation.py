"""Revocation: what becomes of sessions when their users change, on every node."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.db import OperationalError, transaction
from django.test import Client
from rest_framework.authtoken.models import Token

from realtime.access import authentication
from realtime.access.authentication import token_user
from realtime.access.standing import look_up
from realtime.broker import apublish
from realtime.concurrency import nothing
from realtime.hub.notices import hear_notices
from realtime.routes import allow, authenticated, group, permission, staff
from realtime.sessions import revocation
from realtime.sessions.node import this_node
from realtime.sessions.revocation import EVERYBODY, Revocation
from tests.kit.local_client import TIMEOUT, LocalClient, local_client, until
from tests.kit.users import make_user
from tests.sse.test_stream import open_stream

pytestmark = pytest.mark.django_db(transaction=True)

#: What rules do, by the name of a topic; a test changes it.
RULES: dict[str, Callable[[], Any]] = {}


def ask(who: Any, destination: str, variables: Any) -> Any:
    return RULES[variables["name"]]()


async def ask_async(who: Any, destination: str, variables: Any) -> Any:
    return await RULES[variables["name"]]()


TABLE = ModuleType("tests.sessions.revoked")
TABLE.routes = [  # type: ignore[attr-defined]
    allow("/topic/group", subscribe=group("team")),
    allow("/topic/permission", subscribe=permission("auth.view_user")),
    allow("/topic/staff", subscribe=staff),
    allow("/topic/all", subscribe=authenticated),
    allow("/topic/rule/{name}", subscribe=ask),
    allow("/topic/async/{name}", subscribe=ask_async, history=staff),
]
TOPICS = ("/topic/group", "/topic/permission", "/topic/staff", "/topic/all")


@pytest.fixture(autouse=True)
def rules(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, TABLE.__name__, TABLE)
    monkeypatch.setattr(revocation, "_SOON", 0.02)
    monkeypatch.setattr(revocation, "_AGAIN", 0.1)
    RULES.clear()
    settings.STOMP_ROUTING = TABLE.__name__


def make_alice() -> User:
    """Return a member of the staff, whose team may view users."""
    alice = make_user("alice", is_staff=True)
    team = Group.objects.create(name="team")
    team.permissions.add(Permission.objects.get(codename="view_user"))
    alice.groups.add(team)
    return alice


@pytest.fixture
async def alice(node: None, transactional_db: None) -> User:
    return await sync_to_async(make_alice)()


def cookie_of(user: User) -> str:
    browser = Client()
    browser.force_login(user)
    return f"sessionid={browser.cookies['sessionid'].value}"


async def client_of(user: User, how: str) -> LocalClient:
    """Return a client that hears all topics."""
    credentials: dict[str, str] = {}
    http: dict[str, str] = {}
    if how == "passcode":
        credentials = {"login": user.username, "passcode": "wonderland"}
    elif how == "token":
        token, _ = await Token.objects.aget_or_create(user=user)
        credentials = {"authorization": f"Token {token.key}"}
    else:
        cookie = await sync_to_async(cookie_of)(user)
        http = {"cookie": cookie, "origin": "http://localhost", "host": "localhost"}
    client = LocalClient(**http)
    assert (await client.connect(**credentials)).command == "CONNECTED"
    for topic in TOPICS:
        await client.subscribe(topic, id=topic)
    return client


@pytest.fixture
async def hearing(alice: User) -> AsyncIterator[Revocation]:
    """The looks of this node, which hears of users that change."""
    async with local_client():
        await until(lambda: revocation.USERS in this_node().hub._feeds)
        revoked = this_node()._revocation
        # When another hears, all before it do.
        await hear_notices(this_node().hub, revocation.USERS, nothing)
        yield revoked


def change_password(user: User) -> None:
    user.set_password("another")
    user.save()


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


#: What ends sessions, of which logins.
ENDS: dict[str, tuple[str, Callable[[User], Any]]] = {
    "the password was changed": ("passcode cookie", change_password),
    "the account was deactivated": ("passcode token cookie", deactivate),
    "the account was deleted": ("passcode token cookie", lambda user: user.delete()),
    "the account was deleted by a query": (
        "passcode token cookie",
        lambda user: User.objects.filter(pk=user.pk).delete(),
    ),
    "the token was deleted": ("token", lambda user: Token.objects.get(user=user).delete()),
    "the tokens were deleted": ("token", lambda user: Token.objects.all().delete()),
    "the login session was deleted": ("cookie", lambda user: Session.objects.all().delete()),
}


@pytest.mark.parametrize("change", ENDS)
async def test_a_login_that_does_not_hold_any_more_ends_its_sessions(
    alice: User, hearing: Revocation, change: str
) -> None:
    ended, apply = ENDS[change]
    clients = {how: await client_of(alice, how) for how in ("passcode", "token", "cookie")}
    bob = await client_of(await sync_to_async(make_bob)(), "passcode")
    await sync_to_async(apply)(await User.objects.aget(pk=alice.pk))
    for how in ended.split():
        assert await clients[how].error() == ("login-ended", 1008)
    await apublish("/topic/all", "still here")
    for how in clients.keys() - set(ended.split()):
        assert (await clients[how].frame("MESSAGE")).body == b"still here"
    assert (await bob.frame("MESSAGE")).body == b"still here"


def make_bob() -> User:
    bob = make_user("bob", "auth.view_user", is_staff=True)
    bob.groups.add(Group.objects.get(name="team"))
    return bob


async def test_a_logout_ends_the_sessions_of_that_browser(alice: User, hearing: Revocation) -> None:
    browser = Client()
    await browser.aforce_login(alice)
    cookie = f"sessionid={browser.cookies['sessionid'].value}"
    client = LocalClient(cookie=cookie, origin="http://localhost", host="localhost")
    await client.connect()
    other = await client_of(alice, "cookie")
    await sync_to_async(browser.logout)()
    assert await client.error() == ("login-ended", 1008)
    await apublish("/topic/all", "still here")
    assert (await other.frame("MESSAGE")).body == b"still here"


def remove_permission(user: User) -> None:
    Group.objects.get(name="team").permissions.clear()


def demote(user: User) -> None:
    demoted = User.objects.get(pk=user.pk)
    demoted.is_staff = False
    demoted.save()


#: What takes rights, and which topics are not heard any more.
RIGHTS: dict[str, tuple[set[str], Callable[[User], Any]]] = {
    "out of the group, by the user": (
        {"/topic/group", "/topic/permission"},
        lambda user: user.groups.clear(),
    ),
    "out of the group, by the group": (
        {"/topic/group", "/topic/permission"},
        lambda user: Group.objects.get().user_set.remove(user),
    ),
    "the group was emptied": (
        {"/topic/group", "/topic/permission"},
        lambda user: Group.objects.get().user_set.clear(),
    ),
    "the group was deleted": (
        {"/topic/group", "/topic/permission"},
        lambda user: Group.objects.get().delete(),
    ),
    "the permission of the group": ({"/topic/permission"}, remove_permission),
    "the permission was deleted": (
        {"/topic/permission"},
        lambda user: Permission.objects.get(codename="view_user").delete(),
    ),
    "no staff any more": ({"/topic/staff"}, demote),
}


@pytest.mark.parametrize("change", RIGHTS)
async def test_what_may_not_be_heard_any_more_is_not(
    alice: User, hearing: Revocation, change: str
) -> None:
    lost, apply = RIGHTS[change]
    client = await client_of(alice, "passcode")
    await sync_to_async(apply)(alice)
    told = [await client.frame("MESSAGE") for _ in lost]
    assert {frame.headers["subscription"] for frame in told} == lost
    assert {frame.headers["refused"] for frame in told} == {"subscribe-denied"}
    for topic in TOPICS:
        await apublish(topic, "heard")
    heard = [await client.frame("MESSAGE") for _ in TOPICS if _ not in lost]
    assert {frame.headers["subscription"] for frame in heard} == set(TOPICS) - lost


async def test_a_stream_of_events_ends_too(alice: User, hearing: Revocation) -> None:
    key = (await Token.objects.acreate(user=alice)).key
    login = {"authorization": f"Token {key}"}
    for change, code in ((remove_permission, "subscribe-denied"), (deactivate, "login-ended")):
        topic = "/topic/permission" if code == "subscribe-denied" else "/topic/all"
        stream, _ = await open_stream(f"topic={topic}", **login)
        await sync_to_async(change)(await User.objects.aget(pk=alice.pk))
        event = await stream.event()
        assert event["event"] == "refused"
        assert code in event["data"]
        await stream._communicator.wait(TIMEOUT)


async def test_what_is_rolled_back_ends_nothing(alice: User, hearing: Revocation) -> None:
    client = await client_of(alice, "passcode")

    def roll_back() -> None:
        with transaction.atomic():
            deactivate(User.objects.get(pk=alice.pk))
            transaction.set_rollback(True)

    await sync_to_async(roll_back)()
    await asyncio.sleep(0.2)
    await apublish("/topic/all", "still here")
    assert (await client.frame("MESSAGE")).body == b"still here"


async def test_a_login_announces_nothing(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[Any] = []
    monkeypatch.setattr(revocation, "announce", lambda *users: announced.extend(users))
    await client_of(alice, "passcode")
    await client_of(alice, "cookie")
    assert announced == []


async def test_what_no_signal_tells_is_found_by_and_by(alice: User, settings: Any) -> None:
    settings.STOMP_RECHECK_SECONDS = 0.2
    client = await client_of(alice, "passcode")
    await User.objects.aupdate(is_staff=False)
    assert (await client.frame("MESSAGE")).headers["subscription"] == "/topic/staff"
    await User.objects.aupdate(is_active=False)
    assert await client.error() == ("login-ended", 1008)


async def test_who_is_told_of_all_the_time_looks_at_all_nevertheless(
    alice: User, settings: Any
) -> None:
    settings.STOMP_RECHECK_SECONDS = 0.3
    client = await client_of(alice, "passcode")

    async def tell() -> None:
        while True:
            this_node()._revocation.tell(["another"])
            await asyncio.sleep(0.005)

    telling = asyncio.create_task(tell())
    await User.objects.aupdate(is_active=False)
    assert await client.error() == ("login-ended", 1008)
    telling.cancel()


async def test_a_node_hears_what_was_changed_elsewhere(alice: User, hearing: Revocation) -> None:
    client = await client_of(alice, "passcode")
    code = f"""
import django
django.setup()
from realtime.sessions.revocation import announce
announce({alice.pk})
"""
    await User.objects.aupdate(is_active=False)  # which no signal tells
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
    assert await client.error() == ("login-ended", 1008)


@pytest.mark.usefixtures("layer")
async def test_it_goes_the_same_way_on_any_channel_layer(alice: User, hearing: Revocation) -> None:
    client = await client_of(alice, "token")
    await sync_to_async(deactivate)(alice)
    assert await client.error() == ("login-ended", 1008)


async def test_while_redis_is_away_users_can_be_changed_and_it_is_found(
    redis_away: None, alice: User, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.STOMP_RECHECK_SECONDS = 0.2
    async with local_client(login="alice", passcode="wonderland") as client:
        async with asyncio.timeout(5):
            await sync_to_async(deactivate)(alice)
        assert await client.error() == ("login-ended", 1008)
    assert "could not tell nodes that users changed" in caplog.text


async def test_while_the_database_is_away_sessions_go_on(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.STOMP_RECHECK_SECONDS = 0.05
    client = await client_of(alice, "passcode")

    def fail(logins: Any) -> Any:
        raise OperationalError("secret: the database is away")

    monkeypatch.setattr(revocation, "look_up", fail)
    await until(lambda: "the database is away: OperationalError" in caplog.text)
    assert "secret" not in caplog.text
    await apublish("/topic/all", "still here")
    assert (await client.frame("MESSAGE")).body == b"still here"
    monkeypatch.setattr(revocation, "look_up", look_up)
    await User.objects.aupdate(is_active=False)
    assert await client.error() == ("login-ended", 1008)


async def test_all_sessions_are_asked_together(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def counted(logins: Any) -> Any:
        looks.append(len(list(logins)))
        return look_up(logins)

    monkeypatch.setattr(revocation, "look_up", counted)
    clients = [await client_of(alice, "passcode") for _ in range(5)]
    async with local_client():
        await this_node()._revocation._look({EVERYBODY})
        await this_node()._revocation._look({str(alice.pk)})
        await this_node()._revocation._look({"another"})
    assert looks == [5, 5]
    for client in clients:
        await client.request("BEGIN", {"transaction": "t"})


# What hostile clients, and rules, do about it


def empty_group() -> None:
    Group.objects.get().user_set.clear()


def stop() -> Any:
    return next(iter(()))


def fail() -> Any:
    raise LookupError("secret: there is no such member")


@pytest.mark.parametrize("rule", [stop, fail])
async def test_a_rule_that_raises_denies_what_is_heard_and_nobody_else_notices(
    alice: User, hearing: Revocation, rule: Callable[[], Any]
) -> None:
    RULES["a"] = lambda: True
    bob = await client_of(await sync_to_async(make_bob)(), "passcode")
    client = await client_of(alice, "passcode")
    await client.request("UNSUBSCRIBE", {"id": "/topic/group"})
    await client.subscribe("/topic/rule/a")
    await client.subscribe("/topic/group", id="last")
    RULES["a"] = rule
    await sync_to_async(empty_group)()
    told = {}
    for _ in range(3):
        frame = await client.frame("MESSAGE")
        told[frame.headers["subscription"]] = frame.headers["refused"]
        assert b"secret" not in frame.body
    assert told == {
        "0": "internal-error",
        "last": "subscribe-denied",
        "/topic/permission": "subscribe-denied",
    }
    assert (await bob.frame("MESSAGE")).headers["subscription"] == "/topic/group"


async def test_what_a_rule_can_not_say_now_is_asked_again(alice: User, hearing: Revocation) -> None:
    RULES["a"] = lambda: True
    client = await client_of(alice, "passcode")
    await client.subscribe("/topic/rule/a")
    asked: list[int] = []

    def away() -> Any:
        asked.append(1)
        if len(asked) < 3:
            raise OperationalError("the database is away")
        return False

    RULES["a"] = away
    hearing.tell([str(alice.pk)])
    assert (await client.frame("MESSAGE")).headers["subscription"] == "0"
    assert len(asked) == 3


class Held:
    """The answer of a rule that is on its way until it is let go."""

    def __init__(self, *answers: bool) -> None:
        self._answers = list(answers)
        self.asked, self.answered = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> bool:
        answer = self._answers.pop(0)
        if not self.asked.is_set():
            self.asked.set()
            await self.answered.wait()
        return answer


async def test_an_answer_of_before_a_change_does_not_count_after_it(
    alice: User, hearing: Revocation
) -> None:
    client = await client_of(alice, "passcode")
    (member,) = [each for each in this_node().members if each.session.user == alice]
    held = RULES["a"] = Held(True, False)
    await client.send("SUBSCRIBE", {"id": "0", "destination": "/topic/async/a"})
    await held.asked.wait()
    user = await User.objects.aget(pk=alice.pk)
    await member.recheck(user)
    assert member.session.user is member.session.login.user is user  # no other one is kept
    held.answered.set()
    assert await client.error() == ("subscribe-denied", 1008)


async def test_nor_does_it_while_the_past_is_asked_for(
    alice: User, hearing: Revocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await client_of(alice, "passcode")
    (member,) = [each for each in this_node().members if each.session.user == alice]
    permissions = member._authorization.grants.permissions  # type: ignore[attr-defined]
    check = permissions.check

    async def check_while_the_user_changes(action: Any, destination: str) -> Any:
        if action == "history" and permissions.era == 0:
            RULES["a"] = Held(False)
            RULES["a"].asked.set()  # type: ignore[attr-defined]
            await member.recheck(alice)
        return await check(action, destination)

    monkeypatch.setattr(permissions, "check", check_while_the_user_changes)
    held = RULES["a"] = Held(True)
    held.asked.set()
    await client.send("SUBSCRIBE", {"id": "0", "destination": "/topic/async/a", "replay": "all"})
    assert await client.error() == ("subscribe-denied", 1008)


@pytest.mark.parametrize("door", ["stomp", "sse"])
async def test_a_login_of_before_a_change_does_not_outlive_it(
    alice: User, hearing: Revocation, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    token = await Token.objects.acreate(user=alice)
    read, looked = asyncio.Event(), asyncio.Event()

    async def slow(credentials: Any) -> Any:
        login = await sync_to_async(token_user)(credentials)
        read.set()
        await looked.wait()
        return login

    monkeypatch.setattr(authentication, "_authenticators", lambda: (slow,))
    key = {"authorization": f"Token {token.key}"}
    client = LocalClient()
    connecting = asyncio.ensure_future(
        client.connect(**key) if door == "stomp" else open_stream("topic=/topic/all", **key)
    )
    await read.wait()
    await sync_to_async(token.delete)()
    await until(lambda: str(alice.pk) in hearing._looked_at)
    looked.set()
    if door == "stomp":
        assert (await connecting).command == "CONNECTED"
        assert await client.error() == ("login-ended", 1008)
    else:
        stream, _ = await connecting
        assert "login-ended" in (await stream.event())["data"]
        await stream._communicator.wait(TIMEOUT)


async def test_who_gets_a_fresh_login_all_the_time_hears_no_more_than_others(
    alice: User, hearing: Revocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await client_of(alice, "token")
    (member,) = [each for each in this_node().members if each.session.user == alice]

    def refreshed(logins: Any) -> Any:
        found = list(look_up(logins))
        member.session.log_in(replace(member.session.login, user=User.objects.get(pk=alice.pk)))
        return found

    monkeypatch.setattr(revocation, "look_up", refreshed)
    await sync_to_async(alice.groups.clear)()
    told = {(await client.frame("MESSAGE")).headers["subscription"] for _ in range(2)}
    assert told == {"/topic/group", "/topic/permission"}


async def test_the_slow_rules_of_one_keep_nobody_else_waiting(
    alice: User, hearing: Revocation
) -> None:
    allowed = RULES["slow"] = Held(True)
    allowed.asked.set()
    slow = await client_of(alice, "passcode")
    await slow.subscribe("/topic/async/slow")
    bob = await client_of(await sync_to_async(make_bob)(), "passcode")
    held = RULES["slow"] = Held(True)
    await sync_to_async(empty_group)()
    await held.asked.wait()
    assert (await bob.frame("MESSAGE")).headers["subscription"] == "/topic/group"
    held.answered.set()


async def test_who_gets_the_name_of_another_gets_no_session_with_it(
    alice: User, hearing: Revocation
) -> None:
    client = await client_of(alice, "token")
    await client.subscribe("/user/queue/news", id="own")
    renamed = await User.objects.aget(pk=alice.pk)
    renamed.username = "alice-2"
    await renamed.asave()
    assert await client.error() == ("login-ended", 1008)
