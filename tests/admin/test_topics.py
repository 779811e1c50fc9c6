"""Topics in the admin: what is heard and by whom, and histories."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.utils import quote

from realtime.admin.topics import PAGE
from realtime.broker import apublish
from realtime.nodes.inquiry import Answers
from realtime.routes import allow, anyone, service
from realtime.routes.table import routing_table
from tests.kit.local_client import local_client

from .conftest import Browser, log, messages

LIST = "/admin/realtime/topic/"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


def page_of(topic: str) -> str:
    return f"{LIST}{quote(topic)}/change/"


def listed(page: str) -> list[tuple[str, str]]:
    """Return topics with their subscribers."""
    return re.findall(r'change/">([^<]+)</a></th>\s*<td[^>]*>(\d+)</td>', page)


async def test_topics_are_listed_by_subscribers_and_found_by_a_part_of_their_names(
    bob: Browser, questions: list[str]
) -> None:
    async with local_client() as first, local_client() as second:
        await first.subscribe("/topic/admin/a", id="1")
        await first.subscribe("/topic/admin/b", id="2")
        position = (await second.subscribe("/topic/admin/b", id="2")).headers["position"]
        page = await bob.get(LIST)
        assert listed(page) == [("/topic/admin/b", "2"), ("/topic/admin/a", "1")]
        assert position in page and "2 topics" in page
        assert listed(await bob.get(LIST, q="min/a")) == [("/topic/admin/a", "1")]
        assert "No topic with “nothing”" in await bob.get(LIST, q="nothing")
        assert 'aria-sort="descending"><div class="text"><a href="?o=per_second' in await bob.get(
            LIST, o="per_second"
        )
    assert questions == ["topics"] * 4


async def test_subscribers_on_all_nodes_add_up(
    bob: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*args: Any, **kwargs: Any) -> Answers:
        row = {"topic": "/topic/a", "messages": 1}
        one = {**row, "subscribers": 2, "per_second": 1.5, "position": "e-9"}
        two = {**row, "subscribers": 3, "per_second": 2.5, "position": "e-10"}
        none = {**row, "subscribers": 4, "per_second": 0.0, "position": None}
        by_node = {name: {"count": 1, "topics": [each]} for name, each in
                   {"a": one, "b": two, "c": none}.items()}  # fmt: skip
        return Answers(by_node, [])

    monkeypatch.setattr("realtime.nodes.found.ask", answer)
    page = await bob.get(LIST)
    assert listed(page) == [("/topic/a", "9")]
    assert ">2.5<" in page and "<code>e-10</code>" in page


async def test_the_page_of_a_topic_says_who_hears_it_and_what_it_keeps(
    bob: Browser, questions: list[str]
) -> None:
    topic = "/topic/admin/kept"
    async with local_client(login="bob", passcode="wonderland") as first, local_client() as second:
        for client in (first, second):
            await client.subscribe(topic)
        id = await apublish(topic, {"<b>": 1}, {"colour": "red"})
        page = await bob.get(page_of(topic))
    assert re.search(r"Sessions that hear it</dt><dd>2 ", page)
    assert re.search(r"Users, anonymous</dt><dd>1, 1<", page)
    assert 'q=bob">bob</a></th><td class="number">1</td>' in page
    epoch, _, offset = id.rpartition("-")
    assert f"<code>{epoch}</code>" in page and f"Offset</dt><dd>{offset}<" in page
    assert "&quot;&lt;b&gt;&quot;: 1" in page and "<dt>colour</dt><dd>red</dd>" in page
    assert "Publish again" not in page
    assert questions == ["presence"]


async def test_a_history_has_pages(bob: Browser) -> None:
    topic = "/topic/admin/pages"
    for number in range(PAGE + 2):
        await apublish(topic, f"body {number};")
    first, second, third = [await bob.get(page_of(topic), p=str(page)) for page in (1, 2, 3)]
    assert [f"body {number};" in first for number in range(PAGE + 2)] == [False] * 2 + [True] * PAGE
    assert [f"body {number};" in second for number in (0, 1, 2)] == [True, True, False]
    assert first.index(f"body {PAGE};") < first.index(f"body {PAGE - 1};")
    assert 'href="?p=2">Older' in first and "Older" not in second
    assert "Nothing is kept that is older" in third
    for nonsense in ("0", "-1", "x", "99999"):
        await bob.get(page_of(topic), p=nonsense)


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("/topic/admin/*", "reserved for patterns"),
        ("/user/bob/queue/a", "is not a topic"),
        ("nonsense", "no rule of tests.routing covers it"),
    ],
)
async def test_what_has_no_history_is_said(bob: Browser, topic: str, why: str) -> None:
    assert why in await bob.get(page_of(topic))


@pytest.fixture
def rules(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Rules that say who may look back, and who may publish, while DEBUG is off."""
    table = routing_table()
    rules = [
        allow("/topic/admin/hidden", subscribe=anyone, history=service, publish=service),
        allow("/topic/admin/closed", subscribe=anyone),
    ]
    monkeypatch.setattr(table, "rules", type(table)([*rules]).rules)
    return rules


async def test_rules_say_who_may_look_back(bob: Browser, alice: Browser, rules: Any) -> None:
    topic = "/topic/admin/hidden"
    await apublish(topic, "a secret")
    page = await bob.get(page_of(topic))
    assert "a secret" not in page and "You may not look back at" in page
    assert "a secret" in await alice.get(page_of(topic))


async def test_a_message_is_published_again_and_the_log_says_who_did_it(alice: Browser) -> None:
    topic = "/topic/admin/again"
    id = await apublish(topic, b"\xff", {"colour": "red"})
    await apublish(topic, "another")
    async with local_client() as client:
        await client.subscribe(topic)
        assert "Publish again" in await alice.get(page_of(topic))
        page = await alice.post(page_of(topic), id=id)
        message = await client.frame("MESSAGE")
    assert (message.body, message.headers["colour"]) == (b"\xff", "red")
    said = f"Published again: {id} as {message.headers['message-id']}"
    assert messages(page) == [f"{said}."]
    assert await log() == [("alice", "topic", topic, said)]


async def test_what_is_not_kept_any_more_is_not_published(alice: Browser) -> None:
    topic = "/topic/admin/again"
    id = await apublish(topic, "hello")
    for other in ("", "nonsense", f"{id}0", "another-1", id.rpartition("-")[0] + "-0"):
        page = await alice.post(page_of(topic), id=other)
        assert messages(page) == ["That message is not kept any more."], other
    assert await log() == []


async def test_who_may_not_publish_can_not_publish_again(
    bob: Browser, alice: Browser, rules: Any
) -> None:
    await bob.post(page_of("/topic/admin/hidden"), 403, id="e-1")
    page = await alice.post(page_of("/topic/admin/closed"), id="e-1")
    assert "says nothing of publish" in messages(page)[0]
    assert await log() == []


async def test_without_permission_there_is_nothing_to_see(charlie: Browser) -> None:
    for address in (LIST, page_of("/topic/a")):
        await charlie.get(address, 403)
    await charlie.post(page_of("/topic/a"), 403, id="e-1")
