"""Live state over the API: sessions, topics, users and nodes, for those who may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.db import OperationalError
from rest_framework.test import APIClient

from realtime.access.limits import outage
from realtime.layer import tickets
from realtime.nodes import service
from realtime.nodes.board import board
from realtime.sessions.node import this_node
from tests.api.test_schema import check
from tests.kit.local_client import LocalClient, local_client, local_node
from tests.kit.users import make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]

SEE = "realtime.view_sessionrecord"
GETS = ("sessions", "sessions/x", "topics", "users/alice", "nodes")


@pytest.fixture
async def node(settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A node of its own, on a prefix of its own: no other answers."""
    layers = {"default": dict(settings.CHANNEL_LAYERS["default"])}
    layers["default"]["CONFIG"] = {**layers["default"]["CONFIG"], "prefix": uuid4().hex}
    settings.CHANNEL_LAYERS = layers
    settings.STOMP_ANONYMOUS = True
    settings.STOMP_ROUTING = "tests.routing"
    monkeypatch.setattr(service, "REPORT_SECONDS", 0.05)
    async with local_node():
        this_node().start()
        async with asyncio.timeout(15):
            while not await asyncio.to_thread(lambda: board().reports()):
                await asyncio.sleep(0.02)
        yield


class Api:
    """A client of the API in the process of the test; each call runs on a thread, as it does."""

    def __init__(self, user: Any = None) -> None:
        self._client = APIClient()
        if user is not None:
            self._client.force_authenticate(user)

    async def __call__(self, method: str, path: str, *content: Any) -> Any:
        call = getattr(self._client, method)
        return await asyncio.to_thread(call, f"/api/v1/{path}", *content, format="json")


async def api_of(*permissions: str, name: str = "olga") -> Api:
    return Api(await sync_to_async(make_user)(name, *permissions))


@pytest.mark.parametrize("path", [*GETS, "presence?topic=/topic/a"])
async def test_nobody_sees_anything_without_a_login(path: str) -> None:
    assert (await Api()("get", path)).status_code == 401


@pytest.mark.parametrize("path", GETS)
async def test_who_has_not_the_permission_is_told_which(path: str) -> None:
    answer = await (await api_of())("get", path)
    assert answer.status_code == 403
    assert "this needs the permission realtime.view_" in answer.json()["detail"]


async def test_sessions_are_listed_found_and_looked_at_as_the_document_says() -> None:
    api = await api_of(SEE)
    document = (await api("get", "schema?format=json")).json()
    async with local_client() as first, local_client() as second:
        await first.subscribe("/topic/live/a")
        await second.subscribe("/topic/live/b")
        answer = await api("get", "sessions")
        check(document, "get", "/api/v1/sessions", answer)
        content = answer.json()
        assert (content["count"], len(content["sessions"]), content["missing"]) == (2, 2, [])
        found = (await api("get", "sessions?topic=/topic/live/a&limit=1")).json()
        (row,) = found["sessions"]
        assert (found["count"], row["topics"], row["user"]) == (1, ["/topic/live/a"], "")
        assert row["connected_at"].endswith("Z") and row["node"] == this_node().id
        answer = await api("get", f"sessions/{row['id']}")
        check(document, "get", "/api/v1/sessions/{id}", answer)
        assert [each["topic"] for each in answer.json()["heard"]] == ["/topic/live/a"]
    assert (await api("get", f"sessions/{row['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("order=best", "order"),
        ("slow=perhaps", "slow"),
        ("colour=red", "colour"),
        ("text=%00", "text"),
    ],
)
async def test_a_parameter_that_is_wrong_is_named(query: str, field: str) -> None:
    answer = await (await api_of(SEE))("get", f"sessions?{query}")
    assert (answer.status_code, list(answer.json())) == (400, [field])


async def test_what_acts_takes_no_parameter_that_is_unknown() -> None:
    api = await api_of(
        "realtime.disconnect_session", "realtime.unsubscribe_session", "notifications.publish"
    )
    async with local_client() as client:
        await client.subscribe("/topic/live/a")
        session = f"sessions/{this_node().members[0].session.id}"
        for method, path in (
            ("delete", f"{session}?reaosn=typo"),
            ("delete", f"{session}/subscriptions?topic=/topic/live/a&reaosn=typo"),
            ("post", "publish?wiat=deliver"),
        ):
            answer = await api(method, path, {"topic": "/topic/live/a", "message": "x"})
            assert (answer.status_code, *answer.json().values()) == (
                400,
                ["There is no such parameter."],
            )
        await client.request("SEND", {"destination": "/topic/live/a"}, b"still here")
        assert (await client.frame("MESSAGE")).body == b"still here"


