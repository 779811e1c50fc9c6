"""WebSocket frames, beside what the library websockets makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from realtime.delivery.frames import frame_head
from realtime.server.inbound import FrameRefused, Head, read_head, take_messages, unmask


def client_frame(data: bytes, text: bool = True, *, fin: bool = True) -> bytes:
    return Frame(Opcode.TEXT if text else Opcode.BINARY, data, fin=fin).serialize(mask=True)


def taken(data: bytes, largest: int = 2**20, stop_after: int = 10**9) -> tuple[list[bytes], bytes]:
    got: list[bytes] = []

    def deliver(body: bytes, text: bool) -> bool:
        got.append(body)
        return len(got) < stop_after

    at, count = take_messages(data, 0, largest, 10**9, deliver)
    assert count == len(got)
    return got, data[at:]


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_unmasking_is_exclusive_or_with_the_mask_again_and_again(data: bytes, mask: bytes) -> None:
    assert unmask(data, mask) == bytes(b ^ mask[i % 4] for i, b in enumerate(data))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
@pytest.mark.parametrize("text", [True, False])
def test_the_head_of_a_server_frame_is_what_others_write(size: int, text: bool) -> None:
    data = b"x" * size
    frame = Frame(Opcode.TEXT if text else Opcode.BINARY, data).serialize(mask=False)
    assert frame_head(size, text) + data == frame


@given(st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=5), st.data())
def test_whole_messages_are_taken_and_the_rest_is_returned(
    messages: list[tuple[bytes, bool]], draw: st.DataObject
) -> None:
    frames = [client_frame(body, text) for body, text in messages]
    data = b"".join(frames)
    cut = draw.draw(st.integers(0, len(data)))
    got, rest = taken(data[:cut])
    again, end = taken(rest + data[cut:])
    assert got + again == [body for body, _ in messages]
    assert end == b""


@pytest.mark.parametrize(
    "other",
    [
        Frame(Opcode.PING, b"ping").serialize(mask=True),
        Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True),
        Frame(Opcode.CONT, b"more").serialize(mask=True),
        client_frame(b"begin", fin=False),
        Frame(Opcode.TEXT, b"unmasked").serialize(mask=False),
        b"\xc1" + client_frame(b"compressed")[1:],
        client_frame(b"x" * 1001),
        client_frame(b"x" * 70_000),
        b"\x81\xfe\x00\x05" + b"maskhello",
    ],
    ids=[
        "ping",
        "close",
        "more",
        "begin",
        "unmasked",
        "compressed",
        "large",
        "larger",
        "long-head",
    ],
)
def test_what_is_not_plain_is_left_for_others(other: bytes) -> None:
    before, after = client_frame(b"before"), client_frame(b"after")
    got, rest = taken(before + other + after, largest=1000)
    assert got == [b"before"]
    assert rest == other + after


def test_who_is_told_to_stop_stops() -> None:
    frames = [client_frame(b"%d" % number) for number in range(3)]
    got, rest = taken(b"".join(frames), stop_after=2)
    assert got == [b"0", b"1"]
    assert rest == frames[2]


def test_so_many_messages_are_taken_at_most_and_it_is_told_where_the_rest_begins() -> None:
    frames = [client_frame(b"%d" % number) for number in range(3)]
    got: list[bytes] = []
    data = b"before" + b"".join(frames)
    at, count = take_messages(data, 6, 1000, 2, lambda body, text: got.append(body) or True)  # type: ignore[func-returns-value]
    assert (got, count, data[at:]) == ([b"0", b"1"], 2, frames[2])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY, Opcode.CONT])
def test_a_head_says_where_a_frame_ends_once_it_is_there(size: int, opcode: Opcode) -> None:
    frame = Frame(opcode, b"x" * size, fin=False).serialize(mask=True)
    body = len(frame) - size
    assert all(read_head(b"12" + frame[:cut], 2) is None for cut in range(body))
    assert read_head(b"12" + frame, 2) == Head(opcode, False, 2 + body, 2 + body + size)
    assert read_head(b"12" + frame[:body], 2) == Head(opcode, False, 2 + body, 2 + body + size)


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CLOSE])
@pytest.mark.parametrize("size", [0, 2, 125])
def test_control_frames_have_heads_too(opcode: Opcode, size: int) -> None:
    frame = Frame(opcode, b"x" * size).serialize(mask=True)
    assert read_head(frame, 0) == Head(opcode, True, 6, 6 + size)


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x00",  # no mask
        b"\xc1\x80",  # a reserved bit
        b"\x83\x80",  # a reserved opcode
        b"\x8b\x80",
        b"\x09\x80",  # a ping in parts
        b"\x89\xfe",  # a ping over 125 bytes
        b"\x88\x81",  # half a close code
        b"\x82\xfe\x00\x7d\0\0\0\0",  # a length in more bytes than it needs
        b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0",
    ],
)
def test_what_no_client_may_send_is_refused_as_soon_as_it_is_seen(frame: bytes) -> None:
    with pytest.raises(FrameRefused) as refused:
        read_head(frame, 0)
    assert refused.value.code == 1002
