"""The short way of a POST: it answers as Django does, byte for byte, and never who may not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import unquote
from uuid import uuid4

import pytest
import redis
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import Group, Permission, User
from django.db import OperationalError
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token

from gateway.asgi import application
from gateway.middleware import OF_THE_GATEWAY
from notifications.api import throttle, views
from notifications.api.throttle import RequestCounts
from notifications.api.ways import callers as callers_module
from notifications.api.ways import short
from notifications.api.ways.callers import Caller, Callers, callers
from realtime.access import authentication, topic_quota
from realtime.access.credentials import Login
from realtime.access.topic_quota import TopicQuota
from realtime.counters import counters
from realtime.hub.notices import hear_notices, tell
from realtime.sessions.node import this_node
from realtime.sessions.revocation import USERS
from tests.api.test_notification_api import Listener
from tests.api.test_throttle import Clock
from tests.kit import tokens
from tests.kit.local_client import TIMEOUT, local_node, until
from tests.kit.users import make_user
from tests.kit.valkeys import Cluster, closing

pytestmark = pytest.mark.django_db(transaction=True)

PUBLISH: Final = "/api/v1/publish"
NOTIFY: Final = "/api/notification"
TOPIC: Final = "/topic/signed/a"
GOOD: Final[dict[str, Any]] = {"topic": TOPIC, "message": "saved"}
#: The id of a message, and what a cookie has, which are others each time.
ID: Final = re.compile(rb'"id": ?"[^"]+"')
COOKIE: Final = re.compile(rb"csrftoken=\w+|expires=[^;]+")


@dataclass(frozen=True)
class Answer:
    """What came back; ``short`` says by which way."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    short: bool = field(compare=False)


class Api:
    """Requests to the application, and the way that each of them took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ways: list[bool] = []
        self._recall = callers.recall
        self._monkeypatch = monkeypatch
        self.authorization: dict[str, str] = {}
        take = short.take

        def noted(*request: Any) -> short.Taken | None:
            taken = take(*request)
            self._ways.append(taken is not None)
            return taken

        monkeypatch.setattr(short, "take", noted)

    async def call(
        self,
        body: Any = GOOD,
        path: str = NOTIFY,
        headers: dict[str, str | None] | None = None,
        method: str = "POST",
    ) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._ways.clear()
        scope = self.scope(content, path, headers, method)
        request = ApplicationCommunicator(application, scope)
        await request.send_input({"type": "http.request", "body": content})
        start = await request.receive_output(TIMEOUT)
        answer, more = b"", True
        while more:
            part = await request.receive_output(TIMEOUT)
            answer, more = answer + part.get("body", b""), part.get("more_body", False)
        await request.wait(TIMEOUT)
        return Answer(start["status"], _headers(start, answer, method), answer, any(self._ways))

    def scope(
        self,
        content: bytes,
        path: str = NOTIFY,
        headers: dict[str, str | None] | None = None,
        method: str = "POST",
    ) -> dict[str, Any]:
        address, _, query = path.partition("?")
        usual: dict[str, str | None] = {
            "host": "localhost",
            "content-type": "application/json",
            "content-length": str(len(content)),
            **self.authorization,
        }
        given = usual | (headers or {})
        return {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(address),
            "raw_path": address.encode(),
            "query_string": query.encode(),
            "headers": [
                (name.encode(), each.encode("latin-1"))
                for name, value in given.items()
                for each in ([] if value is None else value.split("\n"))
            ],
            "client": ["192.0.2.7", 7],
            "server": ["127.0.0.1", 8080],
        }

    async def long(self, *request: Any, **more: Any) -> Answer:
        """Go the long way, whoever is known."""
        with self._monkeypatch.context() as patch:
            patch.setattr(callers, "recall", lambda key: None)
            answer = await self.call(*request, **more)
        assert not answer.short
        return answer

    async def become(self, user: User) -> None:
        token, _ = await Token.objects.aget_or_create(user=user)
        self.authorization = {"authorization": f"Token {token.key}"}
        await settled()


def _headers(start: Any, body: bytes, method: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers in their order; that of the length is right, and goes by the id's."""
    headers = [(bytes(name), bytes(value)) for name, value in start["headers"]]
    for name, value in headers:
        if name.lower() == b"content-length" and method != "HEAD":
            assert int(value) == len(body)
    return tuple(
        (name, b"" if name.lower() == b"content-length" else value) for name, value in headers
    )


