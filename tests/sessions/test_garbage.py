"""Ended sessions: they are gone at once, and leave the garbage collector nothing to do."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from realtime.delivery.outbox import Outbox
from realtime.sessions.authorization import Authorization
from realtime.sessions.publishing import Publishing
from realtime.sessions.session import Session
from realtime.sessions.stomp_session import StompSession
from realtime.sessions.subscriptions import Subscriptions
from realtime.stomp import Connection
from tests.kit.local_client import TIMEOUT, LocalClient, until

PARTS = (StompSession, Session, Subscriptions, Publishing, Authorization, Outbox, Connection)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> set[int]:
    """Return the ids of what there is; other tests may have left some."""
    return {id(each) for each in gc.get_objects() if isinstance(each, PARTS)}


async def begun(end: str) -> LocalClient:
    client = LocalClient()
    if end == "says nothing":
        await client.socket.connect(TIMEOUT)
        return client
    await client.connect()
    await client.subscribe("/topic/a")
    await client.subscribe("/topic/b", id="1", ack="client")
    await client.request("SEND", {"destination": "/topic/a"})
    await client.frame("MESSAGE")
    return client


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["leaves", "disconnects", "is refused", "says nothing"])
async def test_a_session_that_has_ended_is_gone_at_once(
    node: None, no_collector: None, end: str
) -> None:
    before = alive()
    client = await begun(end)
    begun_now = alive() - before
    assert len(begun_now) == len(PARTS)
    if end == "disconnects":
        await client.send("DISCONNECT", {})
    if end == "is refused":
        await client.send("NONSENSE", {})
    await client.socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await client.socket.wait(TIMEOUT)
    del client
    await until(lambda: not alive() & begun_now)
