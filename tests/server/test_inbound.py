"""WebSocket frames, beside what the library websockets makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from realtime.delivery.frames import frame_head
from realtime.server.inbound import is_incomplete, take_messages, unmask


def client_frame(data: bytes, text: bool = True, *, fin: bool = True) -> bytes:
    return Frame(Opcode.TEXT if text else Opcode.BINARY, data, fin=fin).serialize(mask=True)


def taken(data: bytes, largest: int = 2**20, stop_after: int = 10**9) -> tuple[list[bytes], bytes]:
    got: list[bytes] = []

    def deliver(body: bytes, text: bool) -> bool:
        got.append(body)
        return len(got) < stop_after

    return got, take_messages(data, largest, deliver)


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


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1000])
def test_each_beginning_of_a_plain_message_is_incomplete_and_the_whole_is_not(size: int) -> None:
    frame = client_frame(b"x" * size)
    assert all(is_incomplete(frame[:cut], 1000) for cut in range(1, len(frame)))
    assert not is_incomplete(frame, 1000)


@pytest.mark.parametrize(
    "other",
    [
        Frame(Opcode.PING, b"ping").serialize(mask=True),
        Frame(Opcode.CONT, b"more").serialize(mask=True),
        client_frame(b"begin", fin=False),
        Frame(Opcode.TEXT, b"unmasked").serialize(mask=False),
        client_frame(b"x" * 65_536),
    ],
)
def test_the_beginning_of_anything_else_is_not_waited_for(other: bytes) -> None:
    assert not is_incomplete(other[:5], 1000)
