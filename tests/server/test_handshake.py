"""Which requests become a WebSocket, what the others are answered, and how one ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.server.connection import HttpConnection
from realtime.server.handshake import accepted
from realtime.server.http import GatewayRequest
from tests.kit.servers import Server, read, upgrade

ECHO = upgrade("/echo")
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
VERSION = b"Sec-WebSocket-Version: 13\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("handshake") / "log"
    with Server(log, STOMP_DRAIN_SECONDS="1") as server:
        yield server


def more(headers: bytes) -> bytes:
    return ECHO[:-2] + headers + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "said"),
    [
        (ECHO.replace(b"GET", b"POST", 1), 405, b"GET"),
        (ECHO.replace(b"HTTP/1.1", b"HTTP/1.0"), 400, b"HTTP/1.1"),
        (ECHO.replace(b"Host: localhost\r\n", b""), 400, b"host"),
        (more(b"Host: elsewhere"), 400, b"host"),
        (more(b"Origin: http://elsewhere"), 400, b"origin"),
        (ECHO.replace(KEY, b"abc"), 400, b"sec-websocket-key"),
        (ECHO.replace(KEY, b"dGhlIHNhbXBsZSBub25j!!=="), 400, b"sec-websocket-key"),
        (ECHO.replace(b"Sec-WebSocket-Key", b"X-Key"), 400, b"sec-websocket-key"),
        (more(b"Sec-WebSocket-Key: " + KEY), 400, b"sec-websocket-key"),
        (ECHO.replace(VERSION, b""), 426, b"13"),
        (ECHO.replace(VERSION, b"Sec-WebSocket-Version: 8\r\n"), 426, b"13"),
        (more(VERSION.strip()), 400, b"sec-websocket-version"),
        (more(b"Content-Length: 3") + b"abc", 400, b"body"),
        (more(b"Transfer-Encoding: chunked"), 400, b"body"),
        (more(b"Sec-WebSocket-Protocol: v12.stomp, v12.stomp"), 400, b"twice"),
    ],
)
def test_what_can_not_become_one_is_refused_and_told_why(
    server: Server, request_bytes: bytes, status: int, said: bytes
) -> None:
    with server.socket(request_bytes) as client:
        head, _, body = read(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert said in body and b"\r\nConnection: close" in head
    assert (status == 426) == (b"\r\nSec-WebSocket-Version: 13" in head)


@pytest.mark.parametrize(
    "request_bytes",
    [
        ECHO.replace(b"websocket\r\n", b"WebSocket\r\n"),
        ECHO.replace(b"Connection: Upgrade", b"connection: keep-alive, UPGRADE"),
        more(b"Sec-WebSocket-Extensions: permessage-deflate"),
        more(b"Content-Length: 0"),
    ],
)
def test_what_may_be_written_in_more_than_one_way_may(server: Server, request_bytes: bytes) -> None:
    with server.socket(request_bytes + b"\x81\x82\0\0\0\0hi") as client:
        received = b""
        while not received.endswith(b"\x81\x02hi"):
            assert (data := client.recv(1000)), received
            received += data
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in received
    assert b"Extensions" not in received


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (b"\x88\x80\0\0\0\0", b"\x88\x02\x03\xe8"),
        (b"\x88\x82\0\0\0\0\x03\xe9", b"\x88\x02\x03\xe8"),
        (b"\x88\x85\0\0\0\0\x0f\xa0bye", b"\x88\x02\x03\xe8"),
        (b"\x88\x82\0\0\0\0\x03\xed", b"\x03\xea"),  # 1005 stands for none
        (b"\x88\x82\0\0\0\0\x03\xf7", b"\x03\xea"),  # 1015
        (b"\x88\x82\0\0\0\0\x03\xe7", b"\x03\xea"),  # 999
        (b"\x88\x82\0\0\0\0\x13\x88", b"\x03\xea"),  # 5000
        (b"\x88\x81\0\0\0\0\x03", b"\x03\xea"),
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", b"\x03\xef"),
    ],
)
def test_a_close_frame_is_answered(server: Server, frame: bytes, answer: bytes) -> None:
    with server.upgraded("/echo") as client:
        client.sendall(frame)
        received = client.recv(200)
        assert received[0] == 0x88 and answer in received[:4]
        if answer[0] == 0x88:
            assert read(client) == b""


def test_an_application_does_not_make_headers_of_one() -> None:
    with pytest.raises(ValueError, match="line break"):
        accepted(KEY, None, [(b"name", b"value\r\nother: value")], "")
    assert b"\r\nname: value\r\n" in accepted(KEY, None, [(b"name", b"value")], "")


def test_a_request_in_a_log_has_no_ticket() -> None:
    connection: Any = HttpConnection.__new__(HttpConnection)
    connection.server = connection.client = None
    request = GatewayRequest(connection)
    request.method, request.target = "GET", b"/api/events?topic=/topic/a&ticket=secret"
    assert repr(request) == "<GatewayRequest GET '/api/events'>"


def test_nor_has_one_in_the_access_log(tmp_path: Path) -> None:
    with Server(tmp_path / "log", f"--access-log {tmp_path / 'access'}") as server:
        server.get("/scope_seen?ticket=secret")
        server.upgraded("/echo?ticket=secret").close()
        server.wait_for_output("disconnected")
    written = (tmp_path / "access").read_text()
    assert '"GET /scope_seen" 200' in written and '"WSCONNECT /echo"' in written
    assert "secret" not in written + server.output