def same(answer: Answer) -> tuple[Any, ...]:
    """Return what has to be the same by both ways; a page has a token that never is."""
    if dict(answer.headers).get(b"Content-Type", b"").startswith(b"text/html"):
        return answer.status, b""
    headers = [(name, COOKIE.sub(b"", value)) for name, value in answer.headers]
    return answer.status, headers, ID.sub(b'"id":"..."', answer.body)


@pytest.fixture(autouse=True)
def routing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STOMP_ROUTING = "tests.ruled_routing"
    settings.STOMP_JWT = {"algorithms": ["HS256"], "key": tokens.key_text("HS256")}
    monkeypatch.setattr(throttle, "counts", RequestCounts())
    monkeypatch.setattr(topic_quota, "quota", TopicQuota())


async def settled() -> None:
    """Return when this node has heard of all changes until now."""
    heard: list[Any] = []
    mark = [uuid4().hex]
    await hear_notices(this_node().hub, USERS, heard.append)
    await sync_to_async(tell)(USERS, mark)
    await until(lambda: mark in heard)


@asynccontextmanager
async def hearing_node() -> AsyncIterator[None]:
    """Let a node live that hears which users change."""
    async with local_node():
        this_node().start()
        await until(lambda: callers.hears is not None)
        yield
    assert callers.hears is None


@pytest.fixture
async def hearing(transactional_db: None) -> AsyncIterator[None]:
    async with hearing_node():
        yield


@pytest.fixture
async def service(hearing: None) -> User:
    return await sync_to_async(make_user)("alice", "notifications.publish")


