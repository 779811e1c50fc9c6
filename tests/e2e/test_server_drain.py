"""SIGTERM: who is told what, in which time, and that nothing holds up the end."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.kit.clients import StompClient
from tests.kit.processes import TIMEOUT, Gateway
from tests.kit.servers import Server, read, upgrade

HALF_SENT = (b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab", b"GET / HT")


def terminated(server: Server) -> float:
    """Send SIGTERM and return when that was."""
    server.popen.terminate()
    return time.monotonic()


async def ended(server: Server) -> int:
    return await asyncio.to_thread(server.popen.wait, TIMEOUT)


async def test_everybody_is_told_and_the_process_ends_soon(tmp_path: Path) -> None:
    with Server(tmp_path / "log") as server:
        half_sent = [server.socket(data) for data in HALF_SENT]
        opening = server.socket(upgrade("/slow_accept"))
        idle = server.socket(b"GET /scope_seen HTTP/1.1\r\nHost: localhost\r\n\r\n")
        events = server.socket(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow = server.socket(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4096) and events.recv(4096)
        server.wait_for_output("slow began")
        async with server.websocket("/attach") as attached, server.websocket("/echo") as plain:
            await attached.send("go")
            for _ in range(400):
                await attached.recv()
            start = terminated(server)
            goodbye = await attached.recv()
            assert isinstance(goodbye, bytes) and goodbye.startswith(b"goodbye")
            for client in (attached, plain):
                with pytest.raises(ConnectionClosed) as end:
                    await client.recv()
                assert end.value.rcvd is not None and end.value.rcvd.code == 1012
            assert time.monotonic() - start < 2
        assert (await asyncio.to_thread(read, opening)).startswith(b"HTTP/1.1 503 ")
        assert await asyncio.to_thread(read, idle) == b""
        assert (await asyncio.to_thread(read, events)).endswith(b"0\r\n\r\n")
        answer = await asyncio.to_thread(read, slow)
        assert b"Connection: close\r\n" in answer and answer.endswith(b"\r\n\r\ndone")
        assert await ended(server) == 0
        assert time.monotonic() - start < 10
        for client in (*half_sent, opening, idle, events, slow):
            client.close()
    assert "cancelled" in server.output
    assert "disconnected 1012" in server.output
    assert "disconnected twice" not in server.output
    assert "Traceback" not in server.output


async def test_what_was_taken_without_a_task_is_answered_before_the_end(tmp_path: Path) -> None:
    post = b"POST /at_once HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    with Server(tmp_path / "log") as server, server.socket(post) as client:
        server.wait_for_output("taken")
        terminated(server)
        answer = await asyncio.to_thread(read, client)
        assert answer.startswith(b"HTTP/1.1 202 ") and answer.endswith(b"abc")
        assert await ended(server) == 0


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


async def test_nobody_is_let_in_any_more(tmp_path: Path) -> None:
    with Server(tmp_path / "log") as server:
        with server.socket(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n") as slow:
            server.wait_for_output("slow began")
            terminated(server)
            async with asyncio.timeout(15):
                while accepts(server.port):
                    await asyncio.sleep(0.05)
            assert (await asyncio.to_thread(read, slow)).endswith(b"\r\n\r\ndone")
        assert await ended(server) == 0


async def test_many_sessions_do_not_end_at_the_same_moment(tmp_path: Path) -> None:
    with Server(tmp_path / "log", STOMP_DRAIN_SECONDS="10") as server:
        clients = [await server.websocket("/echo", ping_interval=None) for _ in range(300)]
        start = terminated(server)
        times = []

        async def wait(number: int) -> None:
            await clients[number].wait_closed()
            assert clients[number].close_code == 1012
            times.append(time.monotonic() - start)

        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(wait(number))
        assert await ended(server) == 0
    middle = sorted(times)[150]
    assert 0.4 < middle < 3
    assert 1 < max(times) < 8


@pytest.mark.parametrize("path", ["/echo", "/attach", "/endless", "/stubborn"])
async def test_who_does_not_go_holds_nothing_up(tmp_path: Path, path: str) -> None:
    with Server(tmp_path / "log", STOMP_DRAIN_SECONDS="2") as server:
        if path == "/endless":
            client = server.socket(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(1)
        else:
            client = server.upgraded(path)
        start = terminated(server)
        assert await ended(server) == 0
        assert time.monotonic() - start < 6
        client.close()


async def test_a_second_signal_ends_the_waiting(tmp_path: Path) -> None:
    with Server(tmp_path / "log") as server:
        client = server.socket(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1)
        server.popen.send_signal(signal.SIGINT)
        await asyncio.sleep(1)
        assert server.popen.poll() is None
        start = terminated(server)
        assert await ended(server) == 0
        assert time.monotonic() - start < 5
        client.close()


@pytest.mark.parametrize("hurried", [False, True])
async def test_it_may_serve_on_for_a_while_and_say_that_it_is_not_ready(
    variables: dict[str, str], tmp_path: Path, hurried: bool
) -> None:
    mine = {**variables, "STOMP_DRAIN_DELAY_SECONDS": "60" if hurried else "3"}
    with Gateway(tmp_path / "log", **mine) as gateway:
        async with StompClient(gateway.stomp) as client:
            await client.subscribe("/topic/toast")
            gateway.popen.terminate()
            status = 200
            async with asyncio.timeout(15):
                while status == 200:
                    status, content = await asyncio.to_thread(readiness, gateway.port)
            assert (status, content["status"]) == (503, "draining")
            async with StompClient(gateway.stomp) as late:
                await late.request("SEND", {"destination": "/topic/toast"}, b"still there")
                assert (await client.message()).body == b"still there"
                if hurried:
                    gateway.popen.terminate()
                assert (await client.frame("ERROR")).headers["code"] == "restart"
        assert await asyncio.to_thread(gateway.popen.wait, TIMEOUT) == 0


def readiness(port: int) -> tuple[int, dict[str, str]]:
    client = http.client.HTTPConnection("localhost", port, timeout=TIMEOUT)
    with closing(client):
        client.request("GET", "/readyz")
        answer = client.getresponse()
        return answer.status, json.load(answer)
