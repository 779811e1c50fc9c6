"""The servers of the benchmarks: which are built, how they are started, and what they are asked."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import AsyncMock, Mock, call

import pytest
from websockets.asyncio.server import ServerConnection, serve

from benchmarks import peers, stomp_load
from benchmarks.__main__ import left_out, run_load
from benchmarks.clients import (
    CentrifugoClient,
    Failed,
    HttpClient,
    SpringClient,
    StompClient,
    connect,
)
from benchmarks.http_load import centrifugo_request, notification
from benchmarks.servers import SERVERS, Server, Site, gateway
from benchmarks.stomp_load import Returning
from benchmarks.turns import Turns
from benchmarks.workloads import CENTRIFUGO_MEMORY, CENTRIFUGO_REDIS, SPRING, WORKLOADS, Workload

#: Generous: it only ends a test that would hang.
TIMEOUT: Final = 30

FAN_OUT: Final = {"subscribers": 3, "window": 2, "publishers": 2, "seconds": 0.2}
POST: Final = {"path": "/api/notification", "batch": 3, "connections": 1, "seconds": 0.2}
RECONNECTS: Final = {"sessions": 6, "topics": 2, "at_once": 3, "missed": 2, "seconds": 0.2}
ROOMS: Final = {"sessions": 9, "rooms": 2, "rate": 9, "stopped": 0, "firehose_bytes": 99}
LATENCY: Final = {**ROOMS, "seconds": 0.2}

two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="the server needs one core, the load another"
)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of programs, of which there are no others; what is built is in another."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    forget()
    yield folder
    forget()


def forget() -> None:
    peers.centrifugo.cache_clear()
    peers.spring.cache_clear()


def program(folder: Path, name: str, code: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{code}\n")
    file.chmod(0o755)


def test_peers_are_left_out_where_their_tools_are_missing(tools: Path) -> None:
    missing = left_out(WORKLOADS["fan-out"].servers)
    assert set(missing) == {CENTRIFUGO_REDIS, CENTRIFUGO_MEMORY, SPRING}
    assert missing[CENTRIFUGO_REDIS] == missing[CENTRIFUGO_MEMORY] == "install Go: go is missing"
    assert missing[SPRING] == "install a JDK, 17 or later: java is missing"
    assert left_out(WORKLOADS["redis"].servers) == {}


def test_centrifugo_is_built_once_into_the_cache(
    tools: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program(tools, "go", 'echo "$@" >> "$GOBIN/arguments"; : > "$GOBIN/centrifugo"')
    built = peers.centrifugo()
    assert built.parent.parent == Path(os.environ["XDG_CACHE_HOME"]) / "stomp-gateway-benchmarks"
    peers.centrifugo.cache_clear()
    assert peers.centrifugo() == built
    asked = (built.parent / "arguments").read_text().splitlines()
    assert asked == [f"install {peers.CENTRIFUGO_MODULE}@{peers.CENTRIFUGO_VERSION}"]
    assert capfd.readouterr().out.count("building") == 1


def test_spring_is_built_in_the_cache_and_not_in_this_checkout(tools: Path, project: Path) -> None:
    for name in ("java", "javac"):
        program(tools, name, "")
    before = sorted((project / "benchmarks" / "peers").rglob("*"))
    (tools / "mkdir").symlink_to("/bin/mkdir")
    program(tools, "mvn", 'mkdir "$4/target"; : > "$4/target/peer.jar"')
    jar = peers.spring()
    assert jar.parent.parent.parent == peers.cache_folder()
    assert (jar.parent.parent / "pom.xml").exists()
    assert sorted((project / "benchmarks" / "peers").rglob("*")) == before


def test_a_build_that_fails_leaves_a_peer_out_and_says_why(tools: Path) -> None:
    program(tools, "go", "echo what it did; echo no such module; exit 1")
    with pytest.raises(peers.LeftOut, match="^go could not build it: no such module$"):
        peers.centrifugo()


def test_there_is_a_server_for_each_row_of_each_table() -> None:
    named = {name for workload in WORKLOADS.values() for name in workload.servers}
    assert named == set(SERVERS)


#: Answers a line with lines.
Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]


@asynccontextmanager
async def centrifugo(answer: Answer) -> AsyncIterator[tuple[CentrifugoClient, list[Any]]]:
    """Give a client of a server that answers so, and what the server got."""
    got: list[Any] = []

    async def handle(connection: ServerConnection) -> None:
        async for message in connection:
            for line in str(message).split("\n"):
                got.append(json.loads(line))
                answers = answer(got[-1])
                if answers:
                    lines = [json.dumps(each, separators=(",", ":")) for each in answers]
                    await connection.send("\n".join(lines))

    async with serve(handle, "127.0.0.1", 0, subprotocols=["centrifuge-json"]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = await connect(f"ws://127.0.0.1:{port}/", {"token": "abc"}, protocol="centrifugo")
        assert isinstance(client, CentrifugoClient)
        yield client, got
        client.close()


def answers(command: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer as Centrifugo does; a publish also comes back, twice, and with a ping."""
    if not command:  # a pong
        return []
    if "publish" in command:
        pub = {"channel": "topic:a", "pub": {"data": command["publish"]["data"], "offset": 1}}
        return [{"push": pub}, {"id": command["id"], "publish": {}}, {"push": pub}, {}]
    (name,) = command.keys() - {"id"}
    return [{"id": command["id"], name: {}}]