@pytest.fixture
async def api(service: User, monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api(monkeypatch)
    await api.become(service)
    return api


def text(topic: str, message: str = '"x"', more: str = "") -> bytes:
    return f'{{"topic": "{topic}", "message": {message}{more}}}'.encode()


#: What is posted, where, with which headers; and whether it may go the short way.
Case = tuple[Any, str, dict[str, str | None], bool]

#: The same at all addresses.
BODIES: Final = {
    name: (body, is_short)
    for name, body, is_short in [
        ("a text", GOOD, True),
        ("an object", GOOD | {"message": {"a": [1, None, True]}}, True),
        ("null", GOOD | {"message": None}, True),
        ("an empty text", GOOD | {"message": ""}, True),
        ("all of Unicode", GOOD | {"message": "\u2028 \u00e4 \U0001f600 \x00"}, True),
        ("white space around it", b" \r\n\t" + json.dumps(GOOD).encode() + b"\n", True),
        ("a key twice", text(TOPIC, '"x"', ', "message": "y"'), True),
        ("a topic twice", b'{"topic": "/topic/secret/a", "topic": "/topic/signed/a", "message": 1}',
         True),
        ("a list of one", [GOOD], True),
        ("a list", [GOOD, GOOD | {"message": 2}, GOOD], True),
        ("the longest list", [GOOD] * short.MAX_MESSAGES, True),
        ("a longer list", [GOOD] * (short.MAX_MESSAGES + 1), False),
        ("too long a list", [GOOD] * 1001, False),
        ("an empty list", [], False),
        ("a list with something bad", [GOOD, {"topic": "x"}, GOOD | {"topic": "/topic/secret/a"}],
         False),
        ("a list of what is bad", [1, None, []], False),
        ("a list in a list", [[GOOD]], False),
        ("a large message", GOOD | {"message": "x" * 60_000}, True),
        ("too large a message", GOOD | {"message": "x" * 65_537}, False),
        ("much white space", json.dumps(GOOD).encode() + b" " * short.MAX_BYTES, False),
        ("a large request", b" " * 5_000_000, False),
        ("nothing", b"", False),
        ("no JSON", b"topic=/topic/a", False),
        ("half of it", b'{"topic": "/topic/signed/a", "mess', False),
        ("more after it", json.dumps(GOOD).encode() + b"x", False),
        ("not UTF-8", b"\xff\xfe", False),
        ("a byte order mark", b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), False),
        ("half of a surrogate pair", text(TOPIC, '"\\ud800"'), False),
        ("no number", text(TOPIC, "NaN"), False),
        ("deep nesting", b"[" * 60_000, False),
        ("deep nesting in it", text(TOPIC, "[" * 900 + "]" * 900), True),
        ("a text alone", b'"a"', False),
        ("a number alone", b"1", False),
        ("no topic", {"message": "x"}, False),
        ("no message", {"topic": TOPIC}, False),
        ("a topic of another type", GOOD | {"topic": 1}, False),
        ("a pattern", GOOD | {"topic": "/topic/**"}, False),
        ("no destination", GOOD | {"topic": "toast"}, False),
        ("an application's", GOOD | {"topic": "/app/a"}, False),
        ("a system's", GOOD | {"topic": "/system/users"}, False),
        ("what no rule covers", GOOD | {"topic": "/topic/nowhere"}, False),
        ("what a rule denies", GOOD | {"topic": "/topic/secret/a"}, False),
        ("what a function decides", GOOD | {"topic": "/topic/function/alice/a"}, False),
        ("what an async one decides", GOOD | {"topic": "/topic/coroutine/alice/a"}, False),
        ("a user", GOOD | {"topic": "/user/bob/queue/a"}, True),
        ("a user, quoted otherwise", GOOD | {"topic": "/user/b\u00f6b/queue/a"}, False),
    ]
}  # fmt: skip

PATHS: Final = (NOTIFY, PUBLISH, f"{NOTIFY}/", f"{PUBLISH}/", "/api/notific%61tion")

HEADERS: Final[dict[str, Case]] = {
    f"{name}: {value!r:.60}": (GOOD, NOTIFY, {name: value}, is_short)
    for name, value, is_short in [
        ("content-type", "application/json; charset=utf-8", True),
        ("content-type", "Application/JSON;charset=UTF8", True),
        ("content-type", 'application/json; charset="utf-8"', True),
        ("content-type", "application/json; charset=latin-1", False),
        ("content-type", "application/json; charset=none-such", False),
        ("content-type", "application/x-www-form-urlencoded", False),
        ("content-type", "multipart/form-data; boundary=x", False),
        ("content-type", "text/plain", False),
        ("content-type", "*/*", False),
        ("content-type", "", False),
        ("content-type", None, False),
        ("content-encoding", "identity", True),
        ("content-encoding", "gzip", False),
        ("content-length", None, True),
        ("accept", "*/*", True),
        ("accept", "application/json", True),
        ("accept", "application/json, text/plain, */*", True),
        ("accept", "application/json; indent=4", False),
        ("accept", "*/*; indent=4", False),
        ("accept", "application/json\ntext/html", True),
        ("accept", "text/html", False),
        ("accept", "text/html, application/json", True),
        ("accept", "text/plain", False),
        ("accept", "x" * 2000, False),
        ("accept-language", "zh-hans", True),
        ("host", "127.0.0.1:8080", True),
        ("host", "elsewhere.example", False),
        ("host", "no host", False),
        ("host", None, True),
        ("origin", "https://good.example", False),
        ("origin", "https://bad.example", False),
        ("cookie", "sessionid=x; csrftoken=y", False),
        ("referer", "https://elsewhere.example/", True),
        ("user-agent", "curl/8", True),
        ("x-request-id", "7", True),
        ("x-forwarded-for", "198.51.100.1", True),
        ("x-forwarded-proto", "https", True),
        ("x-http-method-override", "GET", True),
        ("if-none-match", "*", True),
        ("transfer-encoding", "chunked", True),
        ("idempotency-key", "x" * 255, True),
        ("idempotency-key", "\u00e4", True),
        ("idempotency-key", "a\nb", True),
        ("idempotency-key", "x" * 256, False),
        ("idempotency-key", "", False),
        ("authorization", None, False),
        ("authorization", "", False),
        ("authorization", "Token wrong\nToken wrong", False),
        ("authorization", "Token", False),
        ("authorization", "Token wrong", False),
        ("authorization", "Token \u00ff", False),
        ("authorization", "Bearer wrong", False),
        ("authorization", "Basic YTpi", False),
        ("authorization", f"Bearer {tokens.token('HS256')}", True),
        ("authorization", f"Token {tokens.token('HS256')}", True),
        ("authorization", f"Bearer {tokens.token('HS256', exp=1)}", False),
        ("authorization", f"Bearer {tokens.token('HS256', number=1)}", False),
        ("authorization", f"Bearer {tokens.token('HS256', sub='nobody')}", False),
    ]
}  # fmt: skip

