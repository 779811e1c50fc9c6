"""HTTP on one connection: what is read, what is refused and how, and in which order."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from realtime.server.connection import MAX_EARLY_BYTES, MAX_HEAD_BYTES, MAX_HEADERS
from tests.kit.servers import Server, read

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"
GET = b"GET /scope_seen HTTP/1.1\r\n" + HOST
POST = b"POST /body HTTP/1.1\r\n" + HOST
THREE = b"Content-Length: 3\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("connection") / "log"
    with Server(log, STOMP_DRAIN_SECONDS="1", STOMP_BODY_SECONDS="3") as server:
        yield server


def answers(server: Server, data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send data and read to the end; return what was answered: statuses, headers, bodies."""
    with server.socket(data) as client:
        received = read(client)
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = dict(each.lower().split(": ", 1) for each in lines)
        size = int(headers.get("content-length", "0"))
        found.append((int(line.split()[1]), headers, received[:size]))
        received = received[size:]
    return found


# What is read


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (POST + THREE + CLOSE + b"abc", b"3"),
        (POST + CHUNKED + CLOSE + b"3\r\nabc\r\n0\r\n\r\n", b"3"),
        (POST + CHUNKED + CLOSE + b"2;a=b\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\n\r\n", b"3"),
        (POST + CLOSE, b"0"),
        (b"\r\n" + POST + THREE + CLOSE + b"abc", b"3"),
        (b"POST /body HTTP/1.0\r\n" + THREE + b"\r\nabc", b"3"),
    ],
)
def test_a_body_is_read_in_each_way_that_it_may_come(
    server: Server, request_bytes: bytes, body: bytes
) -> None:
    [(status, headers, content)] = answers(server, request_bytes)
    assert (status, content, headers["connection"]) == (200, body, "close")
    assert headers["date"].endswith("gmt")


def test_what_comes_byte_by_byte_is_the_same(server: Server) -> None:
    with server.socket() as client:
        for byte in POST + CHUNKED + CLOSE + b"3\r\nabc\r\n0\r\n\r\n":
            client.sendall(bytes((byte,)))
        assert read(client).endswith(b"\r\n\r\n3")


