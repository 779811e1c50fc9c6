"""Sessions in the admin: what is shown of them, how they are found, and what is done to them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from realtime.admin.acts import MAX_SESSIONS
from realtime.broker import apublish
from realtime.delivery.outbox import Outbox
from realtime.models import NodeRecord, SessionRecord
from realtime.sessions.node import this_node
from tests.kit.local_client import LocalClient, local_client
from tests.kit.users import grant

from .conftest import Browser, log, messages

LIST = "/admin/realtime/sessionrecord/"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


async def written(count: int) -> list[str]:
    """Return the ids of sessions, the oldest first, once so many are in the database."""
    for _ in range(200):
        await this_node()._writer.write()
        found = [each async for each in SessionRecord.objects.order_by("connected_at")]
        if len(found) == count:
            return [each.id for each in found]
    raise AssertionError(found)


def listed(page: str) -> list[str]:
    """Return the short ids of the sessions that a list shows."""
    return re.findall(r"<code>(\w{8})</code></a>", page)


# What is shown


async def test_a_list_shows_what_the_database_and_the_nodes_know(
    bob: Browser, questions: list[str]
) -> None:
    async with local_client() as client:
        for number, name in enumerate("abcde"):
            await client.subscribe(f"/topic/admin/{name}", id=str(number))
        await apublish("/topic/admin/a", "hello")
        await client.frame("MESSAGE")
        (id,) = await written(1)
        page = await bob.get(LIST)
    assert listed(page) == [id[:8]]
    assert "anonymous" in page
    assert re.search(r"/topic/admin/a.*/topic/admin/b.*<b .*>\+3</b>", page, re.DOTALL)
    assert re.search(r'field-messages_in">0<span .*?>0/s</span>', page)
    assert re.search(r'field-messages_out">1<span .*?>[\d.]+/s</span>', page)
    assert '<td class="field-waiting">0 bytes</td>' in page
    assert re.search(r'field-heard"><time [^>]+>\d s ago</time>', page)
    assert questions == ["sessions"]
    assert not re.search(r"<style|\sstyle=", page)


async def test_a_list_of_any_length_asks_once(bob: Browser, questions: list[str]) -> None:
    def of(count: int) -> int:
        SessionRecord.objects.bulk_create(
            SessionRecord(id=f"{count}-{each}", node_id=node, connected_at=timezone.now())
            for each in range(count)
        )
        with CaptureQueriesContext(connection) as queries:
            bob.client.get(LIST)
        return len(queries)

    node = this_node().id
    await written(0)
    few, many = [await sync_to_async(of)(count) for count in (1, 60)]
    assert few == many <= 10
    assert questions == ["sessions"] * 2


async def test_sessions_are_found_by_user_topic_address_and_the_beginning_of_an_id(
    bob: Browser,
) -> None:
    async with local_client(login="bob", passcode="wonderland") as first, local_client() as second:
        await first.subscribe("/topic/admin/first")
        await second.subscribe("/topic/admin/second")
        one, two = await written(2)
        assert listed(await bob.get(LIST)) == [two[:8], one[:8]]  # the newest first
        for text, found in {
            "bob": [one], "admin/second": [two], one: [one], two[:6]: [two], "nothing": [],
        }.items():  # fmt: skip
            assert listed(await bob.get(LIST, q=text)) == [each[:8] for each in found], text


async def test_filters_are_by_node_version_and_who_reads_too_slowly(
    bob: Browser, questions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_client() as client, local_client():
        await client.subscribe("/topic/admin/slow")
        slow, _ = await written(2)
        assert len(listed(await bob.get(LIST, version="1.2"))) == 2
        assert listed(await bob.get(LIST, version="1.1")) == []
        assert len(listed(await bob.get(LIST, node=this_node().id))) == 2
        assert listed(await bob.get(LIST, slow="1")) == []
        questions.clear()
        (of_slow,) = [each for each in this_node().members if each.session.id == slow]
        of_it = of_slow.session.outbox
        monkeypatch.setattr(Outbox, "is_slow", lambda outbox, now: outbox is of_it)
        page = await bob.get(LIST, slow="1")
    assert listed(page) == [slow[:8]]
    assert '<strong class="slow">slow</strong>' in page
    assert questions == ["sessions"]


async def test_the_page_of_a_session_has_its_subscriptions(
    bob: Browser, questions: list[str]
) -> None:
    async with local_client() as client:
        await client.subscribe("/topic/admin/acks", id="seven", ack="client")
        position = (await client.subscribe("/topic/admin/auto", id="8")).headers["position"]
        await apublish("/topic/admin/acks", "hello")
        await client.frame("MESSAGE")
        (id,) = await written(1)
        page = await bob.get(f"{LIST}{id}/change/")
    assert id in page and "<code>seven</code>" in page and position in page
    assert 'data-label="Unacknowledged" class="number">1</td>' in page
    assert "as it acknowledges" in page and "at once" in page
    assert questions == ["session"]


async def test_a_session_that_is_gone_is_no_error(bob: Browser) -> None:
    page = await bob.get(f"{LIST}nothing/change/", 302)
    assert messages(await bob.get(LIST)) == ["The session nothing is not there any more."]
    assert not page


async def test_a_node_that_does_not_answer_is_named(bob: Browser, alice: Browser) -> None:
    await NodeRecord.objects.acreate(id="gone-1-a", seen_at=timezone.now())
    await SessionRecord.objects.acreate(id="0123", node_id="gone-1-a", connected_at=timezone.now())
    page = await bob.get(f"{LIST}0123/change/")
    assert "No answer from gone-1: what it knows is missing here." in page
    async with local_client() as client:
        await client.subscribe("/topic/admin/a")
        (id,) = [each for each in await written(2) if each != "0123"]
        page = await alice.post(
            f"{LIST}unsubscribe/", ids=f"0123,{id}", topic="/topic/admin/a", reason="x"
        )
    assert messages(page) == [
        "Unsubscribed: 1 session.",
        "No answer from gone-1: 1 session may be as before; look again.",
    ]
    assert [each[2:] for each in await log()] == [
        (id, "Unsubscribed from /topic/admin/a: x"),
        ("0123", "Unsubscribed from /topic/admin/a: x (no answer from gone-1)"),
    ]


async def test_what_clients_say_is_text_and_no_markup(alice: Browser) -> None:
    evil = "<script>alert(1)</script>"
    client = LocalClient(**{"user-agent": evil})
    await client.connect()
    await client.subscribe(f"/topic/admin/{evil}", id=evil)
    (id,) = await written(1)
    for page in (
        LIST, f"{LIST}{id}/change/", f"{LIST}unsubscribe/?ids={id}", "/admin/realtime/topic/",
        f"/admin/realtime/topic/{quote(f'/topic/admin/{evil}')}/change/",
    ):  # fmt: skip
        text = await alice.get(page)
        assert evil not in text and "&lt;script&gt;" in text, page
    await client.socket.disconnect()


# What is done to them


@pytest.mark.parametrize(
    ("then", "code", "close_code"),
    [("reconnect", "disconnected", 4006), ("stay-away", "dismissed", 4500)],
)
async def test_a_session_is_disconnected_and_the_log_says_who_did_it_and_why(
    alice: Browser, then: str, code: str, close_code: int
) -> None:
    client = LocalClient()
    await client.connect(login="alice", passcode="wonderland")
    (id,) = await written(1)
    assert "Disconnect: 1 session" in await alice.get(f"{LIST}disconnect/", ids=id)
    page = await alice.post(f"{LIST}disconnect/", ids=id, reason="too loud", then=then)
    assert messages(page) == ["Disconnected: 1 session."]
    error = await client.frame("ERROR")
    assert (error.headers["message"], error.headers["code"]) == ("too loud", code)
    assert (await client.close())["code"] == close_code
    ((who, model, object_id, what),) = await log()
    assert (who, model, object_id) == ("alice", "sessionrecord", id)
    said = {"reconnect": "it may reconnect", "stay-away": "it is asked to stay away"}[then]
    assert what == f"Disconnected, {said}: too loud"
    entry = await LogEntry.objects.aget()
    assert entry.object_repr == f"{id[:8]} of alice, "


async def test_a_session_is_unsubscribed_and_goes_on(alice: Browser) -> None:
    async with local_client() as client:
        await client.subscribe("/topic/admin/a", id="1")
        (id,) = await written(1)
        page = await alice.get(f"{LIST}unsubscribe/", ids=id, topic="/topic/admin/a")
        assert 'value="/topic/admin/a"' in page
        page = await alice.post(
            f"{LIST}unsubscribe/", ids=id, topic="/topic/admin/a", reason="too loud"
        )
        told = await client.frame("MESSAGE")
        assert (told.headers["refused"], told.body) == ("unsubscribed", b"too loud")
        assert "Session " + id[:8] in page  # it is there still
        page = await alice.post(f"{LIST}unsubscribe/", ids=id, topic="/topic/b", reason="again")
        assert messages(page) == ["1 session not there any more, or not subscribed to it."]
    assert await log() == [
        ("alice", "sessionrecord", id, "Unsubscribed from /topic/admin/a: too loud")
    ]


async def test_a_message_is_sent_to_chosen_sessions_alone(alice: Browser) -> None:
    async with local_client() as first, local_client() as second, local_client() as other:
        for client in (first, second, other):
            await client.subscribe("/topic/admin/a")
        ids = await written(3)
        page = await alice.post(
            LIST, action="message", _selected_action=ids[:2], index="0", select_across="0"
        )
        assert "To 2 sessions" in page and '<option value="/topic/admin/a">' in page
        page = await alice.post(
            f"{LIST}message/", ids=",".join(ids[:2]), topic="/topic/admin/a", text=" hello "
        )
        for client in (first, second):
            told = await client.frame("MESSAGE")
            assert (told.body, told.headers["sender"]) == (b" hello ", "alice")
        await apublish("/topic/admin/a", "for all")
        assert (await other.frame("MESSAGE")).body == b"for all"
    assert messages(page) == ["Sent: 2 sessions."]
    assert {each[2:] for each in await log()} == {
        (id, "Sent to /topic/admin/a:  hello ") for id in ids[:2]
    }


async def test_what_is_missing_or_too_much_is_said_and_nothing_is_done(
    alice: Browser, settings: Any
) -> None:
    settings.STOMP_MAX_BODY_BYTES = 10
    async with local_client() as client:
        await client.subscribe("/topic/admin/a")
        (id,) = await written(1)
        page = await alice.post(f"{LIST}disconnect/", ids=id, reason="", then="reconnect")
        assert "This field is required." in page
        page = await alice.post(f"{LIST}message/", ids=id, topic="/topic/admin/a", text="x" * 11)
        assert "a body of 11 bytes is over the limit of 10" in page
        most = ",".join([id, *map(str, range(MAX_SESSIONS - 1))])
        page = await alice.post(f"{LIST}message/", ids=f"{most},more", topic="/topic/a", text="x")
        assert "These sessions are not there any more" in page
        assert await log() == []
        await alice.post(f"{LIST}message/", ids=most, topic="/topic/admin/a", text="x" * 10)
        assert (await client.frame("MESSAGE")).body == b"x" * 10


# Who may do what


@pytest.mark.parametrize("act", ["disconnect", "unsubscribe", "message"])
async def test_who_may_look_may_do_nothing(bob: Browser, act: str) -> None:
    async with local_client() as client:
        await client.subscribe("/topic/admin/a")
        (id,) = await written(1)
        for address in (LIST, f"{LIST}{id}/change/"):
            page = await bob.get(address)
            assert f"{act}/" not in page and f'value="{act}"' not in page
        await bob.get(f"{LIST}{act}/", 403, ids=id)
        data = {"ids": id, "topic": "/topic/admin/a", "reason": "x", "text": "x"}
        await bob.post(f"{LIST}{act}/", 403, then="reconnect", **data)
        await bob.post(LIST, action=act, _selected_action=[id], index="0")
        await apublish("/topic/admin/a", "it goes on")
        assert (await client.frame("MESSAGE")).body == b"it goes on"
    assert await log() == []


@pytest.mark.parametrize("act", ["disconnect", "unsubscribe", "message"])
async def test_each_act_has_a_permission_of_its_own(bob: Browser, act: str) -> None:
    await sync_to_async(grant)(bob.user, f"realtime.{act}_session")
    async with local_client():
        (id,) = await written(1)
        page = await bob.get(LIST)
        assert re.findall(r'<option value="(disconnect|unsubscribe|message)"', page) == [act]
        await bob.get(f"{LIST}{act}/", ids=id)
        for other in {"disconnect", "unsubscribe", "message"} - {act}:
            await bob.get(f"{LIST}{other}/", 403, ids=id)


async def test_without_permission_there_is_nothing_to_see(charlie: Browser) -> None:
    assert "Sessions" not in await charlie.get("/admin/")
    async with local_client():
        (id,) = await written(1)
        for address in (LIST, f"{LIST}{id}/change/", f"{LIST}disconnect/?ids={id}"):
            await charlie.get(address, 403)


async def test_nothing_can_be_added_changed_or_deleted(alice: Browser) -> None:
    async with local_client():
        (id,) = await written(1)
        for address in (f"{LIST}add/", f"{LIST}{id}/delete/"):
            await alice.get(address, 403)