MORE: Final[dict[str, Case]] = {
    "a field that is not read": (GOOD | {"more": 1}, NOTIFY, {}, True),
    "a field that is unknown": (GOOD | {"more": 1}, PUBLISH, {}, False),
    "headers": (GOOD | {"headers": {"colour": "r\u00f6t"}}, PUBLISH, {}, True),
    "headers of others": (GOOD | {"headers": {"sender": "x"}}, PUBLISH, {}, False),
    "too many headers": (GOOD | {"headers": {f"{n}": "" for n in range(101)}}, PUBLISH, {}, False),
    "too large headers": (GOOD | {"headers": {"a": "x" * 9000}}, PUBLISH, {}, False),
    "a key of its own": (GOOD | {"idempotency_key": "one"}, PUBLISH, {}, True),
    "no key": (GOOD | {"idempotency_key": ""}, PUBLISH, {}, False),
    "a key of another type": (GOOD | {"idempotency_key": 1}, PUBLISH, {}, False),
    "keys of a list": ([GOOD, GOOD], PUBLISH, {"idempotency-key": "two"}, True),
    "the format": (GOOD, f"{NOTIFY}?format=json", {}, False),
    "another format": (GOOD, f"{NOTIFY}?format=api", {}, False),
    "a wait": (GOOD, f"{PUBLISH}?wait=deliver&seconds=0", {}, False),
    "a wait for nothing": (GOOD, f"{PUBLISH}?wait=x", {}, False),
    "a ticket": (GOOD, f"{NOTIFY}?ticket=x", {"authorization": None}, False),
    "another view": ({"x": 1}, "/api/ticket", {}, False),
    "no view": (GOOD, "/api/v1/nothing", {}, False),
}  # fmt: skip

TABLES: Final[dict[str, dict[str, Case]]] = {
    **{
        path: {name: (body, path, {}, is_short) for name, (body, is_short) in BODIES.items()}
        for path in PATHS
    },
    "headers": HEADERS,
    "more": MORE,
}


@pytest.mark.parametrize("table", TABLES)
async def test_both_ways_answer_the_same(api: Api, table: str, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://good.example"]
    wrong = {
        name: found for name, case in TABLES[table].items() if (found := await differs(api, *case))
    }
    assert not wrong


async def differs(
    api: Api, body: Any, path: str, headers: dict[str, str | None], is_short: bool
) -> Any:
    """Return what is not the same by both ways, or that it was not the way that it should be."""
    # Once with something good: so that a caller is known if one may be; and so that the topic is.
    for each in ([GOOD, GOOD | {"topic": "/user/bob/queue/a"}], body):
        await api.long(each, path, {**headers, "idempotency-key": None})
    counts = [counters.published["api"]]
    answers = []
    for way in (api.call, api.long):
        answers.append(await way(body, path, headers))
        counts.append(counters.published["api"])
    answer, long = answers
    if answer.short is not is_short:
        return "the way", answer
    if counts[2] - counts[1] != counts[1] - counts[0]:
        return "what is counted", counts
    if "idempotency-key" in headers and answer.status == 202 and answer.body != long.body:
        return "the id", answers
    return answers if same(answer) != same(long) else None


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "post"])
async def test_other_methods_are_django_s(api: Api, method: str) -> None:
    await api.long()
    answer = await api.call(method=method)
    assert not answer.short
    assert same(answer) == same(await api.long(method=method))