def test_a_java_client_that_asks_for_http_2_is_answered_in_http_1(server: Server) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    asked = answers(server, POST + upgrade + THREE + b"\r\nabc" + GET + CLOSE)
    assert [(status, content[:1]) for status, _, content in asked] == [(200, b"3"), (200, b"{")]
    asked = answers(server, POST + upgrade + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n" + GET + CLOSE)
    assert [(status, content[:1]) for status, _, content in asked] == [(200, b"3"), (200, b"{")]


def test_http_1_0_may_keep_its_connection(server: Server) -> None:
    line = b"GET /scope_seen HTTP/1.0\r\n"
    asked = answers(server, line + b"Connection: keep-alive\r\n\r\n" + line + b"\r\n")
    assert [headers["connection"] for _, headers, _ in asked] == ["keep-alive", "close"]


def test_a_head_request_is_answered_without_a_body(server: Server) -> None:
    asked = answers(server, b"HEAD /scope_seen HTTP/1.1\r\n" + HOST + b"\r\n" + GET + CLOSE)
    assert [(status, bool(content)) for status, _, content in asked] == [(200, False), (200, True)]


# What is refused


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (POST + THREE + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n", 400),
        (POST + CHUNKED + THREE + b"\r\n3\r\nabc\r\n0\r\n\r\n", 400),
        (POST + THREE + b"Content-Length: 4\r\n\r\nabcd", 400),
        (POST + THREE + THREE + b"\r\nabc", 400),
        (POST + b"Content-Length: +3\r\n\r\nabc", 400),
        (POST + b"Content-Length: -3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (POST + b"Content-Length : 3\r\n\r\nabc", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\nabc", 400),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400),
        (POST + CHUNKED + b"\r\nzz\r\nabc\r\n0\r\n\r\n", 400),
        (POST + CHUNKED + b"\r\n-3\r\nabc\r\n0\r\n\r\n", 400),
        (POST + CHUNKED + b"\r\n3\r\nabcd\r\n0\r\n\r\n", 400),
        (POST + CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n", 400),
        (POST + CHUNKED + b"\r\nffffffffffffffffff\r\nabc", 400),
        (b"GET /scope_seen HTTP/1.1\nHost: localhost\n\n", 400),
        (GET + b"X : y\r\n\r\n", 400),
        (GET + b"X: y\r\n z\r\n\r\n", 400),
        (GET + b"Xy\r\n\r\n", 400),
        (GET + b"A(b: c\r\n\r\n", 400),
        (GET + b"A: c\x00d\r\n\r\n", 400),
        (GET + b"A: c\x0bd\r\n\r\n", 400),
        (GET + b"A: c\rB: d\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /scope_seen HTTP/3.0\r\n\r\n", 400),
        (b"GET /scope_seen\r\n\r\n", 505),
        (b"GET /sc\xc3\xa9 HTTP/1.1\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"get /scope_seen HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\n\r\n", 405),
        (GET + b"X: y\r\n" * MAX_HEADERS + b"\r\n", 431),
        (GET + b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n", 431),
        (POST + CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES + b"\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused_and_the_client_told_why(
    server: Server, request_bytes: bytes, status: int
) -> None:
    start = time.monotonic()
    [(answered, headers, content)] = answers(server, request_bytes)
    assert (answered, headers["connection"]) == (status, "close")
    assert json.loads(content)["detail"]
    assert time.monotonic() - start < 2
    assert "Traceback" not in server.output


def test_a_head_at_its_limits_is_read(server: Server) -> None:
    assert answers(server, GET + b"X: y\r\n" * (MAX_HEADERS - 2) + CLOSE)[0][0] == 200
    names = b"/scope_seen" + b"Hostlocalhost" + b"Connectionclose" + b"X"
    long = b"y" * (MAX_HEAD_BYTES - len(names))
    assert answers(server, GET + b"X: " + long + b"\r\n" + CLOSE)[0][0] == 200
    assert answers(server, GET + b"X: " + long + b"y\r\n" + CLOSE)[0][0] == 431


def test_a_header_without_end_is_refused_though_it_comes_in_parts(server: Server) -> None:
    with server.socket(GET + b"X: ") as client:
        for _ in range(MAX_HEAD_BYTES // 1000 + 2):
            client.sendall(b"y" * 1000)
            time.sleep(0.01)
        assert read(client).startswith(b"HTTP/1.1 431 ")


def test_headers_that_another_name_could_stand_for_are_dropped(server: Server) -> None:
    headers = b"X_Forwarded_For: 10.0.0.1\r\nX-Forwarded_For: 10.0.0.1\r\n"
    [(_, _, content)] = answers(server, GET + headers + CLOSE)
    assert json.loads(content)["client"] == "127.0.0.1"


def test_what_follows_a_refused_request_is_dropped_and_the_answer_arrives(server: Server) -> None:
    with server.socket(POST + b"Content-Length: 99999999\r\n\r\n") as client:
        for _ in range(100):
            client.sendall(b"x" * 65536)
        assert read(client).startswith(b"HTTP/1.1 413 ")


def test_who_is_refused_and_stays_is_cut_off(server: Server) -> None:
    with server.socket(b"nonsense\r\n\r\n") as client:
        assert read(client).startswith(b"HTTP/1.1 400 ")
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe
            for _ in range(80):
                client.sendall(b"x")
                time.sleep(0.1)


# In order


def test_requests_that_come_together_are_answered_in_their_order(server: Server) -> None:
    slow = b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n"
    asked = answers(server, slow + POST + THREE + b"\r\nabc" + GET + CLOSE)
    assert [content[:4] for _, _, content in asked] == [b"done", b"3", b'{"ro']


def test_what_can_not_be_read_is_refused_after_the_answers_to_what_came_before(
    server: Server,
) -> None:
    asked = answers(server, b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\nnonsense\r\n\r\n")
    assert [status for status, _, _ in asked] == [200, 400]


def test_a_websocket_may_follow_a_request(server: Server) -> None:
    upgrade = (
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    slow = b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n"
    with server.socket(slow + upgrade + b"\x81\x82\0\0\0\0hi") as client:
        received = b""
        while not received.endswith(b"\x81\x02hi"):
            assert (data := client.recv(1000)), received
            received += data
    assert received.index(b"done") < received.index(b" 101 ")


def test_who_sends_without_end_and_reads_nothing_is_not_read_any_more(server: Server) -> None:
    before = server.memory
    request = b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n"
    with server.socket(receive_buffer=65536) as client:
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            for _ in range(1_000_000):
                client.sendall(request)
        assert server.memory - before < 8 * 2**20


def test_what_comes_before_its_turn_is_bounded(server: Server) -> None:
    clients = [server.socket() for _ in range(100)]
    for client in clients:
        client.sendall(POST + b"Content-Length: %d\r\n" % (2 * MAX_EARLY_BYTES) + CLOSE)
    for client in clients:
        client.sendall(b"x" * 2 * MAX_EARLY_BYTES)
    for client in clients:
        with client:
            assert read(client).endswith(b"\r\n\r\n%d" % (2 * MAX_EARLY_BYTES))


# What an application answers without a task

AT_ONCE = b"POST /at_once HTTP/1.1\r\n" + HOST + THREE


def test_what_needs_no_task_is_answered_in_its_order_too(server: Server) -> None:
    asked = answers(server, AT_ONCE + b"\r\nabc" + GET + b"\r\n" + AT_ONCE + CLOSE + b"def")
    assert [status for status, _, _ in asked] == [202, 200, 202]
    assert (asked[0][2], asked[2][2]) == (b"abc", b"def")


def test_if_it_fails_that_is_answered_and_logged(server: Server) -> None:
    [(status, _, _)] = answers(server, b"POST /at_once_fails HTTP/1.1\r\n" + HOST + CLOSE)
    assert status == 500
    assert "failed as asked" in server.output


def test_who_leaves_meanwhile_leaves_nothing_behind(server: Server) -> None:
    before = server.output.count("Traceback")
    for _ in range(5):
        server.socket(AT_ONCE + b"\r\nabc").close()
    time.sleep(1)
    assert server.get("/requests") == (200, b"1")  # this one
    assert server.output.count("Traceback") == before


# What an application may answer


def test_an_application_does_not_make_headers_of_one(server: Server) -> None:
    [(status, _, content)] = answers(server, b"GET /split HTTP/1.1\r\n" + HOST + CLOSE)
    assert (status, json.loads(content)) == (500, {"detail": "internal server error"})
    assert "line break" in server.output
