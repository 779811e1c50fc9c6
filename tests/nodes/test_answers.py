"""What nodes tell of themselves and of their sessions, and what they do when they are told to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from realtime.broker import apublish
from realtime.nodes import service
from realtime.nodes.answers import MAX_ROWS
from realtime.nodes.board import RedisBoard, board
from realtime.nodes.inquiry import Answers, ask
from realtime.nodes.overview import OVERVIEW, overview
from realtime.sessions.node import this_node
from tests.kit.local_client import LocalClient, local_client, local_node
from tests.kit.users import make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture(params=["redis", "in memory"])
async def node(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """A node that may be asked, on any channel layer."""
    settings.STOMP_ANONYMOUS = True
    settings.STOMP_ROUTING = "tests.routing"
    if request.param == "in memory":
        settings.CHANNEL_LAYERS = IN_MEMORY
    monkeypatch.setattr(service, "REPORT_SECONDS", 0.05)
    async with local_node():
        this_node().start()
        await until_reported()
        yield


async def until_reported() -> None:
    async with asyncio.timeout(15):
        while this_node().id not in [each["id"] for each in await on_a_thread(board().reports)]:
            await asyncio.sleep(0.02)


async def on_a_thread(function: Any, *arguments: Any, **named: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(
        None, lambda: function(*arguments, **named)
    )


async def asked(question: str, **arguments: Any) -> dict[str, Any]:
    """Ask this node only: others of other tests may be about."""
    answers: Answers = await on_a_thread(ask, question, nodes=[this_node().id], **arguments)
    assert not answers.missing
    answer: dict[str, Any] = answers.by_node[this_node().id]
    return answer


async def sessions(**wanted: Any) -> list[str]:
    return [row["id"] for row in (await asked("sessions", **wanted))["sessions"]]


async def test_sessions_are_found_by_what_they_are_and_hear() -> None:
    async with local_client() as first:
        await first.subscribe("/topic/answers/a")
        (one,) = await sessions()
        async with local_client() as second:
            await second.subscribe("/topic/answers/b")
            two, again = await sessions()
            assert again == one  # the newest comes first
            assert await sessions(topic="/topic/answers/b") == [two]
            assert await sessions(text="ANSWERS/A") == [one]
            assert await sessions(text=two[:8]) == [two]
            assert await sessions(ids=[one]) == [one]
            assert await sessions(user="nobody") == []
            assert len(await sessions(user="")) == 2
            assert await sessions(version="1.1") == []
            assert await sessions(slow=True) == []
            assert len(await sessions(slow=False, address="")) == 2
            assert await asked("sessions", limit=1) == {
                "count": 2, "sessions": [(await asked("sessions", ids=[two]))["sessions"][0]],
            }  # fmt: skip


async def test_the_details_of_a_session_have_its_subscriptions() -> None:
    topic = f"/topic/answers/{uuid4().hex}"
    async with local_client() as client:
        await client.subscribe(topic, id="7", ack="client")
        await apublish(topic, "hello")
        await client.frame("MESSAGE")
        (id,) = await sessions()
        (row,) = (await asked("session", id=id))["sessions"]
        (heard,) = row["heard"]
        assert (heard["id"], heard["topic"], heard["unacknowledged"]) == ("7", topic, 1)
        if isinstance(board(), RedisBoard):
            assert heard["position"].endswith("-1")
        assert (row["messages_out"], row["login"], row["version"]) == (1, None, "1.2")
        assert (await asked("session", id="another"))["sessions"] == []


async def test_topics_are_told_with_their_subscribers() -> None:
    topic = f"/topic/answers/{uuid4().hex}"
    async with local_client() as first, local_client() as second:
        for client in (first, second):
            await client.subscribe(topic)
        await apublish(topic, "hello")
        await first.frame("MESSAGE")
        answer = await asked("topics", text=topic)
        (row,) = answer["topics"]
        assert (answer["count"], row["topic"], row["subscribers"]) == (1, topic, 2)
        assert row["messages"] == 1
        assert not [each for each in (await asked("topics"))["topics"] if "/system/" in str(each)]
        assert (await asked("topics", text=topic, limit=0))["topics"] == []


async def test_presence_says_who_hears_a_topic_also_by_patterns() -> None:
    await sync_to_async(make_user)("alice")
    topic = "/topic/answers/here"
    async with (
        local_client(login="alice", passcode="wonderland") as alice,
        local_client(login="alice", passcode="wonderland") as again,
        local_client() as anonymous,
        local_client() as elsewhere,
    ):
        await alice.subscribe(topic)
        if isinstance(board(), RedisBoard):
            await again.subscribe("/topic/answers/*")
        else:
            await again.subscribe(topic)
        await anonymous.subscribe(topic)
        await elsewhere.subscribe("/topic/answers/there")
        answer = await asked("presence", topic=topic)
    (user,) = answer["users"]
    assert (answer["count"], answer["anonymous"]) == (3, 1)
    assert (user["user"], user["sessions"]) == ("alice", 2)
    assert time.time() - 60 < user["since"] <= time.time()


@pytest.mark.parametrize(
    ("reconnect", "code", "close_code"), [(True, "disconnected", 4006), (False, "dismissed", 4500)]
)
async def test_a_session_is_disconnected_with_a_reason(
    reconnect: bool, code: str, close_code: int
) -> None:
    client = LocalClient()
    await client.connect()
    async with local_client() as other:
        await client.subscribe("/topic/answers/a")
        (id,) = await sessions(topic="/topic/answers/a")
        done = await asked("disconnect", ids=[id], reason="the test is over", reconnect=reconnect)
        assert done == {"done": [id]}
        error = await client.frame("ERROR")
        assert (error.headers["message"], error.headers["code"]) == ("the test is over", code)
        assert (await client.close())["code"] == close_code
        await other.subscribe("/topic/answers/a")  # it goes on


async def test_a_subscription_is_ended_and_the_session_goes_on() -> None:
    async with local_client() as client:
        await client.subscribe("/topic/answers/a", id="1")
        await client.subscribe("/topic/answers/b", id="2")
        (id,) = await sessions()
        done = await asked("unsubscribe", ids=[id], topic="/topic/answers/a", reason="too loud")
        assert done == {"done": [id]}
        told = await client.frame("MESSAGE")
        assert (told.headers["refused"], told.headers["subscription"]) == ("unsubscribed", "1")
        assert told.body == b"too loud"
        await apublish("/topic/answers/a", "not heard")
        await apublish("/topic/answers/b", "heard")
        assert (await client.frame("MESSAGE")).body == b"heard"
        nothing = await asked("unsubscribe", ids=[id], topic="/topic/answers/a", reason="again")
        assert nothing == {"done": []}


async def test_a_message_comes_to_one_session_only() -> None:
    async with local_client() as client, local_client() as other:
        for each in (client, other):
            await each.subscribe("/topic/answers/a")
        newest, id = await sessions()
        done = await asked(
            "message", ids=[id], topic="/topic/answers/a", text="hello", headers={"sender": "root"}
        )
        assert done == {"done": [id]}
        told = await client.frame("MESSAGE")
        assert (told.body, told.headers["sender"]) == (b"hello", "root")
        await apublish("/topic/answers/a", "for all")
        assert (await client.frame("MESSAGE")).body == b"for all"
        assert (await other.frame("MESSAGE")).body == b"for all"


async def test_what_goes_wrong_is_a_missing_node_and_not_a_silence(caplog: Any) -> None:
    here = this_node().id
    began = time.monotonic()
    answers = await on_a_thread(ask, "sessions", nodes=[here], order="nonsense")
    assert (answers.by_node, answers.missing) == ({}, [here])
    assert time.monotonic() - began < 1.5
    assert "could not answer 'sessions'" in caplog.text


async def test_who_does_not_answer_in_time_is_missing() -> None:
    here = this_node().id
    answers = await on_a_thread(ask, "sessions", nodes=[here, "gone"], seconds=1)
    assert (list(answers.by_node), answers.missing) == ([here], ["gone"])
    assert (answers.total("count"), answers.rows("sessions")) == (0, [])


async def test_a_report_tells_what_there_is_and_goes_with_its_node() -> None:
    async with local_client() as client:
        await client.subscribe("/topic/answers/a")
        await asyncio.sleep(0.2)
        (report,) = [
            each for each in await on_a_thread(board().reports) if each["id"] == this_node().id
        ]
        assert (report["sessions"], report["subscriptions"], report["topics"]) == (1, 1, 1)
        assert (report["slow"], report["waiting_bytes"]) == (0, 0)
        assert report["memory_bytes"] > 10_000_000 and report["started_at"] <= time.time()
        assert json.dumps(report)
    here = this_node().id
    await this_node().close()
    assert here not in [each["id"] for each in await on_a_thread(board().reports)]


async def test_the_overview_comes_to_operators_who_look_and_to_nobody_else() -> None:
    see = "realtime.view_noderecord"
    await sync_to_async(make_user)("olga", see, is_staff=True)
    await sync_to_async(make_user)("norbert", see)
    await sync_to_async(make_user)("stan", is_staff=True)
    async with local_client(login="olga", passcode="wonderland") as olga:
        await olga.subscribe(OVERVIEW)
        content = json.loads((await olga.frame("MESSAGE")).body)
        assert this_node().id in [each["id"] for each in content["nodes"]]
        assert content["sums"]["sessions"] >= 1
    for name in ("norbert", "stan"):
        client = LocalClient()
        await client.connect(login=name, passcode="wonderland")
        await client.send("SUBSCRIBE", {"id": "0", "destination": OVERVIEW})
        assert await client.error() == ("subscribe-denied", 1008)


async def test_no_wildcard_stands_for_what_the_gateway_says(settings: Any) -> None:
    await sync_to_async(make_user)("olga", "realtime.view_noderecord", is_staff=True)
    async with (
        local_client() as everything,
        local_client(login="olga", passcode="wonderland") as olga,
    ):
        if isinstance(board(), RedisBoard):  # which alone hears patterns
            await everything.subscribe("/topic/**")
        else:
            await everything.subscribe("/topic/answers")
        await olga.subscribe(OVERVIEW)
        await olga.frame("MESSAGE")
        await apublish("/topic/answers", "the first that it hears")
        assert (await everything.frame("MESSAGE")).body == b"the first that it hears"


async def test_nobody_publishes_what_the_gateway_says() -> None:
    client = LocalClient()
    await client.connect()
    await client.send("SEND", {"destination": OVERVIEW}, b"{}")
    code, close_code = await client.error()
    assert (code, close_code) in {("send-denied", 1008), ("bad-destination", 1002)}
    with pytest.raises(ValueError, match="the gateway's own"):
        await apublish(OVERVIEW, "{}")


async def test_limits_bound_the_answers() -> None:
    answer = await asked("sessions", limit=10 * MAX_ROWS)
    assert answer == {"count": 0, "sessions": []}
    assert (await asked("sessions", limit=-1))["sessions"] == []


async def test_the_overview_sums_all_nodes() -> None:
    content = await on_a_thread(overview)
    assert content["sums"]["sessions"] == sum(each["sessions"] for each in content["nodes"])


async def test_what_became_of_a_message_is_told() -> None:
    topic = f"/topic/answers/{uuid4().hex}"
    async with local_client() as first, local_client() as second, local_client() as other:
        await first.subscribe(topic)
        await second.subscribe(topic)
        await second.subscribe(topic, id="again")  # a session counts once
        await other.subscribe("/topic/answers/other")
        id = await apublish(topic, "hello")
        answer = await asked("delivery", topic=topic, position=id, wait=5.0)
        assert answer == {"matched": 2, "taken": 2, "slow": 0}
        slow = next(each for each in this_node().members if topic in each.session.destinations)
        assert slow.session.outbox is not None
        slow.session.outbox.blocked = True  # as by a client that does not read
        answer = await asked("delivery", topic=topic, position=id, wait=0.1)
        assert answer == {"matched": 2, "taken": 1, "slow": 1}
        slow.session.outbox.blocked = False
        nobody = await asked("delivery", topic="/topic/answers/nobody", wait=5.0)
        assert nobody == {"matched": 0, "taken": 0, "slow": 0}


async def test_a_message_that_has_not_come_is_waited_for_and_not_longer_than_asked() -> None:
    topic = f"/topic/answers/{uuid4().hex}"
    async with local_client() as client:
        await client.subscribe(topic)
        id = await apublish(topic, "hello")
        await client.frame("MESSAGE")
        epoch, _, offset = id.rpartition("-")
        began = time.monotonic()
        later = f"{epoch}-{int(offset) + 1}"
        answer = await asked("delivery", topic=topic, position=later, wait=0.3)
        waited = time.monotonic() - began
        assert answer["matched"] == 1
        assert isinstance(board(), RedisBoard) == (0.3 <= waited < 1.5)
