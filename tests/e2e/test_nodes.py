"""Operators and all nodes: what is asked on one process is true of all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, manage

#: Generous: it only ends a test that would hang.
TIMEOUT = 30


def asked(variables: dict[str, str], call: str) -> Any:
    """Return what a call says that is made in a process of its own."""
    code = (
        "import json\n"
        "from dataclasses import asdict\n"
        "from realtime.nodes.inquiry import ask\n"
        "from realtime.nodes.overview import overview\n"
        "from realtime.nodes.found import find_presence\n"
        f"print(json.dumps({call}))"
    )
    return json.loads(manage("shell", "-v", "0", "-c", code, **variables))


async def until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.2)


async def test_sessions_of_all_nodes_are_seen_and_put_out_from_anywhere(
    gateway: Gateway, second_gateway: Gateway, variables: dict[str, str]
) -> None:
    topic = f"/topic/nodes/{uuid4().hex}"
    async with StompClient(gateway.stomp) as here, StompClient(second_gateway.stomp) as there:
        ids = {each.connected.headers["session"] for each in (here, there)}
        for each in (here, there):
            await each.subscribe(topic)
        rows = asked(variables, f"ask('sessions', topic={topic!r}).rows('sessions')")
        assert {row["id"] for row in rows} == ids
        assert len({row["node"] for row in rows}) == 2
        shown = await asyncio.to_thread(manage, "sessions", "--topic", topic, **variables)
        assert "2 of 2 sessions" in shown and all(id in shown for id in ids)
        (row,) = json.loads(manage("topics", topic, "--json", **variables))["topics"]
        assert (row["topic"], row["subscribers"], row["nodes"]) == (topic, 2, 2)
        top = manage("top", "--once", **variables)
        assert "Delivered/s" in top and topic in top
        presence = asked(variables, f"asdict(find_presence({topic!r}))")
        assert (presence["count"], presence["anonymous"], presence["users"]) == (2, 2, [])
        done = asked(
            variables, f"ask('disconnect', ids={sorted(ids)}, reason='maintenance').by_node"
        )
        assert {id for answer in done.values() for id in answer["done"]} == ids
        for each in (here, there):
            error = await each.frame("ERROR")
            assert (error.headers["message"], error.headers["code"]) == ("maintenance", "dismissed")


async def test_a_node_that_is_killed_is_gone_within_30_seconds(
    gateway: Gateway, variables: dict[str, str], tmp_path: Path
) -> None:
    def nodes() -> set[int]:
        return {node["pid"] for node in asked(variables, "overview()")["nodes"]}

    with Gateway(tmp_path / "log", **variables) as victim:  # without any session
        await until(lambda: {victim.popen.pid, gateway.popen.pid} <= nodes())
        victim.popen.kill()
        victim.popen.wait()
        await until(lambda: victim.popen.pid not in nodes(), 30)
    with Gateway(tmp_path / "log", **variables) as stopped:
        await until(lambda: stopped.popen.pid in nodes())
        stopped.stop()
        assert stopped.popen.pid not in nodes()
