"""A node that may be asked, and three people: Alice may do all, Bob may look, Charlie neither."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from realtime.admin import sessions
from realtime.nodes import found, inquiry, service
from realtime.sessions import records
from realtime.sessions.node import this_node
from tests.kit.local_client import local_node
from tests.kit.users import make_user
from tests.nodes.test_answers import until_reported


@pytest.fixture(autouse=True)
def own_redis(settings: Any) -> None:
    """Nodes of other tests, which may go on for a while, are not seen."""
    layers = deepcopy(settings.CHANNEL_LAYERS)
    layers["default"]["CONFIG"]["prefix"] = f"admin-{uuid4().hex[:8]}"
    settings.CHANNEL_LAYERS = layers


@pytest.fixture
async def node(settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The id of a node that reports, and writes its sessions, without delay."""
    settings.STOMP_ANONYMOUS = True
    settings.STOMP_ROUTING = "tests.routing"
    monkeypatch.setattr(service, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(records, "WRITE_SECONDS", 0.05)
    async with local_node():
        this_node().start()
        await until_reported()
        yield this_node().id


class Browser:
    """Somebody's browser, to be used beside a node that runs on the loop of the test."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.client = Client()
        self.client.force_login(user)

    async def get(self, address: str, status: int = 200, **query: str) -> str:
        response = await sync_to_async(self.client.get)(address, query)
        assert response.status_code == status, response
        return str(response.content.decode())

    async def post(self, address: str, status: int = 200, **data: Any) -> str:
        """Send a form, follow where it leads to, and return that page."""
        response = await sync_to_async(self.client.post)(address, data, follow=True)
        assert response.status_code == status, response
        return str(response.content.decode())


@pytest.fixture
async def alice(transactional_db: None) -> Browser:
    user = await sync_to_async(make_user)("alice", is_staff=True, is_superuser=True)
    return await sync_to_async(Browser)(user)


@pytest.fixture
async def bob(transactional_db: None) -> Browser:
    see = [f"realtime.view_{each}" for each in ("sessionrecord", "noderecord", "topic")]
    see += ["notifications.view_bridge", "admin.view_logentry"]
    user = await sync_to_async(make_user)("bob", *see, is_staff=True)
    return await sync_to_async(Browser)(user)


@pytest.fixture
async def charlie(transactional_db: None) -> Browser:
    user = await sync_to_async(make_user)("charlie", is_staff=True)
    return await sync_to_async(Browser)(user)


def messages(page: str) -> list[str]:
    """Return what a page tells about what was done."""
    return re.findall(r'<li class="(?:success|warning|error)">(.*?)</li>', page)


@sync_to_async
def log() -> list[tuple[str, str, str, str]]:
    """Return who did, to a thing of which kind and id, what."""
    entries = LogEntry.objects.order_by("id").select_related("user", "content_type")
    return [
        (each.user.get_username(), each.content_type.model, each.object_id, each.change_message)
        for each in entries
    ]


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pages ask of nodes."""
    asked: list[str] = []

    def ask(question: str, **arguments: Any) -> Any:
        asked.append(question)
        return original(question, **arguments)

    original = inquiry.ask
    for module in (found, sessions):
        monkeypatch.setattr(module, "ask", ask)
    return asked
