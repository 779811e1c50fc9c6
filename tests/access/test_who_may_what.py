"""
Who may do what: each kind of rule, for each person, at each door.

Alice owns what is asked for. Bob is in the team, and a service. Charlie has nothing but a name that
a function knows. Sam is of the staff, Petra has a permission, Serge is a service. Mallory does not
log in.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from realtime import sign
from realtime.broker import apublish
from realtime.destinations.names import quoted
from realtime.layer import tickets
from realtime.stomp import Frame
from tests.kit.local_client import LocalClient, local_client, local_node
from tests.kit.users import make_user
from tests.ruled_routing import KINDS
from tests.sse.test_stream import Stream

pytestmark = pytest.mark.django_db(transaction=True)

SERVICES: Final = {"bob", "serge"}
USERS: Final = {"alice", "bob", "charlie", "sam", "petra", "serge"}
ALL: Final = USERS | {"mallory"}

#: Whom each kind of rule lets do something with what is Alice's.
ALLOWED: dict[str, set[str]] = {
    "anyone": ALL,
    "authenticated": USERS,
    "staff": {"sam"},
    "group": {"bob"},
    "permission": {"petra"},
    "owner": {"alice"},
    "service": SERVICES,
    "function": {"charlie"},
    "coroutine": {"charlie"},
    "group-or-owner": {"alice", "bob"},
    "group-or-coroutine": {"bob", "charlie"},
    "at-once-or-function": {"sam", "charlie"},
    "none": set(),
}

Tokens = dict[str, str]


def make_people() -> Tokens:
    permissions = {
        "bob": ["notifications.publish"],
        "serge": ["notifications.publish"],
        "petra": ["auth.view_user"],
    }
    for name in sorted(USERS):
        make_user(name, *permissions.get(name, []), is_staff=name == "sam")
    team = Group.objects.create(name="team")
    team.user_set.add(User.objects.get(username="bob"))
    return {user.username: Token.objects.create(user=user).key for user in User.objects.all()}


@pytest.fixture
async def people(settings: Any, transactional_db: None) -> AsyncIterator[Tokens]:
    """The tokens of all who log in."""
    settings.STOMP_ROUTING = "tests.ruled_routing"
    settings.STOMP_ANONYMOUS = True
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    tokens = await sync_to_async(make_people)()
    async with local_node():
        yield tokens


def login(people: Tokens, name: str) -> dict[str, str]:
    return {"authorization": f"Token {people[name]}"} if name in people else {}


def soft(people: Tokens, name: str) -> Any:
    """Return a client that goes on when it is refused something."""
    return local_client(**login(people, name), **{"x-soft-errors": "true"})


async def may(client: LocalClient, command: str, headers: dict[str, str]) -> str:
    """Return "" if the client may do this, or else the code that it is told."""
    await client.send(command, {**headers, "receipt": "r"}, b"body")
    while True:
        frame = await client.frame()
        if frame.headers.get("receipt-id") == "r":
            return frame.headers.get("refused", "")


Found = dict[str, set[str]]


async def by_stomp(people: Tokens, command: str, form: str, **headers: str) -> Found:
    """Return who may do something with a destination of each kind."""
    found: Found = {kind: set() for kind in KINDS}
    for name in sorted(ALL):
        async with soft(people, name) as client:
            for kind in KINDS:
                destination = form.format(kind)
                asked = {"destination": destination, "id": kind, **headers}
                code = await may(client, command, asked)
                assert code in ("", f"{command.lower()}-denied", "history-denied")
                if not code:
                    found[kind].add(name)
    return found


async def test_subscribe(people: Tokens) -> None:
    assert await by_stomp(people, "SUBSCRIBE", "/topic/{}/alice/a") == ALLOWED


async def test_subscribe_to_a_pattern(people: Tokens) -> None:
    assert await by_stomp(people, "SUBSCRIBE", "/topic/{}/alice/*") == ALLOWED
    assert await by_stomp(people, "SUBSCRIBE", "/topic/{}/alice/**") == ALLOWED


async def test_subscribe_to_a_pattern_with_all_names(people: Tokens) -> None:
    everybodys = {**ALLOWED, "owner": set(), "group-or-owner": {"bob"}}
    assert await by_stomp(people, "SUBSCRIBE", "/topic/{}/*/a") == everybodys


async def test_subscribe_with_a_look_back(people: Tokens) -> None:
    form = "/topic/{}/alice/a"
    assert await by_stomp(people, "SUBSCRIBE", form, replay="1") == ALLOWED
    position = await apublish("/topic/anyone/alice/a", "first")
    last = {"last-message-id": position}
    assert await by_stomp(people, "SUBSCRIBE", form, **last) == ALLOWED


async def test_send(people: Tokens) -> None:
    assert await by_stomp(people, "SEND", "/topic/{}/alice/a") == ALLOWED


async def test_send_to_the_application(people: Tokens) -> None:
    assert await by_stomp(people, "SEND", "/app/{}/alice") == ALLOWED


async def test_ask_the_application(people: Tokens) -> None:
    assert await by_stomp(people, "SUBSCRIBE", "/app/{}/alice") == ALLOWED


async def commits(people: Tokens, name: str, destination: str) -> bool:
    async with local_client(**login(people, name)) as client:
        await client.request("BEGIN", {"transaction": "t"})
        await client.send("SEND", {"destination": destination, "transaction": "t"})
        await client.send("COMMIT", {"transaction": "t", "receipt": "done"})
        frame = await client.frame()
        assert frame.headers.get("receipt-id") == "done" or frame.headers["code"] == "send-denied"
        return frame.command == "RECEIPT"


async def test_commit_what_was_sent(people: Tokens) -> None:
    found: Found = {
        kind: {each for each in ALL if await commits(people, each, f"/topic/{kind}/alice/a")}
        for kind in KINDS
    }
    assert found == ALLOWED


async def test_listen_to_events(people: Tokens) -> None:
    found: Found = {kind: set() for kind in KINDS}
    for kind in KINDS:
        for name in ALL:
            stream = Stream(f"topic=/topic/{kind}/alice/a", **login(people, name))
            status, _ = await stream.start()
            assert status in (200, 403)
            if status == 200:
                found[kind].add(name)
                await stream.leave()
    assert found == ALLOWED


def by_api(people: Tokens, call: Callable[[APIClient, str], Any]) -> Found:
    found: Found = {kind: set() for kind in KINDS}
    for name in ALL:
        client = APIClient()
        client.credentials(
            **{f"HTTP_{key.upper()}": value for key, value in login(people, name).items()}
        )
        for kind in KINDS:
            answer = call(client, f"/topic/{kind}/alice/a")
            assert answer.status_code in (200, 202, 403 if name in USERS else 401)
            if answer.status_code < 300:
                found[kind].add(name)
    return found


async def test_look_back_by_the_api(people: Tokens) -> None:
    def look_back(client: APIClient, topic: str) -> Any:
        return client.get("/api/notification", {"topic": topic})

    found = await sync_to_async(by_api)(people, look_back)
    assert found == {kind: allowed & USERS for kind, allowed in ALLOWED.items()}


@pytest.mark.parametrize("as_list", [False, True], ids=["one", "a list"])
async def test_publish_by_the_api(people: Tokens, as_list: bool) -> None:
    def publish(client: APIClient, topic: str) -> Any:
        one = {"topic": topic, "message": "hello"}
        answer = client.post("/api/notification", [one] if as_list else one, format="json")
        if answer.status_code == 400 and as_list:
            assert "you may not publish" in answer.json()[0]["errors"]["topic"][0]
            answer.status_code = 403
        return answer

    found = await sync_to_async(by_api)(people, publish)
    assert found == {kind: allowed & SERVICES for kind, allowed in ALLOWED.items()}


# Destinations that look alike, and those that need no rule


@pytest.mark.parametrize(
    ("destination", "code"),
    [
        # A pattern is allowed if all of it is.
        ("/topic/half/open", ""),
        ("/topic/half/other", ""),
        ("/topic/half/other/*", ""),
        ("/topic/half/staff", "subscribe-denied"),
        ("/topic/half/*", "subscribe-denied"),
        ("/topic/half/**", "subscribe-denied"),
        ("/topic/*/open", "subscribe-denied"),
        ("/topic/**", "subscribe-denied"),
        ("/topic/secret/**", "subscribe-denied"),
        # A spelling is a name of its own, and what no rule covers is denied.
        ("/topic/half/open/", ""),
        ("/topic/half//open", ""),
        ("/topic//half/open", "subscribe-denied"),
        ("/topic/./half/open", "subscribe-denied"),
        ("/topic/half/../secret/a", ""),
        ("/topic/HALF/open", "subscribe-denied"),
        ("/topic/half%2Fopen", "subscribe-denied"),
        ("/topic/hälf/open", "subscribe-denied"),
        ("/topic/halfopen", "subscribe-denied"),
        # One's own needs no rule, and nobody hears that of another.
        ("/user/queue/a", ""),
        ("/user/queue/a/**", ""),
        ("/app/none/charlie", "subscribe-denied"),
        ("/app/auth/refresh", "subscribe-denied"),
    ],
)
async def test_a_destination_is_what_it_is_byte_by_byte(
    people: Tokens, destination: str, code: str
) -> None:
    async with soft(people, "charlie") as client:
        assert await may(client, "SUBSCRIBE", {"destination": destination, "id": "0"}) == code


@pytest.mark.parametrize(
    ("command", "destination", "code"),
    [
        ("SUBSCRIBE", "/user/alice/queue/a", "bad-destination"),
        ("SUBSCRIBE", "/user/charlie/queue/a", "bad-destination"),
        ("SUBSCRIBE", "/user/*/queue/a", "bad-destination"),
        ("SUBSCRIBE", "/user/**", "bad-destination"),
        ("SUBSCRIBE", "/temp-queue/a", "bad-destination"),
        ("SUBSCRIBE", "/temp-queue/*/a", "bad-destination"),
        ("SUBSCRIBE", "/system/users", "unknown-destination"),
        ("SEND", "/system/users", "unknown-destination"),
        ("SEND", "system/users", "unknown-destination"),
        ("SEND", "/user/queue/a", "bad-destination"),
        ("SEND", "/topic/anyone/alice/*", "bad-destination"),
        ("SUBSCRIBE", "/TOPIC/half/open", "unknown-destination"),
        ("SUBSCRIBE", "//topic/half/open", "unknown-destination"),
    ],
)
async def test_what_nobody_hears_by_name_is_an_error(
    people: Tokens, command: str, destination: str, code: str
) -> None:
    async with soft(people, "charlie") as client:
        await client.send(command, {"destination": destination, "id": "0"}, b'["1"]')
        assert await client.error() == (code, 1002)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        *((name, name) for name in ("josé", "*", "a b", "al@x.org")),
        *((name, quoted(name)) for name in ("josé", "*", "a b", "al@x.org", "a/b", "50%", "%2A")),
    ],
)
async def test_a_user_of_any_name_hears_what_is_theirs(
    people: Tokens, name: str, written: str
) -> None:
    user = await sync_to_async(make_user)(name)
    token = await Token.objects.acreate(user=user)
    async with (
        local_client(authorization=f"Token {token.key}") as client,
        local_client(**login(people, "bob")) as bob,
    ):
        await client.subscribe("/user/queue/news")
        await bob.request("SEND", {"destination": f"/user/{written}/queue/news"}, b"yours")
        assert (await client.frame("MESSAGE")).body == b"yours"


@pytest.mark.parametrize("spelling", ["admin", "%61dmin", "ad%6Din", "ad%6din"])
async def test_a_rule_for_a_user_counts_for_each_spelling_of_the_name(
    people: Tokens, spelling: str
) -> None:
    destination = f"/user/{spelling}/queue/a"
    async with soft(people, "serge") as client:
        assert await may(client, "SEND", {"destination": destination}) == "send-denied"
        assert await may(client, "SEND", {"destination": "/user/alice/queue/a"}) == ""
    api = APIClient(HTTP_AUTHORIZATION=f"Token {people['serge']}")
    post = sync_to_async(api.post)
    answer = await post("/api/notification", {"topic": destination, "message": ""}, format="json")
    assert answer.status_code == 403


@pytest.mark.parametrize("destination", ["/user/alice/queue/a", "/temp-queue/session/a"])
async def test_only_services_send_to_others(people: Tokens, destination: str) -> None:
    found = set()
    for name in ALL:
        async with soft(people, name) as client:
            if not await may(client, "SEND", {"destination": destination}):
                found.add(name)
    assert found == SERVICES | ({"alice"} if "alice" in destination else set())


async def test_replies_need_no_rule(people: Tokens) -> None:
    async with local_client(**login(people, "charlie")) as client:
        asked = {"destination": "/app/function/alice", "reply-to": "/temp-queue/r"}
        await client.request("SEND", asked)
        message = await client.frame("MESSAGE")
        assert (message.headers["subscription"], message.body) == ("/temp-queue/r", b"taken")


@pytest.mark.parametrize("name", ["alice", "mallory"])
@pytest.mark.parametrize(
    "forged", ["sender", "Sender", "SENDER", "sEnDeR", " sender", "sender\n", "\xa0Sender\ufeff"]
)
@pytest.mark.parametrize("transaction", [False, True], ids=["alone", "in a transaction"])
async def test_the_sender_is_who_sent_it(
    people: Tokens, name: str, forged: str, transaction: bool
) -> None:
    sent = {forged: "admin", **({"transaction": "t"} if transaction else {})}
    async with (
        local_client(**login(people, "bob")) as bob,
        local_client(**login(people, name)) as client,
    ):
        for number, topic in enumerate(("/topic/said/a", "/topic/anyone/alice/a")):
            await bob.subscribe(topic, id=f"{number}")
            if transaction:
                await client.request("BEGIN", {"transaction": "t"})
            await client.request("SEND", {"destination": topic, **sent}, b"hello")
            if transaction:
                await client.request("COMMIT", {"transaction": "t"})
            message = await bob.frame("MESSAGE")
            said = {key: each for key, each in message.headers.items() if "sender" in key.lower()}
            known = name in USERS and topic == "/topic/said/a"
            assert said == ({"sender": name} if known else {})


async def test_who_may_look_back_may_be_fewer(people: Tokens) -> None:
    await apublish("/topic/past/a", "first")
    for name, code in (("charlie", "history-denied"), ("sam", "")):
        async with soft(people, name) as client:
            asked = {"destination": "/topic/past/a", "id": "0"}
            assert await may(client, "SUBSCRIBE", {**asked, "replay": "1"}) == code
            assert await may(client, "SUBSCRIBE", {**asked, "id": "1"}) == ""
            assert await may(client, "SUBSCRIBE", {**asked, "id": "2", "replay": "all"}) == code
        stream = Stream("topic=/topic/past/a", **login(people, name), last_event_id="x-1")
        assert (await stream.start())[0] == (403 if code else 200)


# What is brought besides


async def ticket(name: str, *destinations: str) -> str:
    user = await User.objects.aget(username=name)
    return await sync_to_async(tickets.make)(str(user.pk), destinations)


async def test_a_ticket_is_for_its_destinations_at_each_door(people: Tokens) -> None:
    good = {"SUBSCRIBE": ["/topic/service/alice/a", "/user/queue/a"], "SEND": ["/app/group/alice"]}
    bad = {
        "SUBSCRIBE": ["/topic/service/alice/b", "/topic/service/alice/*", "/user/queue/b"],
        "SEND": ["/topic/service/alice/b", "/app/authenticated/alice"],
    }
    made = [each for destinations in good.values() for each in destinations]
    async with local_client(
        ticket=await ticket("bob", *made), **{"x-soft-errors": "true"}
    ) as client:
        for cases, denied in ((good, False), (bad, True)):
            for command, destinations in cases.items():
                for each in destinations:
                    code = await may(client, command, {"destination": each, "id": each})
                    assert code == (f"{command.lower()}-denied" if denied else "")
    for topic, status in (("a", 200), ("b", 403)):
        query = f"topic=/topic/service/alice/{topic}&ticket={await ticket('bob', *made)}"
        stream = Stream(query)
        assert (await stream.start())[0] == status
    api = APIClient()
    for topic, status in (("a", 202), ("b", 403)):
        url = f"/api/notification?ticket={await ticket('bob', *made)}"
        body = {"topic": f"/topic/service/alice/{topic}", "message": "hello"}
        assert (await sync_to_async(api.post)(url, body, format="json")).status_code == status
        query = {"topic": body["topic"], "ticket": await ticket("bob", *made)}
        answer = await sync_to_async(api.get)("/api/notification", query)
        assert answer.status_code == (200 if status == 202 else 403)


async def test_a_ticket_gets_no_ticket_and_is_never_for_nothing(people: Tokens) -> None:
    api = APIClient()
    url = f"/api/ticket?ticket={await ticket('bob', '/topic/service/alice/a')}"
    assert (await sync_to_async(api.post)(url)).status_code == 403
    api.credentials(HTTP_AUTHORIZATION=f"Token {people['bob']}")
    post = sync_to_async(api.post)
    assert (await post("/api/ticket", {"destinations": []}, format="json")).status_code == 400
    assert (await post("/api/ticket", {"destinations": ["/queue/a"]}, format="json")).status_code
    assert (await post("/api/ticket")).status_code == 201


SIGNED: Final = "/topic/signed/a"


@pytest.mark.parametrize(
    ("name", "token", "destination", "code"),
    [
        ("charlie", lambda: sign(SIGNED), SIGNED, ""),
        ("mallory", lambda: sign(SIGNED), SIGNED, ""),
        ("charlie", lambda: sign(SIGNED, user="charlie"), SIGNED, ""),
        ("charlie", lambda: sign("/topic/signed/**"), SIGNED, ""),
        ("charlie", lambda: sign("/topic/signed/**"), "/topic/signed/*", ""),
        ("charlie", lambda: sign("/topic/signed/*"), "/topic/signed/**", "bad-token"),
        ("charlie", lambda: sign(SIGNED), "/topic/signed/b", "bad-token"),
        ("charlie", lambda: sign(SIGNED, user="alice"), SIGNED, "bad-token"),
        ("mallory", lambda: sign(SIGNED, user="alice"), SIGNED, "bad-token"),
        ("charlie", lambda: sign(SIGNED)[:-1], SIGNED, "bad-token"),
        ("charlie", lambda: "", SIGNED, "bad-token"),
        ("charlie", lambda: sign(SIGNED), "/topic/anyone/alice/a", "bad-token"),
    ],
)
async def test_a_signed_token_lets_its_bearer_hear_what_it_says(
    people: Tokens, name: str, token: Callable[[], str], destination: str, code: str
) -> None:
    text = token()
    asked = {"destination": destination, "id": "0"}
    async with soft(people, name) as client:
        assert await may(client, "SUBSCRIBE", {**asked, "token": text}) == code
        again = {**asked, "id": "1"}
        rule = "" if destination == "/topic/anyone/alice/a" else "subscribe-denied"
        assert await may(client, "SUBSCRIBE", again) == rule
        assert await may(client, "SEND", {"destination": SIGNED, "token": text}) == "send-denied"
    if text:
        stream = Stream(f"topic={destination}&token={text}", **login(people, name))
        status, _ = await stream.start()
        assert status == (403 if code and rule else 200)  # each topic by a token or by a rule


async def test_a_refusal_says_what_and_not_why_and_the_session_goes_on(people: Tokens) -> None:
    async with soft(people, "charlie") as client:
        await client.send("SUBSCRIBE", {"destination": "/topic/staff/a/b", "id": "0"})
        told: Frame = await client.frame("MESSAGE")
        assert told.headers["refused"] == "subscribe-denied"
        assert told.headers["subscription"] == "0"
        assert told.body.decode() == "you may not subscribe to '/topic/staff/a/b'"
    stream = Stream("topic=/topic/staff/a/b", **login(people, "charlie"))
    status, content = await stream.answer()
    assert (status, content["code"]) == (403, "subscribe-denied")
    assert "staff |" not in json.dumps(content)
