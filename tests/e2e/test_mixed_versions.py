"""A gateway of an earlier version and one of this, as during a rolling restart, are one system."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.clients import StompClient
from tests.kit.processes import PROJECT, Gateway, Process, procfile

#: The version before: a tag, once there is one.
PREVIOUS = os.environ.get("PREVIOUS", "6e0e946")

ROUTING = """
from gateway.routing import routes as own_routes
from notifications.bridges import from_stream
routes = [from_stream("MIXED_STREAM", to="/topic/mixed"), *own_routes]
"""


@pytest.fixture(scope="module")
def old_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the version before."""
    command = ["git", "archive", PREVIOUS, "gateway", "realtime", "notifications", "manage.py"]
    archive = subprocess.run(command, cwd=PROJECT, capture_output=True)
    if archive.returncode:
        pytest.skip(f"there is no {PREVIOUS} in this clone: {archive.stderr.decode()}")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def both(
    variables: dict[str, str], old_project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Gateway]]:
    """Gateways of both versions on one Redis and one database, which this version has migrated."""
    folder = tmp_path_factory.mktemp("mixed")
    with (
        Gateway(folder / "old", cwd=old_project, **routed(variables, old_project)) as old,
        Gateway(folder / "new", **routed(variables, folder)) as new,
    ):
        yield [old, new]


def routed(variables: dict[str, str], folder: Path) -> dict[str, str]:
    """Return variables for a process with the routes of these tests, written to a folder."""
    (folder / "mixed_routing.py").write_text(ROUTING)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**variables, "STOMP_ROUTING": "mixed_routing", "PYTHONPATH": path}


def post(gateway: Gateway, topic: str, message: object) -> str:
    """Publish by HTTP; return the id."""
    content = json.dumps({"topic": topic, "message": message, "headers": {"kind": "mixed"}})
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{gateway.url}/api/v1/publish", content.encode(), headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(json.load(response)["id"])


@pytest.mark.parametrize("publishing", [0, 1], ids=["old", "new"])
async def test_what_one_publishes_both_deliver_and_keep(
    both: list[Gateway], publishing: int
) -> None:
    topic = f"/topic/mixed/{publishing}"
    publisher, other = both[publishing], both[1 - publishing]
    async with StompClient(publisher.stomp) as near, StompClient(other.stomp) as far:
        for client in (near, far):
            await client.subscribe(topic)
            await client.subscribe("/topic/mixed/*", id="pattern")
        id = await asyncio.to_thread(post, publisher, topic, {"number": 1})
        await near.request("SEND", {"destination": topic, "kind": "mixed"}, b"\xff two")
        for client in (near, far):
            heard = [await client.message() for _ in range(4)]
            first, second = ([each for each in heard if each.body == body] for body in BODIES)
            assert {each.headers["message-id"] for each in first} == {id}
            assert {each.headers["subscription"] for each in second} == {"0", "pattern"}
            assert {each.headers["kind"] for each in heard} == {"mixed"}
        async with StompClient(other.stomp) as late:
            await late.subscribe(topic, **{"last-message-id": id})
            assert (await late.message()).body == BODIES[1]
            await late.subscribe(topic, id="1", replay="2")
            assert [(await late.message()).body for _ in range(2)] == BODIES


BODIES = [b'{"number": 1}', b"\xff two"]


async def test_sessions_go_from_one_to_the_other_and_answers_find_them(
    both: list[Gateway],
) -> None:
    old, new = both
    position = ""
    for number, gateway in enumerate([old, new, old]):
        async with StompClient(gateway.stomp) as client:
            headers = {"last-message-id": position} if position else {}
            await client.subscribe("/topic/moved", **headers)
            if position:
                assert (await client.message()).body == b"%d" % (number - 1)
            await asyncio.to_thread(post, old, "/topic/moved", "here")
            position = (await client.message()).headers["message-id"]
        await asyncio.to_thread(post, new, "/topic/moved", str(number))


async def test_operators_of_the_new_one_see_the_old_one(both: list[Gateway]) -> None:
    async with StompClient(both[0].stomp) as client:
        await client.subscribe("/topic/seen/from/elsewhere")

        def topics() -> list[str]:
            url = f"{both[1].url}/api/v1/topics?text=/topic/seen/"
            with urllib.request.urlopen(url, timeout=30) as response:
                return [each["topic"] for each in json.load(response)["topics"]]

        async with asyncio.timeout(30):
            while await asyncio.to_thread(topics) != ["/topic/seen/from/elsewhere"]:
                await asyncio.sleep(0.5)


@pytest.mark.parametrize("bridging", ["old", "new"])
async def test_a_bridge_of_either_takes_over_from_the_other(
    both: list[Gateway],
    variables: dict[str, str],
    old_project: Path,
    tmp_path: Path,
    redis_client: object,
    bridging: str,
) -> None:
    folders = {"old": old_project, "new": PROJECT}
    order = ["old", "new"] if bridging == "old" else ["new", "old"]
    async with StompClient(both[0].stomp) as one, StompClient(both[1].stomp) as other:
        for client in (one, other):
            await client.subscribe("/topic/mixed")
        for name in order:
            where = routed(variables, tmp_path)
            command, cwd = procfile("bridge"), folders[name]
            with Process(command, tmp_path / name, cwd=cwd, **where) as process:
                await asyncio.to_thread(process.wait_for_output, "MIXED_STREAM: consumed")
                await asyncio.to_thread(redis_client.xadd, "MIXED_STREAM", {"message": name})
                for client in (one, other):
                    assert (await client.message()).body == name.encode()
