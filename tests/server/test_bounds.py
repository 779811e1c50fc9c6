"""What all clients together, and those of one address, may have; how long a request may take."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from realtime.access.limits import Refusals
from realtime.server.bounds import Connections, Counted
from tests.kit.servers import Server, upgrade

MIB = 2**20
POST = b"POST /body HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits: dict[str, Any] = {
        "STOMP_CONNECTIONS_PER_ADDRESS": "3",
        "STOMP_HEAD_SECONDS": "1",
        "STOMP_BODY_SECONDS": "2",
        "STOMP_MAX_REQUESTS_BYTES": f"{MIB}",
        "STOMP_DRAIN_SECONDS": "1",
        "TRUSTED_PROXIES": "127.0.0.0/8",
    }
    with Server(tmp_path_factory.mktemp("bounds") / "log", **limits) as server:
        yield server


def drip(client: socket.socket, data: bytes, seconds: float = 6) -> tuple[float, bytes]:
    """Send byte by byte until the server answers; return after how many seconds, and what."""
    start = time.monotonic()
    client.settimeout(0.2)
    for number in range(int(seconds / 0.2)):
        client.sendall(data[number : number + 1])
        try:
            return time.monotonic() - start, client.recv(1000)
        except TimeoutError:
            continue
    raise AssertionError(f"nothing within {seconds} s")


# Time


@pytest.mark.parametrize(
    "head",
    [POST, upgrade("/echo"), b"GET /" + b"x" * 100],
    ids=["HTTP", "WebSocket", "the first line"],
)
def test_a_head_that_drips_in_is_cut_off(server: Server, head: bytes) -> None:
    with server.socket(head[:20]) as client:
        seconds, answer = drip(client, head[20:])
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.7 < seconds < 2


def test_a_body_that_drips_in_is_cut_off_later(server: Server) -> None:
    for head in (b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n999\r\n"):
        with server.socket(POST + head) as client:
            seconds, answer = drip(client, bytes(100))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert 1.7 < seconds < 3


def test_a_connection_without_a_request_is_kept(server: Server) -> None:
    get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server.socket() as client:
        for _ in range(2):
            time.sleep(1.5)
            client.sendall(get)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_request_that_comes_in_time_may_take_long_to_answer(server: Server) -> None:
    assert server.get("/slow") == (200, b"done")
    time.sleep(1.2)
    assert server.get("/slow") == (200, b"done")


# Bodies


def test_bodies_under_way_are_bounded_all_together_and_given_back(server: Server) -> None:
    length = f"Content-Length: {MIB // 2}\r\n\r\n".encode()
    with server.socket(POST + length) as first, server.socket(POST + length) as second:
        first.sendall(bytes(MIB // 2 - 1))
        second.sendall(bytes(MIB // 2 - 1))
        time.sleep(0.3)
        assert server.request("POST", "/body", b"12") == (200, b"2")
        status, content = server.request("POST", "/body", b"123")
        assert (status, "detail" in json.loads(content)) == (503, True)
        with server.socket(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\n123\r\n") as chunked:
            answer = chunked.recv(1000)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
        first.sendall(b"x")
        assert first.recv(1000).startswith(b"HTTP/1.1 200 ")
        second.sendall(b"x")
        assert second.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert server.request("POST", "/body", bytes(MIB)) == (200, b"%d" % MIB)
    assert server.request("POST", "/body", bytes(MIB)) == (200, b"%d" % MIB)
    assert server.output.count("(busy)") == 1


def test_what_hangs_up_in_the_middle_of_a_body_is_given_back(server: Server) -> None:
    length = f"Content-Length: {MIB}\r\n\r\n".encode()
    for _ in range(3):
        with server.socket(POST + length + bytes(MIB - 1)):
            time.sleep(0.2)
        time.sleep(0.2)
    assert server.request("POST", "/body", bytes(MIB)) == (200, b"%d" % MIB)


def test_a_body_without_a_meaning_is_dropped_and_bounded(server: Server) -> None:
    for method in ("GET", "HEAD"):
        assert server.request(method, "/body", bytes(1000))[0] == 200
    assert server.request("GET", "/body", bytes(1000)) == (200, b"0")
    assert server.request("GET", "/body", bytes(MIB + 1))[0] == 503


def open_files(server: Server) -> list[str]:
    folder = Path(f"/proc/{server.popen.pid}/fd")
    return [str(each.readlink()) for each in folder.iterdir() if each.is_symlink()]


def test_a_large_body_comes_whole_and_no_file_is_made_of_it(server: Server) -> None:
    length = f"Content-Length: {MIB}\r\n\r\n".encode()
    with server.socket(POST + length + bytes(MIB - 1)) as client:
        time.sleep(0.3)
        assert not [name for name in open_files(server) if "(deleted)" in name]
        client.sendall(b"x")
        assert b"%d" % MIB in client.recv(1000)


def test_a_request_that_the_server_refuses_by_itself_leaves_no_trace(server: Server) -> None:
    with server.socket(
        b"POST / HTTP/1.1\r\nHost: x\r\nA(b: c\r\nContent-Length: 0\r\n\r\n"
    ) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in server.output


# Connections of an address


async def test_an_address_has_so_many_websockets_and_streams_and_others_have_theirs(
    server: Server,
) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(server.upgraded("/echo", forwarded="10.0.0.1"))
        stream = stack.enter_context(server.socket(events("10.0.0.1")))
        assert stream.recv(100).startswith(b"HTTP/1.1 200 ")
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                async with server.websocket("/echo", additional_headers=forwarded("10.0.0.1")):
                    pass
            assert refused.value.response.status_code == 429
            with server.socket(events("10.0.0.1")) as another:
                assert another.recv(100).startswith(b"HTTP/1.1 429 ")
        async with server.websocket("/echo", additional_headers=forwarded("10.0.0.2")):
            pass
    time.sleep(0.5)
    async with server.websocket("/echo", additional_headers=forwarded("10.0.0.1")):
        pass
    assert server.output.count("refused 10.0.0.1 (too-many-connections)") == 1


async def test_a_proxy_that_names_nobody_is_not_counted_as_one_client(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(server.upgraded("/echo"))


def forwarded(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def events(address: str) -> bytes:
    head = f"GET /events HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n\r\n"
    return head.encode()


def test_one_more_than_the_limit_is_refused_until_one_leaves(settings: Any) -> None:
    settings.STOMP_CONNECTIONS_PER_ADDRESS = 2
    connections, (first, second, third) = Connections(), [Counted() for _ in range(3)]
    entered = [connections.enter(each, "127.0.0.1") for each in (first, second, third)]
    assert entered == [True, True, False]
    connections.leave(third)
    assert not connections.enter(third, "127.0.0.1")
    connections.leave(first)
    connections.leave(first)
    assert connections.enter(third, "127.0.0.1")
    assert not connections.enter(first, "127.0.0.1")
    for each in (first, second, third):
        connections.leave(each)
    assert vars(connections) == {"_counts": {}}


def test_zero_is_for_any_number(settings: Any) -> None:
    settings.STOMP_CONNECTIONS_PER_ADDRESS = 0
    connections = Connections()
    assert all(connections.enter(Counted(), "127.0.0.1") for _ in range(10_000))


def test_addresses_of_one_ipv6_network_are_one(settings: Any) -> None:
    settings.STOMP_CONNECTIONS_PER_ADDRESS = 1
    connections = Connections()
    assert connections.enter(Counted(), "2001:db8::1")
    assert not connections.enter(Counted(), "2001:db8::2")
    assert connections.enter(Counted(), "2001:db8:0:1::2")


def test_what_is_refused_is_logged_once_a_minute_for_each_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals()
    for client in (["10.0.0.1", 1], ["10.0.0.1", 2], ["10.0.0.2", 1], None):
        refusals.note("too-many-frames", client, "more than 1000")
    refusals.note("busy", ["10.0.0.1", 3], "not now")
    assert len(caplog.messages) == 4


# Who is seen


@pytest.mark.parametrize("path", ["/scope_seen"])
def test_an_application_sees_the_address_of_the_client(server: Server, path: str) -> None:
    status, content = server.get(path, **{"X-Forwarded-For": "1.2.3.4, 10.9.9.9, 127.0.0.2"})
    assert (status, json.loads(content)["client"]) == (200, "10.9.9.9")


async def test_so_does_one_of_websockets(server: Server) -> None:
    headers = forwarded("1.2.3.4, 10.9.9.9")
    async with server.websocket("/client_seen", additional_headers=headers) as client:
        assert await client.recv() == "10.9.9.9"


async def test_without_trusted_proxies_a_client_does_not_choose_its_address(
    tmp_path: Path,
) -> None:
    with Server(tmp_path / "log") as server:
        _, content = server.get("/scope_seen", **forwarded("1.2.3.4"))
        assert json.loads(content)["client"] == "127.0.0.1"
        headers = forwarded("1.2.3.4")
        async with server.websocket("/client_seen", additional_headers=headers) as client:
            assert await client.recv() == "127.0.0.1"