async def test_the_short_way_publishes_what_the_long_one_does(
    api: Api, redis_client: redis.Redis
) -> None:
    topic = f"/topic/signed/{uuid4().hex}"
    content = {"topic": topic, "message": {"a": "\u00e4"}, "headers": {"colour": "red"}}
    await api.long(content, PUBLISH)
    listener = await sync_to_async(Listener)(redis_client, topic)
    answers = [await api.long(content, PUBLISH), await api.call(content, PUBLISH)]
    assert [each.short for each in answers] == [False, True]
    heard = [await sync_to_async(listener.message)() for _ in answers]
    listener.pubsub.close()
    ids = [json.loads(each.body)["id"] for each in answers]
    assert [each.id for each in heard] == ids
    assert heard[0].body == heard[1].body
    assert dict(heard[0].headers) == dict(heard[1].headers)


@pytest.mark.parametrize("first", ["short", "long"])
async def test_a_key_is_one_by_both_ways(api: Api, first: str) -> None:
    await api.long()
    key: dict[str, str | None] = {"idempotency-key": uuid4().hex}
    ways: list[Callable[..., Awaitable[Answer]]] = [api.call, api.long]
    for body in (GOOD, [GOOD, GOOD]):
        answers = [
            await way(body, headers=key) for way in (ways if first == "short" else ways[::-1])
        ]
        assert answers[0].short is not answers[1].short
        assert answers[0].body == answers[1].body


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", [NOTIFY, PUBLISH])
async def test_it_is_the_same_with_debug(api: Api, settings: Any, debug: bool, path: str) -> None:
    settings.DEBUG = debug
    await api.long(path=path)
    answer = await api.call(path=path)
    assert answer.short
    assert same(answer) == same(await api.long(path=path))


# Redis and the database


class Lost(redis.ConnectionError):
    pass


def lost(*_: Any, **__: Any) -> Any:
    raise Lost("gone")


