"""What is published in the process of the test is recorded, by whatever way it went."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from redis import RedisError

from realtime import apublish, broker, publish, publish_on_commit
from realtime.testing.published import Published


@pytest.mark.usefixtures("layer")
async def test_what_code_and_clients_publish_is_recorded(
    stomp_client: Any, assert_published: Any, assert_not_published: Any
) -> None:
    assert_not_published()
    client = await stomp_client()
    await apublish("/topic/a", {"by": "code"})
    await client.publish("/topic/a", "by a client", kind="news")
    await client.publish("/app/echo-to-topic/ham", "by a function")
    assert_published("/topic/a", {"by": "code"})
    [sent] = assert_published("/topic/a", "by a client", headers={"kind": "news"})
    assert sent.text == "by a client"
    assert len(assert_published("/topic/a")) == 2
    assert_published("/topic/echo", "ham:by a function")
    assert_not_published("/topic/a", "by nobody")


@pytest.mark.usefixtures("layer")
def test_what_synchronous_code_publishes_is_recorded(assert_published: Any) -> None:
    publish("/user/alice/queue/news", "for her")
    assert_published("/user/alice/queue/news", "for her")


@pytest.mark.django_db(transaction=True)
def test_a_transaction_publishes_when_it_is_committed(published: Published) -> None:
    with transaction.atomic():
        publish_on_commit("/topic/a", "committed")
        published.assert_not_published()
    published.assert_published("/topic/a", "committed")


async def test_what_redis_did_not_take_was_not_published(
    redis_away: None, published: Published
) -> None:
    with pytest.raises(RedisError):
        publish("/topic/a", "lost")
    with pytest.raises(RedisError):
        await apublish("/topic/a", "lost")
    published.assert_not_published()


def test_an_expectation_that_fails_shows_what_was_published(published: Published) -> None:
    publish("/topic/a", "ham")
    with pytest.raises(AssertionError, match="/topic/a: 'eggs' was not.*\n  /topic/a: ham"):
        published.assert_published("/topic/a", "eggs")
    with pytest.raises(AssertionError, match="this was published:\n  /topic/a: ham"):
        published.assert_not_published()


def test_recording_ends_and_leaves_who_looked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def look(checked: Any, publish: Any) -> Any:
        seen.append(len(checked))
        return publish()

    monkeypatch.setattr(broker, "trace", look)
    with Published() as published:
        publish("/topic/a", "one")
    publish("/topic/a", "two")
    assert [message.text for message in published.messages] == ["one"]
    assert (seen, broker.trace) == ([1, 1], look)
