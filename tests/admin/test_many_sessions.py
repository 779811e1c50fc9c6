"""10,000 sessions on two nodes: each page asks once, and answers soon."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote as quoted

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from realtime.delivery.frames import StompEncoder
from realtime.delivery.outbox import Direct, Outbox
from realtime.hub.subscription import Subscription
from realtime.models import SessionRecord
from realtime.nodes.board import board
from realtime.sessions.node import Node, this_node
from realtime.sessions.session import Session
from tests.kit.users import make_user

#: On each of two nodes; and what they hear.
SESSIONS = 5000
TOPICS = 500

#: Generous, since both nodes share the process of the test, and it the machine.
MOST_SECONDS = 2.5

pytestmark = pytest.mark.django_db(transaction=True)


class Idle:
    """A member of a node that hears two topics, and does nothing."""

    def __init__(self, number: int) -> None:
        self.session = Session(address=f"192.0.2.{number % 250}")
        self.session.user_name = f"user{number % 1000}"
        self.session.version = "1.2"
        self.session.outbox = outbox = Outbox(
            self._send, max_bytes=1, max_seconds=1, failed=print, watch=print, abandon=print
        )
        self.session.heard = {
            str(key): Subscription(
                f"/topic/many/{topic}", StompEncoder("1.2", str(key)), Direct(outbox)
            )
            for key, topic in enumerate({number % TOPICS, (number * 7) % TOPICS})
        }

    async def _send(self, event: Any) -> None:
        pass

    def tick(self, now: float) -> float:
        return float("inf")


class CrowdedNode:
    """A node with many sessions, on a thread and an event loop of its own."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        node = this_node()
        await self._fill(node)
        self.ready.set()
        await self._end.wait()
        await node.close()

    async def _fill(self, node: Node) -> None:
        beginning = []
        for number in range(SESSIONS):
            member: Any = Idle(number)
            node.add(member)
            node.enter(member)
            beginning += [node.hub.subscribe(each) for each in member.session.heard.values()]
        await asyncio.gather(*beginning)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


@pytest.fixture
def two_nodes(transactional_db: None) -> Iterator[None]:
    """Two nodes, once all their sessions are in the database and in their reports."""
    with contextlib.ExitStack() as stack:
        nodes = [CrowdedNode() for _ in range(2)]
        for node in nodes:
            stack.callback(node.close)
            assert node.ready.wait(150)
        deadline = time.monotonic() + 150
        while [each["sessions"] for each in board().reports()] != [SESSIONS] * 2 or (
            SessionRecord.objects.count() < 2 * SESSIONS
        ):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield


def test_with_10_000_sessions_on_two_nodes_each_page_asks_once_and_answers_soon(
    two_nodes: None, questions: list[str]
) -> None:
    alice = make_user("alice", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(alice)
    sessions, topics = "/admin/realtime/sessionrecord/", "/admin/realtime/topic/"
    record = SessionRecord.objects.latest("connected_at")
    topic = quote("/topic/many/7")
    pages = {
        "/admin/": 0,
        sessions: 1,
        f"{sessions}?p=100": 1,
        f"{sessions}?q=user77": 1,
        f"{sessions}?q={quoted('many/7', safe='')}": 1,
        f"{sessions}?q={record.id[:6]}": 1,
        f"{sessions}?slow=1": 1,
        f"{sessions}?node={record.node_id}": 1,
        f"{sessions}?version=1.2&o=2": 1,
        f"{sessions}{record.id}/change/": 1,
        topics: 1,
        f"{topics}?q=many/7&o=per_second": 1,
        f"{topics}{topic}/change/": 1,
        "/admin/realtime/noderecord/": 0,
    }
    for page, asks in pages.items():
        client.get(page)  # templates and connections are there
        questions.clear()
        began = time.perf_counter()
        with CaptureQueriesContext(connection) as queries:
            response = client.get(page)
        seconds = time.perf_counter() - began
        print(f"{1000 * seconds:7.0f} ms, {len(queries):2} queries, {asks} ask: {page}")
        assert response.status_code == 200
        assert "No answer from" not in response.content.decode()
        assert len(questions) == asks, page
        assert len(queries) <= 12, page
        assert seconds < MOST_SECONDS, page
