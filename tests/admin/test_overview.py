"""The overview, nodes, bridges and the log in the admin."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.finders import find
from django.test import Client

from gateway.overview import CHARTS, FIGURES
from notifications.bridges.routes import IncomingRoute
from realtime import __version__
from realtime.nodes import figures
from realtime.nodes.figures import Figure, host_and_pid, shown
from realtime.sessions.node import this_node
from tests.kit.bridge_routes import route
from tests.kit.local_client import local_client

from .conftest import Browser

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> IncomingRoute:
    bridge = route("channel")
    for module in ("gateway.overview", "notifications.admin"):
        monkeypatch.setattr(f"{module}.incoming_routes", lambda: [bridge])
    return bridge


async def test_the_overview_says_what_there_is_without_javascript(bob: Browser) -> None:
    async with local_client() as client:
        await client.subscribe("/topic/admin/a")
        await_report = this_node().id
        for _ in range(100):
            page = await bob.get("/admin/")
            if re.search(r'class="value"[^>]*>1<', page):
                break
    assert host_and_pid(await_report) in page
    for label in ("Sessions", "Publish to deliver, p99", "Redis round trip", "Slow clients"):
        assert label in page
    (content,) = re.findall(r'id="overview-content" type="application/json">(.*?)</script>', page)
    assert json.loads(content)["sums"]["sessions"] == 1
    assert not re.search(r"<style|\sstyle=", page)


async def test_the_overview_says_what_is_wrong_with_bridges(
    alice: Browser, bridge: IncomingRoute
) -> None:
    page = await alice.get("/admin/")
    assert f"<li>{bridge.id}: no process consumes it; start manage.py bridge</li>" in page


async def test_who_may_not_see_nodes_gets_the_index_alone(charlie: Browser) -> None:
    page = await charlie.get("/admin/")
    assert 'id="overview"' not in page and "overview.js" not in page
    assert "STOMP gateway" in page


async def test_nodes_are_listed(bob: Browser, charlie: Browser) -> None:
    page = await bob.get("/admin/realtime/noderecord/")
    assert f'title="{this_node().id}"' in page
    assert f'data-label="Version">{__version__}</td>' in page
    assert "Sessions ended by errors" in page
    await charlie.get("/admin/realtime/noderecord/", 403)


async def test_bridges_are_listed_with_their_owners_and_dead_letters(
    bob: Browser, alice: Browser, charlie: Browser, bridge: IncomingRoute
) -> None:
    address = "/admin/notifications/bridge/"
    page = await bob.get(address)
    assert bridge.id in page and '<strong class="slow">none</strong>' in page
    assert "channel:GREETING_CHANNEL_OUTBOUND" in page
    assert "deadletter/?route=" not in page
    await charlie.get(address, 403)


async def test_the_log_is_there_to_look_at(bob: Browser, charlie: Browser, alice: Browser) -> None:
    async with local_client():
        id = this_node().members[0].session.id
        await this_node()._writer.write()
        await alice.post(
            "/admin/realtime/sessionrecord/disconnect/", ids=id, reason="too loud", then="reconnect"
        )
    address = "/admin/admin/logentry/"
    page = await bob.get(address)
    assert "alice" in page and id[:8] in page and "it may reconnect: too loud" in page
    await charlie.get(address, 403)
    await alice.get(f"{address}add/", 403)


async def test_the_line_of_places_shows_those_that_one_may_see(
    alice: Browser, charlie: Browser
) -> None:
    def places(page: str) -> list[str]:
        (line,) = re.findall(r'<nav class="places".*?</nav>', page, re.DOTALL)
        return re.findall(r">([^<]+)</a>", line)

    assert places(await charlie.get("/admin/")) == ["Overview"]
    page = await alice.get("/admin/realtime/topic/")
    everything = ["Overview", "Sessions", "Topics", "Nodes", "Bridges", "Dead letters", "Log"]
    assert places(page) == everything
    assert re.findall(r'aria-current="page">([^<]+)<', page) == ["Topics"]


def test_the_login_page_has_the_name_of_the_gateway(client: Client) -> None:
    page = client.get("/admin/login/").content.decode()
    assert "STOMP gateway" in page and "favicon.svg" in page and 'class="places"' not in page


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "number", "–"), (0, "number", "0"), (9.94, "number", "9.9"), (10.4, "number", "10"),
        (12345, "number", "12,345"), (2.0, "number", "2"), (1536, "bytes", "1.5 KB"),
        (1, "bytes", "1 byte"),
        ({}, "counts", "0"), ({"b": 2, "a": 1000}, "counts", "a 1,000, b 2"),
        (0.256, "percent", "26 %"), (3.14, "ms", "3.1 ms"),
        ("host-12-abc", "node", "host-12"), ("host", "node", "host"), ("1.0", "text", "1.0"),
    ],
)  # fmt: skip
def test_values_are_shown_as_people_read_them(value: Any, kind: str, text: str) -> None:
    assert shown(value, kind) == text


def test_times_are_shown_in_the_greatest_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [figures.duration(each) for each in (-1, 0, 59.9, 60, 3599, 3600, 86_399, 86_400)]
    assert said == ["0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d"]


def test_a_figure_of_nothing_is_not_known() -> None:
    assert [each.of({})["text"] for each in CHARTS + FIGURES] == ["–"] * len(CHARTS + FIGURES)
    assert Figure("p99", "a.1", "ms").of({"a": [1, 2.0]})["text"] == "2 ms"


def test_the_script_of_the_page_knows_the_same_kinds_as_the_server() -> None:
    found = find("gateway/admin/shown.js")
    assert isinstance(found, str)
    script = Path(found).read_text()
    kinds = script.partition("const KINDS = {")[2].partition("};")[0]
    assert set(re.findall(r"^  (\w+)[:,]", kinds, re.MULTILINE)) == set(figures._KINDS)