async def test_several_answers_in_a_message_are_told_apart() -> None:
    heard: list[bytes] = []
    received: list[int] = []
    async with centrifugo(answers) as (client, got):
        client.heard, client.received = heard.append, lambda: received.append(1)
        await client.subscribe("/topic/a")
        client.send("/topic/a", b"00000012x", 12)
        async with asyncio.timeout(TIMEOUT):
            while got[-1] != {}:  # the pong
                await asyncio.sleep(0.01)
    assert got[:2] == [
        {"id": 1, "connect": {"token": "abc"}},
        {"id": 2, "subscribe": {"channel": "topic:a"}},
    ]
    assert got[2]["publish"] == {"channel": "topic:a", "data": "00000012x"}
    assert (client.messages, len(received)) == (2, 1)
    assert [client.body(message)[:9] for message in heard] == [b"00000012x"] * 2


async def test_an_error_in_place_of_an_answer_is_a_failure() -> None:
    def refuse(command: dict[str, Any]) -> list[dict[str, Any]]:
        if "subscribe" in command:
            return [{"id": command["id"], "error": {"code": 103, "message": "denied"}}]
        return answers(command)

    async with centrifugo(refuse) as (client, _):
        with pytest.raises(Failed, match="denied"):
            await client.subscribe("/topic/a")
        assert b"denied" in client.error


async def test_what_was_missed_is_in_the_answer_of_centrifugo() -> None:
    def resumed(command: dict[str, Any]) -> list[dict[str, Any]]:
        if "subscribe" not in command:
            return answers(command)
        missed = [{"data": "a", "offset": 8}, {"data": "b", "offset": 9}]
        came = {"publications": missed} if "recover" in command["subscribe"] else {}
        return [{"id": command["id"], "subscribe": {"epoch": "e", "offset": 7, **came}}]

    async with centrifugo(resumed) as (client, got):
        await client.resume("/topic/a")
        assert (client.position, client.messages) == ({"epoch": "e", "offset": 7}, 0)
        await client.resume("/topic/a", client.position)
        assert client.messages == 2
    channel = {"channel": "topic:a", "recoverable": True}
    after = {"recover": True, "epoch": "e", "offset": 7}
    assert [each["subscribe"] for each in got[1:]] == [channel, channel | after]


async def test_who_is_refused_comes_again_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stomp_load, "AGAIN_SECONDS", 0)
    client = AsyncMock()
    target = Mock(connect=AsyncMock(side_effect=[OSError(), Failed(), client, client]))
    returning = Returning(target, iter([("/topic/a", "e-1"), ("/topic/b", "e-2")]), most_refused=2)
    await returning.come_back()
    assert (returning.refused, returning.clients) == (2, [client, client])
    assert client.resume.await_args_list == [call("/topic/a", "e-1"), call("/topic/b", "e-2")]
    target.connect.side_effect = Failed("full")
    returning.away = iter([("/topic/a", "e-1")])
    with pytest.raises(Failed, match="3 attempts failed, the last: .*full"):
        await returning.come_back()


def test_the_longest_turn_of_a_loop_is_that_in_which_somebody_blocks_it() -> None:
    async def turns() -> list[float]:
        watched = Turns()
        await asyncio.sleep(0.5)  # waiting is no turn
        time.sleep(0.2)
        await asyncio.sleep(0)
        longest = watched.take()
        await asyncio.sleep(0)
        return [longest, watched.take()]

    longest, afterwards = asyncio.run(turns())
    assert 0.2 <= longest < 0.5
    assert afterwards < 0.2


