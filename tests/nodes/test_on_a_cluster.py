"""Nodes and presence on a cluster of Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from realtime.models import SessionRecord
from realtime.nodes import service
from realtime.nodes.acts import Operator, act
from realtime.nodes.board import board
from realtime.nodes.found import find_presence, find_sessions
from realtime.presence import users_on
from realtime.sessions.node import this_node
from tests.kit.local_client import local_client, local_node
from tests.kit.users import make_user
from tests.kit.valkeys import Cluster, closing


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sharded", ["off", "on"])
async def test_a_cluster_has_nodes_and_presence(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: str
) -> None:
    monkeypatch.setattr(service, "REPORT_SECONDS", 0.05)
    settings.STOMP_ROUTING = "tests.routing"
    alice = await sync_to_async(make_user)("alice")
    with closing(Cluster(tmp_path)) as cluster:
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "realtime.layer.TopicLayer",
                "CONFIG": {"hosts": [cluster.url], "sharded": sharded},
            }
        }
        async with local_node():
            this_node().start()
            async with asyncio.timeout(30):
                while not await asyncio.to_thread(lambda: board().reports()):
                    await asyncio.sleep(0.05)
            async with local_client(login="alice", passcode="wonderland") as client:
                room = "/topic/rooms/on-a-cluster"
                await client.subscribe(f"{room}/$presence", id="who")
                await client.subscribe(room, id="room")
                joined = await client.frame("MESSAGE")
                assert joined.body == b'{"event": "join", "user": "alice"}'
                assert await asyncio.to_thread(users_on, room) == ["alice"]
                found = await asyncio.to_thread(lambda: find_sessions(user="alice"))
                assert (found.count, found.missing) == (1, [])
                presence = await asyncio.to_thread(find_presence, room)
                assert [each["user"] for each in presence.users] == ["alice"]
                record = SessionRecord(id=found.rows[0]["id"])
                operator = Operator(alice, "192.0.2.9")
                outcome = await sync_to_async(act)(
                    "unsubscribe", [record], operator, topic=room, reason="enough"
                )
                assert outcome.done == [record]
