"""The server: daphne with our classes, under clients that read slowly, push, lie and vanish."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.server.server import _with_backlog
from tests.conftest import free_port
from tests.kit.processes import TIMEOUT
from tests.kit.servers import Server, read

MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    options = "--websocket_connect_timeout -1"
    with Server(log, options, STOMP_DRAIN_SECONDS="3") as server:
        yield server


async def closed(client: ClientConnection) -> tuple[int, str]:
    """Read to the end and return how it was closed."""
    async with asyncio.timeout(TIMEOUT):
        try:
            while True:
                await client.recv()
        except ConnectionClosed as end:
            assert end.rcvd is not None, "no close frame"
            return end.rcvd.code, end.rcvd.reason


# Out


async def test_an_application_writes_frames_by_itself_and_hears_when_to_go_on(
    server: Server,
) -> None:
    async with server.websocket("/attach") as client:
        await client.send("go")
        for number in range(400):
            data = await client.recv()
            assert isinstance(data, bytes)
            assert int.from_bytes(data[:4], "big") == number
            assert len(data) == 4 + 32768
    server.wait_for_output("gone")
    assert "no delay True" in server.output


def test_a_client_that_stops_reading_is_waited_for_and_costs_little(server: Server) -> None:
    before = server.memory
    client = server.upgraded("/attach", receive_buffer=65536)
    waiting = server.output.count("waiting")
    client.sendall(b"\x81\x82\0\0\0\0go")
    deadline = time.monotonic() + TIMEOUT
    while server.output.count("waiting") == waiting:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    assert server.output.count("waiting") == waiting + 1
    assert server.memory - before < 2 * MIB
    expected = 400 * (4 + 4 + 32768)
    while expected > 0:
        received = client.recv(MIB)
        assert received
        expected -= len(received)
    client.close()


@pytest.mark.daphne
def test_to_whom_writes_by_itself_what_is_read_together_comes_together(server: Server) -> None:
    client = server.upgraded("/show")
    client.sendall(b"\x89\x80\0\0\0\0\x81\x82\0\0\0\0ki\x82\x82\0\0\0\0nd")
    server.wait_for_output("came ki")  # as it was sent: so it is known how to answer
    server.wait_for_output("came b'nd'")
    client.recv(100)
    client.sendall(b"\x81\x81\0\0\0\0a\x82\x81\0\0\0\0\xff\x81\x82\0\0\0\0\xc3\xa9")
    server.wait_for_output(f"came {b'a' + bytes([0xFF, 0xC3, 0xA9])!r}")
    client.sendall(b"\x81\x82\0\0")  # a message that comes in parts
    time.sleep(0.2)
    client.sendall(b"\0\0de\x81\x81\0\0\0\0f\x81\xfe")
    server.wait_for_output("came b'def'")
    client.sendall(b"\x00\x80\0\0\0\0" + b"g" * 127)
    time.sleep(0.2)
    client.sendall(b"h\x81\x81\0\0\0\0i")
    server.wait_for_output(f"came {b'g' * 127 + b'hi'!r}")
    client.sendall(b"\x81\xfe\x20\x00\0\0\0\0" + b"l" * 8191)
    time.sleep(0.2)
    client.sendall(b"m\x81\x81\0\0\0\0n")
    server.wait_for_output(f"came {b'l' * 8191 + b'mn'!r}")
    client.sendall(b"\x81\x81\0\0\0\0b\x81\x81\0\0\0\0\xff\x81\x81\0\0\0\0c")
    server.wait_for_output("came b'b'")
    assert client.recv(100)[2:4] == (1007).to_bytes(2, "big")
    client.close()
    server.wait_for_output("gone 100")
    assert "came b'c'" not in server.output


def test_the_kernel_takes_little_for_a_client_that_does_not_read(server: Server) -> None:
    server.upgraded("/attach").close()
    server.wait_for_output("unsent 131072")


async def test_send_waits_for_a_client_that_does_not_read(server: Server) -> None:
    before = server.memory
    client = server.upgraded("/flood", receive_buffer=65536)
    server.wait_for_output("flooded 0")
    await asyncio.sleep(1)
    assert "flooded 3000" not in server.output
    assert server.memory - before < 4 * MIB
    client.close()
    async with server.websocket("/flood") as reader:
        total = 0
        with pytest.raises(ConnectionClosed) as end:
            while True:
                total += len(await reader.recv())
        assert total == 200 * MIB
        assert end.value.rcvd is not None
        assert (end.value.rcvd.code, end.value.rcvd.reason) == (1008, "that was all")


def test_a_response_waits_for_a_client_that_does_not_read(server: Server) -> None:
    before = server.memory
    client = server.socket(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", 65536)
    time.sleep(1)
    assert server.memory - before < 4 * MIB
    client.close()
    assert server.get("/stream") == (200, b"x" * 200 * MIB)


async def test_a_message_over_a_mebibyte_goes_out_and_so_does_an_empty_one(
    server: Server,
) -> None:
    async with server.websocket("/large") as client:
        assert len(await client.recv()) == 3 * MIB
        assert await client.recv() == ""


# In


async def test_what_an_application_does_not_read_waits_with_the_client(server: Server) -> None:
    before = server.memory
    highest = 0
    async with server.websocket("/deaf") as client:
        sending = asyncio.create_task(_push(client, 100))
        for _ in range(30):
            await asyncio.sleep(0.1)
            highest = max(highest, server.memory)
        await sending
        assert int(await client.recv()) == 100 * MIB
    assert highest - before < 8 * MIB


async def _push(client: ClientConnection, mebibytes: int) -> None:
    for _ in range(16 * mebibytes):
        await client.send(bytes(65536))
    await client.send(b"")


async def test_small_messages_without_number_wait_with_the_client_too(server: Server) -> None:
    before = server.memory
    client = server.upgraded("/deaf")
    message = b"\x82\x9a\0\0\0\0" + bytes(26)  # smaller ones are not for nothing
    client.sendall(message * 30_000 + b"\x82\x80\0\0\0\0")
    answer = client.recv(100)
    assert answer[2:] == b"780000"
    assert server.memory - before < 4 * MIB
    client.close()


async def test_a_message_that_is_too_large_is_refused_with_1009(server: Server) -> None:
    async with server.websocket("/echo") as client:
        await client.send(bytes(MIB + 1))
        code, reason = await closed(client)
    assert code == 1009
    assert "1048576" in reason


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\x82\x01x", 1002), (b"\x81\x81\0\0\0\0\xff", 1007), (b"\x89\xfe\xff\xff\0\0\0\0", 1002)],
)
def test_who_breaks_the_protocol_is_told_so(server: Server, data: bytes, code: int) -> None:
    client = server.upgraded("/echo")
    client.sendall(data + bytes(100_000))
    answer = client.recv(200)
    assert answer[0] == 0x88
    assert int.from_bytes(answer[2:4], "big") == code
    client.close()


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    before = server.memory
    chunked = (bytes(MIB) for _ in range(100))
    for body in (bytes(100 * MIB), chunked):
        status, content = server.request("POST", "/body", body)
        assert status == 413
        assert "detail" in json.loads(content)
    assert server.memory - before < 8 * MIB


def test_who_asks_first_is_not_told_to_send_a_body_that_is_too_large(server: Server) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n"
    answer = b""
    with server.socket(head + b"Expect: 100-continue\r\n\r\n") as client:
        while data := client.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b" 100 " not in answer


def test_django_may_refuse_a_body_that_is_a_little_too_large(server: Server, settings) -> None:  # type: ignore[no-untyped-def]
    body = bytes(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    assert server.request("POST", "/body", body) == (200, str(len(body)).encode())


# Applications that fail


async def test_a_crash_closes_its_websocket_at_once(server: Server) -> None:
    async with server.websocket("/crash") as client:
        await client.send("now")
        assert (await closed(client))[0] == 1011
    assert "crashed as asked" in server.output


async def test_a_websocket_that_its_application_left_is_closed(server: Server) -> None:
    async with server.websocket("/leave") as client:
        assert (await closed(client))[0] == 1000


async def test_a_sub_protocol_that_was_not_offered_is_the_fault_of_the_application(
    server: Server,
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await server.websocket("/invent", subprotocols=["v12.stomp"])
    assert refusal.value.response.status_code == 500
    assert "never-offered" in server.output


async def test_after_a_response_that_failed_halfway_applications_are_still_looked_after(
    server: Server,
) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        server.get("/half")
    await asyncio.sleep(2.5)
    await test_a_crash_closes_its_websocket_at_once(server)


async def test_after_an_http_timeout_clients_are_still_pinged_and_the_silent_dropped(
    tmp_path: Path,
) -> None:
    options = "--http-timeout 1 --ping-interval 1 --ping-timeout 1"
    with Server(tmp_path / "log", options, STOMP_DRAIN_SECONDS="3") as server:
        with server.socket(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
            assert client.recv(1000)
        await asyncio.sleep(3)
        async with server.websocket("/echo", ping_interval=None) as client:
            with server.upgraded("/echo") as silent:
                assert await asyncio.to_thread(silent.recv, 2) == b"\x89\x00"
                assert await asyncio.to_thread(read, silent) == b""
            await client.send("here")
            assert await client.recv() == "here"


# Options and headers


async def test_minus_one_means_any_time_to_accept(server: Server) -> None:
    async with server.websocket("/slow_accept"):
        pass


async def test_a_client_does_not_choose_the_root_path(server: Server) -> None:
    header = {"Daphne-Root-Path": "/secret"}
    status, content = server.get("/scope_seen", **header)
    assert (status, json.loads(content)) == (200, {"root_path": "", "client": "127.0.0.1"})
    async with server.websocket("/leave", additional_headers=header) as client:
        await closed(client)
    assert "root path ''" in server.output
    assert "/secret" not in server.output


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp:port=8000:interface=0.0.0.0", "tcp:port=8000:interface=0.0.0.0:backlog=4096"),
        ("tcp:port=8000:backlog=7", "tcp:port=8000:backlog=7"),
        ("fd:fileno=3", "fd:fileno=3"),
    ],
)
def test_many_may_wait_to_be_accepted(endpoint: str, expected: str) -> None:
    assert _with_backlog(endpoint) == expected


async def test_over_tls_frames_are_encrypted(tmp_path: Path) -> None:
    key, certificate = _self_signed(tmp_path)
    port = free_port()
    endpoint = f"-e ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    context = ssl.create_default_context(cafile=str(certificate))
    with Server(tmp_path / "log", endpoint, STOMP_DRAIN_SECONDS="3"):
        url = f"wss://localhost:{port}/attach"
        async with connect(url, ssl=context, max_size=None, host="127.0.0.1") as client:
            await client.send("go")
            for number in range(400):
                data = await client.recv()
                assert isinstance(data, bytes)
                assert int.from_bytes(data[:4], "big") == number


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return key, certificate


def test_an_idle_websocket_costs_little(server: Server) -> None:
    first = [server.upgraded("/echo") for _ in range(300)]
    time.sleep(1)
    before = server.memory
    second = [server.upgraded("/echo") for _ in range(300)]
    time.sleep(1)
    assert (server.memory - before) / 300 < 16 * 1024
    for client in first + second:
        client.close()