def test_a_long_frame_comes_in_pieces_to_spring_and_without_a_receipt() -> None:
    pieces: list[bytes] = []
    client = SpringClient()
    client.transport = type("", (), {"send": lambda _, kind, piece: pieces.append(piece)})()
    client.send("/topic/a", b"x" * 10_000, 1)
    assert len(pieces) == 2
    assert b"".join(pieces) == b"SEND\ndestination:/topic/a\n\n" + b"x" * 10_000 + b"\0"
    assert StompClient.answered and not SpringClient.answered


def test_a_list_is_posted_in_the_way_of_each_server() -> None:
    path, content = notification("/api/notification", 2)
    assert (path, len(content), content[0]["topic"]) == ("/api/notification", 2, "/topic/toast")
    assert notification("/bare", 0)[1] == content[0]
    path, content = centrifugo_request("/api/notification", 2)
    assert path == "/api/batch"
    assert [each["publish"]["channel"] for each in content["commands"]] == ["topic:toast"] * 2
    assert content["parallel"] is False
    assert centrifugo_request("", 0)[0] == "/api/publish"


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabc", [True]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", [True]),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"error":{}}', []),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", []),
    ],
)
async def test_an_answer_counts_once_it_is_whole_and_no_error(
    answer: bytes, ends: list[bool]
) -> None:
    counted: list[bool] = []
    client = HttpClient("http://localhost:1/", {}, {}, lambda _: counted.append(True))
    client.connection_made(Mock())
    for byte in answer[:-1]:
        client.data_received(bytes([byte]))
    assert not counted and not client.ended.done()
    client.data_received(answer[-1:])
    assert counted == ends
    assert client.ended.done() is not bool(ends)


async def test_an_answer_that_comes_after_the_end_of_a_measurement_is_waited_for() -> None:
    client = HttpClient("http://localhost:1/", {}, {}, lambda each: each.post())
    client.connection_made(transport := Mock())
    client.stop()
    assert not client.ended.done()
    client.data_received(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    assert client.ended.done()
    transport.write.assert_called_once()


def measured(site: Site, server: Server, load: str, options: dict[str, Any]) -> dict[str, Any]:
    row = run_load(site, server, Workload("", "", load, ()), options)
    assert "failed" not in row, row
    assert row["count"] > 0
    return dict(row)


@two_cores
async def test_the_gateway_is_measured_with_logins_and_rules() -> None:
    with Site() as site:
        server = await asyncio.to_thread(gateway, site)
        await asyncio.to_thread(measured, site, server, "fan_out", FAN_OUT)
        await asyncio.to_thread(measured, site, server, "post", POST)
        row = await asyncio.to_thread(measured, site, server, "reconnects", RECONNECTS)
        assert (row["count"], row["refused"]) == (RECONNECTS["sessions"], 0)
        row = await asyncio.to_thread(measured, site, server, "latency", LATENCY)
        assert 0 < row["longest_block"] < 1000 * TIMEOUT
        with pytest.raises(Failed, match="log in"):
            await connect(server.stomp[0], {})
        stranger = Server(server.stomp, server.http, server.headers, pids=server.pids)
        row = await asyncio.to_thread(run_load, site, stranger, Workload("", "", "post", ()), POST)
        assert "401" in row["failed"]


@two_cores
@pytest.mark.parametrize("name", [CENTRIFUGO_REDIS, CENTRIFUGO_MEMORY])
def test_centrifugo_serves_the_load_where_it_was_built_before(name: str) -> None:
    version = f"centrifugo-{peers.CENTRIFUGO_VERSION}"
    if shutil.which("go") is None or not (peers.cache_folder() / version / "centrifugo").exists():
        pytest.skip("only `make bench` builds Centrifugo")
    with Site() as site:
        server = SERVERS[name](site)
        measured(site, server, "fan_out", FAN_OUT)
        measured(site, server, "one_to_one", {"topics": 3, "window": 3, "seconds": 0.2})
        measured(site, server, "post", POST)
        measured(site, server, "post", {**POST, "batch": 0})
        assert measured(site, server, "reconnects", RECONNECTS)["refused"] == 0
        assert "longest_block" not in measured(site, server, "latency", LATENCY)