def lost_at_once(*_: Any, **__: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(Lost("gone"))
    return future


def lost_later(*_: Any, **__: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.get_loop().call_later(0.05, future.set_exception, Lost("gone"))
    return future


def in_part(messages: Any, **_: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_result([b"1-1", Lost("gone")][-len(messages) :])
    return future


@pytest.mark.parametrize("fail", [lost_at_once, lost_later, in_part])
@pytest.mark.parametrize("body", [GOOD, [GOOD, GOOD]])
async def test_what_redis_does_not_take_is_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: Any, fail: Any, body: Any
) -> None:
    await api.long()
    monkeypatch.setattr(views, "publish_many", lost)
    long = await api.long(body)
    said = [(each.name, each.getMessage()) for each in caplog.records]
    caplog.clear()
    views.refusals._noted.clear()
    monkeypatch.setattr(short, "apublish_many", fail)
    answer = await api.call(body)
    assert answer.short
    assert (answer.status, dict(answer.headers)[b"Retry-After"]) == (503, b"2")
    assert same(answer) == same(long)
    assert [each for each in said if each[0] == "django.request"] == [
        (each.name, each.getMessage()) for each in caplog.records if each.name == "django.request"
    ]
    assert "Service Unavailable: /api/notification" in dict(said).values()


async def test_nobody_is_recalled_while_the_node_may_miss_a_change(api: Api) -> None:
    await api.long()
    (shard,) = this_node().hub._layer.open_links().shards
    assert (await api.call()).short
    era = callers.era
    shard.subscriber.link.leave(Lost("cut"))
    await until(lambda: not this_node().hub.hears)
    assert not (await api.call()).short
    await until(lambda: this_node().hub.hears)
    assert callers.era > era  # all were forgotten: what was told meanwhile was not heard
    await api.long()
    assert (await api.call()).short


async def test_while_the_database_is_away_known_services_publish(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("away")

    await api.long()
    monkeypatch.setattr(authentication, "_owners", away)
    assert (await api.call()).status == 202
    assert (await api.long()).status == 503
    unknown = await api.call(headers={"user-agent": "another"})
    assert (unknown.status, unknown.short) == (503, False)


# Who may not any more


def delete_token(user: User) -> None:
    Token.objects.filter(user=user).delete()


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


def delete_user(user: User) -> None:
    user.delete()


def take_permission(user: User) -> None:
    user.user_permissions.clear()


def leave_group(user: User) -> None:
    user.groups.clear()


def take_permission_of_group(user: User) -> None:
    user.groups.get().permissions.clear()


def delete_permission(user: User) -> None:
    Permission.objects.get(codename="publish").delete()


CHANGES: Final = {
    delete_token: 401,
    deactivate: 401,
    delete_user: 401,
    take_permission: 403,
    leave_group: 403,
    take_permission_of_group: 403,
    delete_permission: 403,
}


@pytest.mark.parametrize("change", CHANGES)
async def test_who_may_not_any_more_is_refused_at_once(
    api: Api, service: User, change: Callable[[User], None]
) -> None:
    def join(user: User) -> None:
        team = Group.objects.create(name="team")
        team.permissions.set(user.user_permissions.all())
        user.groups.add(team)
        user.user_permissions.clear()

    if change in (leave_group, take_permission_of_group):
        await sync_to_async(join)(service)
        await settled()
    await api.long()
    assert (await api.call()).short
    await sync_to_async(change)(service)
    refused = await api.call()
    assert (refused.status, refused.short) == (CHANGES[change], False)
    assert same(refused) == same(await api.long())


async def test_a_changed_password_makes_the_next_request_ask_again(api: Api, service: User) -> None:
    def change() -> None:
        service.set_password("another")
        service.save()

    await api.long()
    await sync_to_async(change)()
    assert not (await api.call()).short
    await settled()
    await api.long()
    assert (await api.call()).short


@pytest.mark.parametrize("kind", ["group", "group-or-owner", "permission", "staff"])
async def test_rules_hold_until_the_user_changes(api: Api, service: User, kind: str) -> None:
    def grant() -> None:
        team = Group.objects.create(name="team")
        service.groups.add(team)
        service.user_permissions.add(Permission.objects.get(codename="view_user"))
        service.is_staff = True
        service.save()

    def take() -> None:
        service.groups.clear()
        service.user_permissions.remove(Permission.objects.get(codename="view_user"))
        service.is_staff = False
        service.save()

    await sync_to_async(grant)()
    await settled()
    content = {"topic": f"/topic/{kind}/bob/a", "message": "x"}
    first, second = await api.call(content), await api.call(content)
    assert (first.status, second.status) == (202, 202)
    assert second.short is (kind != "group-or-owner")  # an owner depends on the destination
    await sync_to_async(take)()
    refused = await api.call(content)
    assert refused.status == 403
    assert same(refused) == same(await api.long(content))


async def test_one_rule_says_nothing_of_another(api: Api) -> None:
    await api.long()
    for kind in ("group", "permission", "staff", "owner", "service"):
        content = {"topic": f"/topic/{kind}/bob/a", "message": "x"}
        answer = await api.call(content)
        assert (answer.status, answer.short) == (202 if kind == "service" else 403, False)
    own = {"topic": "/topic/owner/alice/a", "message": "x"}
    assert [(await api.call(own)).short for _ in range(2)] == [False, True]  # as the topic is new


async def test_a_change_while_django_answers_is_not_missed(
    api: Api, service: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_many = views.publish_many

    def change_and_publish(*args: Any) -> Any:
        Token.objects.filter(user=service).delete()
        return publish_many(*args)

    monkeypatch.setattr(views, "publish_many", change_and_publish)
    assert (await api.long()).status == 202
    assert callers._callers == {}
    assert (await api.call()).status == 401


async def test_nobody_is_known_for_longer_than_a_minute(
    api: Api, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    now = 1000.0
    clock = SimpleNamespace(monotonic=lambda: now, time=callers_module.time.time)
    monkeypatch.setattr(callers_module, "time", clock)
    await api.long()
    now += 59
    await api.long({"topic": "/topic/service/a/b", "message": "x"})  # which makes it no longer
    assert (await api.call()).short
    now += 1
    assert not (await api.call()).short
    settings.STOMP_RECHECK_SECONDS = 5
    await api.long()
    now += 5
    assert not (await api.call()).short


async def test_a_token_that_expires_is_not_known_any_more(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = callers_module.time.time()
    clock = SimpleNamespace(time=lambda: now, monotonic=callers_module.time.monotonic)
    api.authorization = {"authorization": f"Bearer {tokens.token('HS256', exp=int(now) + 30)}"}
    await api.long()
    monkeypatch.setattr(callers_module, "time", clock)
    assert (await api.call()).short
    (caller,) = callers._callers.values()
    now = caller.login.until
    assert not (await api.call()).short


async def test_users_are_never_taken_for_each_other(api: Api) -> None:
    bob = await sync_to_async(make_user)("bob", "notifications.publish")
    await api.long()
    alice = api.authorization
    await api.become(bob)
    key: dict[str, str | None] = {"idempotency-key": uuid4().hex}
    assert not (await api.call(headers=key)).short
    of_bob = await api.call(headers=key)
    assert of_bob.short
    api.authorization = alice
    of_alice = await api.call(headers=key)
    assert of_alice.short
    assert of_alice.body != of_bob.body  # their keys never meet
    await sync_to_async(delete_token)(bob)
    assert (await api.call()).short


async def test_a_token_is_nowhere_to_be_seen(api: Api) -> None:
    await api.long()
    (key, caller), *_ = callers._callers.items()
    secret = api.authorization["authorization"].split()[1]
    for seen in (repr(caller), repr(caller.login), repr(key), repr(callers), repr(caller.read)):
        assert secret not in seen
    assert Callers().key_of({"method": "POST", "headers": [(b"authorization", b"x")]}) != (
        Callers().key_of({"method": "POST", "headers": [(b"authorization", b"x")]})
    )


# What is counted


async def test_requests_are_counted_by_both_ways(
    api: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)  # all within one minute
    await api.become(await sync_to_async(make_user)(uuid4().hex, "notifications.publish"))
    settings.STOMP_API_REQUESTS_PER_MINUTE = 300
    answers = [await api.call() for _ in range(301)]
    assert [each.status for each in answers] == [202] * 300 + [429]
    ways = [each.short for each in answers]
    # Each hundredth part of the limit Redis is told, by a thread.
    assert not any(ways[2:300:3]) and sum(ways) == 199
    settings.STOMP_API_REQUESTS_PER_MINUTE = 0
    assert [(await api.call()).status for _ in range(2)] == [202] * 2


async def test_new_topics_are_counted(api: Api, settings: Any) -> None:
    settings.STOMP_API_NEW_TOPICS_PER_MINUTE = 2
    await api.long()
    contents = [{"topic": f"/topic/signed/{uuid4().hex}", "message": "x"} for _ in range(2)]
    assert [(await api.call(each)).status for each in contents] == [202, 429]
    refused = await api.call([GOOD, contents[1]])
    assert refused.status == 207
    assert (await api.call(contents[0])).short


# What a project changes


async def test_other_middleware_switches_it_off(api: Api, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.gzip.GZipMiddleware"]
    assert not short.ApiHandler(OF_THE_GATEWAY)._learns
    settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]
    assert short.ApiHandler(OF_THE_GATEWAY)._learns
    assert not short.ApiHandler()._learns


async def test_other_parts_of_the_view_switch_it_off(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("throttle_classes", []),
        ("permission_classes", (views.MayPublish, views.MayPublish)),
        ("authentication_classes", [TokenAuthentication]),
        ("content_negotiation_class", short.ReadableBody.__base__),
        ("renderer_classes", [type("Other", (short.JSONRenderer,), {})]),
    ):
        callers.forget_all()
        with monkeypatch.context() as patch:
            patch.setattr(views.NotificationView, name, value)
            assert [(await api.call()).status for _ in range(2)] == [202, 202], name
            assert callers._callers == {}, name


async def test_other_authenticators_switch_it_off(api: Api, settings: Any) -> None:
    settings.STOMP_AUTHENTICATORS = [*settings.STOMP_AUTHENTICATORS, "tests.kit.tokens.token"]
    assert [(await api.call()).short for _ in range(3)] == [False] * 3


async def test_a_process_that_hears_of_no_changes_knows_nobody(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "hears", None)
    assert [(await api.call()).short for _ in range(3)] == [False] * 3
    assert callers._callers == {}


async def test_callers_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers_module, "MAX_CALLERS", 3)
    for number in range(5):
        await api.long(headers={"user-agent": f"{number}"})
    assert len(callers._callers) == 3


def test_who_was_forgotten_meanwhile_is_not_remembered() -> None:
    known = Callers()
    login = Login(SimpleNamespace(pk=7, get_username=lambda: "alice"), "token")
    caller = Caller(login, lambda *_: None, (), frozenset())  # type: ignore[arg-type, return-value]
    era = known.era
    known.remember(b"key", caller, era)
    known.forget(["8"])
    assert list(known._callers) == [b"key"]
    known.remember(b"other", caller, era)
    assert list(known._callers) == [b"key"]
    known.forget(["7"])
    assert not known._callers


async def test_who_hangs_up_does_not_stop_what_is_published(
    api: Api, redis_client: redis.Redis
) -> None:
    topic = f"/topic/signed/{uuid4().hex}"
    content = json.dumps({"topic": topic, "message": "x"}).encode()
    scope = api.scope(content)
    await api.long(content)
    listener = await sync_to_async(Listener)(redis_client, topic)

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there any more")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content}

    task = asyncio.create_task(application(scope, receive, send))
    await asyncio.sleep(0)  # until it waits for Redis
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert await sync_to_async(listener.message)() is not None
    listener.pubsub.close()


@pytest.mark.parametrize("sharded", ["off", "hear", "on"])
async def test_it_is_there_on_a_cluster(
    settings: Any,
    transactional_db: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sharded: str,
) -> None:
    with closing(Cluster(tmp_path)) as cluster:
        options = {"hosts": [cluster.url], "sharded": sharded}
        config = {"BACKEND": "realtime.layer.TopicLayer", "CONFIG": options}
        settings.CHANNEL_LAYERS = {"default": config}
        async with hearing_node():
            api = Api(monkeypatch)
            user = await sync_to_async(make_user)("alice", "notifications.publish")
            await api.become(user)
            assert [(await api.call()).short for _ in range(3)] == [False, True, True]
            await sync_to_async(delete_token)(user)
            assert (await api.call()).status == 401


async def test_a_channel_layer_that_may_miss_anything_switches_it_off(
    settings: Any, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = "channels.layers.InMemoryChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    async with hearing_node():
        api = Api(monkeypatch)
        await api.become(await sync_to_async(make_user)("alice", "notifications.publish"))
        assert [(await api.call()).short for _ in range(3)] == [False] * 3
