"""What one user is told, online or not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User

from realtime import notify
from realtime.nodes.board import board
from realtime.sessions.node import this_node
from tests.kit.local_client import local_client, local_node

mails: list[tuple[Any, Any]] = []


@pytest.fixture(autouse=True)
def no_mails() -> Iterator[None]:
    mails.clear()
    yield


def by_mail(user: Any, content: Any) -> None:
    mails.append((user, content))


def by_pigeon(user: Any, content: Any) -> None:
    mails.append((user, f"coo: {content}"))


async def until_reported() -> None:
    async with asyncio.timeout(15):
        while this_node().id not in [
            each["id"] for each in await asyncio.to_thread(board().reports)
        ]:
            await asyncio.sleep(0.02)


@pytest.mark.django_db(transaction=True)
async def test_a_user_who_hears_the_queue_is_told_there_and_nobody_else() -> None:
    alice = await User.objects.acreate_user("josé & co", password="wonderland")
    login = {"login": "josé & co", "passcode": "wonderland"}
    async with local_node(), local_client(**login) as client:
        await until_reported()
        assert await asyncio.to_thread(notify, alice, "too early", fallback=by_mail) is False
        await client.subscribe("/user/queue/notifications")
        told = await asyncio.to_thread(
            notify, alice, {"order": 7}, headers={"note": "kept"}, fallback=by_mail
        )
        message = await client.frame("MESSAGE")
        assert told is True
        assert (message.body, message.headers["note"]) == (b'{"order": 7}', "kept")
        assert await asyncio.to_thread(notify, "bob", "hello", fallback=by_mail) is False
        assert await asyncio.to_thread(notify, alice, "x", queue="b", fallback=by_mail) is False
    assert mails == [(alice, "too early"), ("bob", "hello"), (alice, "x")]


def test_the_fallback_is_an_argument_or_a_setting_or_none(settings: Any) -> None:
    assert notify("alice", "nowhere") is False
    settings.STOMP_NOTIFY_FALLBACK = f"{__name__}.by_mail"
    assert notify("alice", "by mail") is False
    assert notify("alice", "by pigeon", fallback=f"{__name__}.by_pigeon") is False
    assert mails == [("alice", "by mail"), ("alice", "coo: by pigeon")]


def test_while_redis_is_away_the_fallback_is_called(
    redis_away: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert notify("alice", "hello", fallback=by_mail) is False
    assert mails == [("alice", "hello")]
    assert "told something by the fallback" in caplog.text
    with pytest.raises(redis.RedisError):
        notify("alice", "hello")


def test_what_can_t_be_published_is_said_before_anybody_is_told() -> None:
    with pytest.raises(ValueError, match="over the limit"):
        notify("alice", b"x" * 1_000_000, fallback=by_mail)
    with pytest.raises(ValueError, match="character"):
        notify("alice", "hello", queue="a\n", fallback=by_mail)
    assert mails == []
