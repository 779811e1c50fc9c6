"""Sessions in the database and in the admin."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from realtime.access.credentials import Login
from realtime.concurrency import nothing
from realtime.delivery.frames import StompEncoder
from realtime.delivery.outbox import Direct, Outbox
from realtime.hub.subscription import Subscription
from realtime.models import NODE_DEAD_AFTER, NodeRecord, SessionRecord
from realtime.sessions.records import SessionWriter
from realtime.sessions.session import Session

pytestmark = pytest.mark.django_db(transaction=True)


def hear(session: Session, *destinations: str) -> None:
    outbox = Outbox(
        nothing, max_bytes=1, max_seconds=1, failed=nothing, watch=nothing, abandon=nothing
    )
    session.heard = {
        name: Subscription(name, StompEncoder("1.2", name), Direct(outbox)) for name in destinations
    }
    session.changed = True


async def rows() -> list[SessionRecord]:
    return [row async for row in SessionRecord.objects.all()]


async def test_a_session_is_written_changed_and_removed() -> None:
    writer = SessionWriter("node-a")
    session = Session(address="192.0.2.1", user_agent="x" * 500, version="1.2")
    writer.opened(session)
    await writer.write()
    hear(session, "/topic/b", "/topic/a")
    await writer.write()
    [row] = await rows()
    assert (row.id, row.address, row.version, row.node_id) == (
        session.id, "192.0.2.1", "1.2", "node-a",
    )  # fmt: skip
    assert (row.topics, len(row.user_agent)) == ("/topic/a\n/topic/b", 200)
    writer.closed(session)
    await writer.write()
    assert await rows() == []


async def test_a_user_who_logs_in_after_the_first_write_is_shown() -> None:
    writer = SessionWriter("node-a")
    session = Session()
    writer.opened(session)
    await writer.write()
    session.log_in(Login(User(username="alice"), "passcode"))
    await writer.write()
    assert [row.user for row in await rows()] == ["alice"]


def test_ten_thousand_sessions_are_some_queries() -> None:
    writer = SessionWriter("node-a")
    for _ in range(10_000):
        writer.opened(Session())
    with CaptureQueriesContext(connection) as queries:
        writer._save(list(writer._live), [])
    assert len(queries) < 200
    assert SessionRecord.objects.count() == 10_000


async def test_a_session_that_came_and_went_between_two_writes_is_never_written() -> None:
    writer = SessionWriter("node-a")
    session = Session()
    writer.opened(session)
    writer.closed(session)
    await writer.write()
    assert await rows() == []


async def test_the_rows_of_a_dead_node_are_removed_by_another() -> None:
    dead, alive = SessionWriter("dead"), SessionWriter("alive")
    dead.opened(Session())
    await dead.write()
    alive.opened(session := Session())
    await alive.write()
    assert len(await rows()) == 2
    await NodeRecord.objects.filter(id="dead").aupdate(
        seen_at=timezone.now() - NODE_DEAD_AFTER - timedelta(seconds=1)
    )
    alive._signed_at = float("-inf")  # as some seconds later
    await alive.write()
    assert [row.id for row in await rows()] == [session.id]


async def test_a_node_that_was_taken_for_dead_writes_its_sessions_again() -> None:
    writer = SessionWriter("node-a")
    writer.opened(Session())
    await writer.write()
    await NodeRecord.objects.all().adelete()
    writer._signed_at = float("-inf")  # as some seconds later
    await writer.write()
    assert len(await rows()) == 1


async def test_sessions_of_which_nothing_changes_are_not_written_again() -> None:
    writer = SessionWriter("node-a")
    for _ in range(100):
        writer.opened(Session())
    await writer.write()
    still = next(iter(writer._live))
    still.messages_in += 5
    still.heard_at += 60
    saved: list[Any] = []
    writer._save = lambda *what: saved.append(what)  # type: ignore[method-assign]
    for _ in range(5):
        await writer.write()
    assert not saved
    writer._signed_at = float("-inf")  # as some seconds later
    await writer.write()
    assert saved == [([], [])]


async def test_one_that_ends_while_it_is_being_written_leaves_no_row() -> None:
    writer = SessionWriter("node-a")
    session = Session()
    writer.opened(session)
    writing = asyncio.create_task(writer.write())
    await asyncio.sleep(0)
    writer.closed(session)
    await writing
    await writer.write()
    assert await rows() == []


async def test_the_clocks_of_nodes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, right = SessionWriter("slow"), SessionWriter("right")
    with monkeypatch.context() as patch:
        patch.setattr("django.utils.timezone.now", lambda: datetime(2000, 1, 1, tzinfo=UTC))
        slow.opened(session := Session())
        await slow.write()
    right.opened(other := Session())
    await right.write()
    assert {row.id for row in await rows()} == {session.id, other.id}


async def test_a_node_that_ends_takes_its_rows_with_it() -> None:
    writer = SessionWriter("node-a")
    writer.opened(Session())
    await writer.write()
    await writer.close()
    assert await rows() == []
    assert not await NodeRecord.objects.aexists()


async def test_a_failing_database_is_reported_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = SessionWriter("node-a")
    writer.opened(Session())
    with monkeypatch.context() as patch:

        def fail(*args: Any) -> None:
            raise OSError("disk full")

        patch.setattr(writer, "_save", fail)
        await writer.write()
        await writer.write()
    assert caplog.text.count("disk full") == 1
    await writer.write()
    assert len(await rows()) == 1


def test_the_admin_shows_searches_and_filters_sessions_and_changes_nothing() -> None:
    User.objects.create_superuser("root", password="root")
    node = NodeRecord.objects.create(id="node-a", seen_at=timezone.now())
    dead = NodeRecord.objects.create(id="dead", seen_at=timezone.now() - timedelta(minutes=1))
    now = timezone.now()
    for id, where, user in (("one", node, "alice"), ("two", node, "bob"), ("old", dead, "carol")):
        SessionRecord.objects.create(id=id, node=where, user=user, version="1.2", connected_at=now)
    browser = Client()
    browser.login(username="root", password="root")
    url = "/admin/realtime/sessionrecord/"
    page = browser.get(url).content.decode()
    assert "alice" in page and "bob" in page and "carol" not in page
    assert "bob" not in browser.get(url, {"q": "alice"}).content.decode()
    assert "alice" in browser.get(url, {"node__id__exact": "node-a"}).content.decode()
    assert browser.get(f"{url}one/change/").status_code == 200
    assert browser.post(f"{url}one/change/", {"user": "x"}).status_code == 403
    assert browser.get(f"{url}add/").status_code == 403
    assert browser.get(f"{url}one/delete/").status_code == 403