async def test_a_ticket_for_some_destinations_opens_no_more_than_these() -> None:
    rights = (SEE, "realtime.disconnect_session", "notifications.view_metrics")
    olga = await sync_to_async(make_user)("olga", *rights)
    browser = APIClient()
    async with local_client():
        session = this_node().members[0].session.id
        for method, address, status in (
            ("get", "/api/v1/sessions?", 403),
            ("delete", f"/api/v1/sessions/{session}?", 403),
            ("get", "/api/v1/users/olga?", 403),
            ("get", "/metrics?", 403),
            ("get", "/api/v1/presence?topic=/topic/live/b&", 403),
            ("get", "/api/v1/presence?topic=/topic/live/a&", 200),
        ):
            for destinations, wanted in ((("/topic/live/a",), status), ((), 200)):
                ticket = await asyncio.to_thread(tickets.make, str(olga.pk), destinations)
                call = getattr(browser, method)
                if method == "get" or destinations:
                    answer = await asyncio.to_thread(call, f"{address}ticket={ticket}")
                    assert answer.status_code == wanted, address


async def test_an_order_that_is_not_known_is_told_those_that_are() -> None:
    answer = await (await api_of(SEE))("get", "sessions?order=best")
    assert answer.json() == {"order": ['"best" is none of newest, waiting, sent, received.']}


async def test_a_session_is_ended_with_a_reason_by_those_who_may(caplog: Any) -> None:
    seeing, acting = await api_of(SEE), await api_of("realtime.disconnect_session", name="dora")
    client = LocalClient()
    await client.connect()
    id = this_node().members[0].session.id
    assert (await seeing("delete", f"sessions/{id}")).status_code == 403
    answer = await acting("delete", f"sessions/{id}?reason=maintenance&reconnect=true")
    assert (answer.status_code, answer.content) == (204, b"")
    error = await client.frame("ERROR")
    assert (error.headers["message"], error.headers["code"]) == ("maintenance", "disconnected")
    assert (await client.close())["code"] == 4006
    line = f'disconnect user="dora" address="127.0.0.1" reason="maintenance" sessions="{id}"'
    assert line in caplog.text
    entry = await LogEntry.objects.select_related("user").aget(object_id=id)
    assert entry.user.get_username() == "dora"
    assert entry.change_message == "Disconnected, it may reconnect: maintenance"
    assert (await acting("delete", f"sessions/{uuid4()}")).status_code == 404


async def test_all_sessions_of_a_user_are_ended_and_no_others_by_those_who_may() -> None:
    seeing, acting = await api_of(SEE), await api_of("realtime.disconnect_session", name="dora")
    document = (await seeing("get", "schema?format=json")).json()
    for name in ("alice", "bob"):
        await sync_to_async(make_user)(name)
    alices = [LocalClient(), LocalClient()]
    for client in alices:
        await client.connect(login="alice", passcode="wonderland")
    async with local_client(login="bob", passcode="wonderland") as bob:
        await bob.subscribe("/topic/live/a")
        path = "users/alice/sessions"
        assert (await seeing("delete", path)).status_code == 403
        assert (await acting("delete", f"{path}?reconnect=perhaps")).status_code == 400
        answer = await acting("delete", f"{path}?reason=moved")
        check(document, "delete", "/api/v1/users/{name}/sessions", answer)
        assert answer.json() == {"user": "alice", "ended": 2, "missing": []}
        for client in alices:
            assert (await client.frame("ERROR")).headers["code"] == "dismissed"
            assert (await client.close())["code"] == 4500
        assert (await acting("delete", "users/nobody/sessions")).json()["ended"] == 0
        await bob.request("SEND", {"destination": "/topic/live/a"}, b"still here")
        assert (await bob.frame("MESSAGE")).body == b"still here"
    assert await LogEntry.objects.filter(change_message__contains="moved").acount() == 2


async def test_with_debug_anybody_may_and_what_is_done_is_in_the_audit_log(
    settings: Any, caplog: Any
) -> None:
    settings.DEBUG = True
    client = LocalClient()
    await client.connect()
    id = this_node().members[0].session.id
    answer = await sync_to_async(APIClient().delete)(f"/api/v1/sessions/{id}?reason=late")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.frame("ERROR")).headers["message"] == "late"
    assert (await client.close())["code"] == 4500
    assert f'reason="late" sessions="{id}"' in caplog.text
    assert not await LogEntry.objects.aexists()


async def test_what_is_done_is_in_the_audit_log_though_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(*arguments: Any) -> None:
        raise OperationalError("the server closed the connection")

    acting = await api_of("realtime.disconnect_session", name="dora")
    client = LocalClient()
    await client.connect()
    id = this_node().members[0].session.id
    monkeypatch.setattr(LogEntry.objects, "log_actions", fail)
    assert (await acting("delete", f"sessions/{id}?reason=late")).status_code == 204
    assert (await client.frame("ERROR")).headers["message"] == "late"
    await client.close()
    assert f'user="dora" address="127.0.0.1" reason="late" sessions="{id}"' in caplog.text
    outage.end()


