"""What clients send by WebSocket: at a cost in proportion, not too much, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from realtime.server.bounds import PATIENCE_SECONDS
from realtime.server.traffic import MAX_FRAGMENTS
from realtime.stomp import FrameDecoder
from tests.kit.servers import Server, upgrade

EMPTY = b"\x00\x80\0\0\0\0"
BEGIN = b"\x02\x80\0\0\0\0"
PING = b"\x89\x80\0\0\0\0"
LAST = b"\x82\x84\0\0\0\0last"
BURST = 2000


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits: dict[str, Any] = {
        "STOMP_FRAMES_PER_SECOND": "1000",
        "STOMP_FRAMES_BURST": f"{BURST}",
        "STOMP_MESSAGE_SECONDS": "2",
        "STOMP_DRAIN_SECONDS": "1",
    }
    with Server(tmp_path_factory.mktemp("inbound") / "log", **limits) as server:
        yield server


def close_code(answer: bytes) -> int:
    """Return the code of the close frame that an answer ends with."""
    at = answer.rindex(b"\x88")
    return int.from_bytes(answer[at + 2 : at + 4], "big")


def error_code(answer: bytes) -> str:
    """Return the code of the ERROR that an answer begins with."""
    assert answer[0] == 0x81
    decoder = FrameDecoder(max_frame_bytes=9999, max_header_bytes=999, max_head_bytes=9999)
    decoder.receive_data(answer[2 if answer[1] < 126 else 4 :])
    frame = decoder.next_frame()
    assert frame is not None and frame.command == "ERROR"
    return frame.headers["code"]


# Many small frames


@pytest.mark.parametrize("frame", [PING, b"\x81\x81\0\0\0\0\n", b"\x8a\x80\0\0\0\0"])
def test_a_burst_of_small_frames_is_read_at_once(server: Server, frame: bytes) -> None:
    with server.upgraded("/echo") as client:
        start = time.monotonic()
        client.sendall(frame * BURST + LAST)
        received = b""
        while b"\x82\x04last" not in received:
            received += client.recv(65536)
        assert time.monotonic() - start < 0.5


def test_who_sends_more_than_a_burst_is_read_more_slowly(server: Server) -> None:
    with server.upgraded("/echo") as client:
        start = time.monotonic()
        client.sendall(b"\x8a\x80\0\0\0\0" * (BURST * 32 // 26 + 2000) + LAST)
        assert client.recv(100) == b"\x82\x04last"
        assert 1 < time.monotonic() - start < PATIENCE_SECONDS


def test_who_goes_on_so_is_told_and_closed(server: Server) -> None:
    with server.upgraded("/show") as client:
        start = time.monotonic()
        client.sendall((b"\x8a\x80\0\0\0\0") * 40_000)
        answer = b""
        while b"\x88" not in answer:
            answer += client.recv(1000)
        assert PATIENCE_SECONDS - 1 < time.monotonic() - start < PATIENCE_SECONDS + 3
    assert (error_code(answer), close_code(answer)) == ("too-many-frames", 1008)
    assert "refused 127.0.0.1 (too-many-frames)" in server.output


def test_frames_of_32_bytes_are_free(server: Server) -> None:
    with server.upgraded("/deaf") as client:
        start = time.monotonic()
        client.sendall(masked(Opcode.BINARY, bytes(26)) * 20 * BURST + b"\x82\x80\0\0\0\0")
        assert client.recv(100)[2:] == b"%d" % (20 * BURST * 26)
        assert time.monotonic() - start < 3 + PATIENCE_SECONDS  # the application sleeps for 3


def test_others_are_served_while_clients_send_millions_of_empty_frames(server: Server) -> None:
    flooders = [server.upgraded("/echo") for _ in range(8)]
    for flooder in flooders:
        flooder.setblocking(False)
    longest = 0.0
    with server.upgraded("/echo") as client:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for flooder in flooders:
                try:
                    flooder.send(BEGIN + EMPTY * 100_000)
                except OSError:
                    continue
            start = time.monotonic()
            client.sendall(LAST)
            assert client.recv(100) == b"\x82\x04last"
            longest = max(longest, time.monotonic() - start)
    for flooder in flooders:
        flooder.close()
    print(f"\nthe slowest answer took {longest * 1000:.0f} ms")
    assert longest < 0.5


def test_the_last_of_many_pings_is_answered_for_all(server: Server) -> None:
    with server.upgraded("/echo") as client:
        pings = [masked(Opcode.PING, b"%d" % number) for number in range(100)]
        client.sendall(b"".join(pings))
        received = b""
        while not received.endswith(b"99"):
            received += client.recv(65536)
        assert received.startswith(b"\x8a")
        assert len(received) < 100 * 3


# Fragments


def test_a_message_may_come_in_so_many_fragments(server: Server) -> None:
    part = masked(Opcode.CONT, b"x" * 26, fin=False)
    with server.upgraded("/deaf") as client:
        begin = masked(Opcode.BINARY, b"", fin=False)
        client.sendall(begin + part * (MAX_FRAGMENTS - 2) + masked(Opcode.CONT, b""))
        client.sendall(b"\x82\x80\0\0\0\0")
        assert client.recv(100)[2:] == b"%d" % (26 * (MAX_FRAGMENTS - 2))


def test_a_message_in_more_fragments_is_refused(server: Server) -> None:
    part = masked(Opcode.CONT, b"x" * 26, fin=False)
    before = server.memory
    with server.upgraded("/show") as client:
        client.sendall(masked(Opcode.BINARY, b"", fin=False) + part * MAX_FRAGMENTS)
        answer = client.recv(1000)
    assert (error_code(answer), close_code(answer)) == ("too-many-frames", 1008)
    assert server.memory - before < 4 * 2**20


async def test_fragments_are_put_together_and_pings_between_them_answered(server: Server) -> None:
    async with server.websocket("/echo") as client:
        await client.send(["fragments ", "of \N{SNOWMAN} ", "", "a message"])
        assert await client.recv() == "fragments of \N{SNOWMAN} a message"
    with server.upgraded("/echo") as raw:
        raw.sendall(masked(Opcode.TEXT, b"a\xe2\x98", fin=False) + PING)
        assert raw.recv(100) == b"\x8a\x00"
        raw.sendall(masked(Opcode.CONT, b"\x83b"))
        assert raw.recv(100) == b"\x81\x05a\xe2\x98\x83b"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (masked(Opcode.CONT, b"x"), 1002),
        (masked(Opcode.TEXT, b"x", fin=False) + masked(Opcode.TEXT, b"y"), 1002),
        (masked(Opcode.TEXT, b"\xe2", fin=False) + masked(Opcode.CONT, b"x"), 1007),
        (masked(Opcode.BINARY, bytes(2**20), fin=False) + masked(Opcode.CONT, b"x"), 1009),
        (masked(Opcode.BINARY, bytes(2**20 + 1)), 1009),
    ],
    ids=["no-beginning", "two-beginnings", "no-text", "too-large", "too-large-at-once"],
)
def test_fragments_that_are_no_message_are_refused(
    server: Server, frames: bytes, code: int
) -> None:
    with server.upgraded("/echo") as client:
        client.sendall(frames)
        assert close_code(client.recv(200)) == code


def test_the_answer_to_a_close_is_heard_behind_a_message_that_was_too_large(
    server: Server,
) -> None:
    with server.upgraded("/echo") as client:
        client.sendall(masked(Opcode.BINARY, bytes(2**20 + 1)))
        assert close_code(client.recv(200)) == 1009
        client.sendall(masked(Opcode.CLOSE, b"\x03\xf1"))
        start = time.monotonic()
        assert client.recv(100) == b""
        assert time.monotonic() - start < 2


def test_what_follows_a_close_is_dropped_whatever_it_announces(server: Server) -> None:
    huge = b"\x82\xff\0\0\x01\0\0\0\0\0\0\0\0\0"
    before = server.memory
    with server.upgraded("/leave") as client:
        assert close_code(client.recv(100)) == 1000
        client.sendall(huge + bytes(2**20) * 40)
        assert server.memory - before < 8 * 2**20


def test_a_mebibyte_comes_whole_in_whatever_parts(server: Server) -> None:
    frame = masked(Opcode.BINARY, bytes(2**20))
    with server.upgraded("/deaf") as client:
        for at in range(0, len(frame), 30_011):
            client.sendall(frame[at : at + 30_011])
        client.sendall(b"\x82\x80\0\0\0\0")
        assert client.recv(100)[2:] == b"%d" % 2**20


# Time


@pytest.mark.parametrize(
    "begun",
    [b"\x82", b"\x82\x85\0\0\0\0four", b"\x02\x81\0\0\0\0x", b"\x82\xfe\xff\xff\0\0\0\0x"],
    ids=["head", "frame", "fragments", "large frame"],
)
def test_a_message_that_never_ends_is_refused_though_it_goes_on(
    server: Server, begun: bytes
) -> None:
    with server.upgraded("/show") as client:
        start = time.monotonic()
        client.sendall(begun)
        client.settimeout(0.5)
        answer = b""
        while not answer:
            try:
                answer = client.recv(1000)
            except TimeoutError:
                if begun[0] == 2:
                    client.sendall(EMPTY)
            assert time.monotonic() - start < 8
        assert time.monotonic() - start >= 2
    assert (error_code(answer), close_code(answer)) == ("message-timeout", 1008)


def test_messages_that_follow_each_other_are_no_long_one(server: Server) -> None:
    frame = masked(Opcode.BINARY, b"slow")
    rest = b""
    with server.upgraded("/echo") as client:
        for _ in range(12):
            client.sendall(rest + frame[:5])
            rest = frame[5:]
            time.sleep(0.4)
        client.sendall(rest)
        received = b""
        while len(received) < 12 * 6:
            received += client.recv(1000)
        assert received == b"\x82\x04slow" * 12


def test_what_comes_before_the_handshake_is_answered_is_no_second_one(server: Server) -> None:
    with server.socket(upgrade("/slow_accept")) as client:
        time.sleep(0.5)
        client.sendall(masked(Opcode.TEXT, b"x", fin=False) + upgrade("/echo"))
        assert client.recv(1000).startswith(b"HTTP/1.1 101 ")