async def test_a_subscription_is_ended_by_those_who_may() -> None:
    seeing, acting = await api_of(SEE), await api_of("realtime.unsubscribe_session", name="dora")
    async with local_client() as client:
        await client.subscribe("/topic/live/a")
        path = f"sessions/{this_node().members[0].session.id}/subscriptions"
        topic = "topic=/topic/live/a"
        assert (await seeing("delete", f"{path}?{topic}")).status_code == 403
        assert (await acting("delete", path)).json() == {"topic": ["This field is required."]}
        assert (await acting("delete", f"{path}?topic=nowhere")).status_code == 400
        assert (await acting("delete", f"{path}?{topic}&reason=loud")).status_code == 204
        assert (await client.frame("MESSAGE")).body == b"loud"
        assert (await acting("delete", f"{path}?{topic}")).status_code == 404


async def test_a_text_comes_to_one_session_with_the_name_of_who_sent_it() -> None:
    seeing, acting = await api_of(SEE), await api_of("realtime.message_session", name="dora")
    content = {"topic": "/topic/live/a", "message": "please reload"}
    async with local_client() as client:
        await client.subscribe("/topic/live/a")
        path = f"sessions/{this_node().members[0].session.id}/messages"
        assert (await seeing("post", path, content)).status_code == 403
        assert (await acting("post", path, content)).status_code == 204
        told = await client.frame("MESSAGE")
        assert (told.body, told.headers["sender"]) == (b"please reload", "dora")
        assert (await acting("post", path, {"topic": 1})).status_code == 400


async def test_topics_presence_users_and_nodes_are_told() -> None:
    api = await api_of(SEE, "realtime.view_noderecord")
    document = (await api("get", "schema?format=json")).json()
    await sync_to_async(make_user)("alice")
    async with local_client(login="alice", passcode="wonderland") as alice:
        await alice.subscribe("/topic/rooms/live")
        answers = {
            path: await api("get", path.replace("{name}", "alice") + query)
            for path, query in (
                ("topics", ""),
                ("presence", "?topic=/topic/rooms/live"),
                ("users/{name}", ""),
                ("nodes", ""),
            )
        }
        for path, answer in answers.items():
            assert answer.status_code == 200
            check(document, "get", f"/api/v1/{path}", answer)
    contents = {path: answer.json() for path, answer in answers.items()}
    assert contents["topics"]["topics"][0]["topic"] == "/topic/rooms/live"
    assert [each["user"] for each in contents["presence"]["users"]] == ["alice"]
    assert (contents["users/{name}"]["online"], contents["users/{name}"]["count"]) == (True, 1)
    assert contents["nodes"]["nodes"][0]["id"] == this_node().id
    offline = (await api("get", "users/alice")).json()
    assert (offline["online"], offline["since"], offline["sessions"]) == (False, None, [])


async def test_who_may_hear_a_topic_may_ask_who_is_on_it(settings: Any) -> None:
    settings.STOMP_ROUTING = "gateway.routing"
    api = await api_of()
    assert (await api("get", "presence?topic=/topic/toast")).status_code == 200
    assert (await api("get", "presence?topic=/topic/secret")).status_code == 403
    assert (await api("get", "presence?topic=/app/greet")).status_code == 400
    assert (await api("get", "presence")).json() == {"topic": ["This field is required."]}


async def test_what_became_of_a_message_comes_with_the_answer() -> None:
    api = await api_of("notifications.publish")
    document = (await api("get", "schema?format=json")).json()
    topic = f"/topic/live/{uuid4().hex}"
    message = {"topic": topic, "message": "hello"}
    async with local_client() as first, local_client() as second:
        for client in (first, second):
            await client.subscribe(topic)
        answer = await api("post", "publish?wait=deliver", message)
        assert answer.status_code == 202
        check(document, "post", "/api/v1/publish", answer)
        delivery = {"matched": 2, "taken": 2, "slow": 0, "missing": []}
        assert answer.json()["delivery"] == delivery
        assert (await first.frame("MESSAGE")).body == b"hello"
        assert "delivery" not in (await api("post", "publish", message)).json()
    assert (await api("post", "publish?wait=for-godot", message)).status_code == 400
    assert (await api("post", "publish?wait=deliver", [message])).status_code == 400
    assert (await api("post", "publish?wait=deliver&seconds=11", message)).status_code == 400


async def test_without_redis_it_is_503(redis_away: None) -> None:
    api = await api_of(SEE)
    for path in ("sessions", "topics", "users/alice"):
        answer = await api("get", path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
