"""Bytes to frames and back, rule by rule."""

from __future__ import annotations

import tracemalloc
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.stomp import HEARTBEAT, Frame, FrameDecoder, FrameError, FrameTooLarge, encode
from realtime.stomp.frames import encode_head

VERSIONS = ("1.0", "1.1", "1.2")
ESCAPING = ("1.1", "1.2")


def decoder_for(version: str = "1.2", **limits: int) -> FrameDecoder:
    decoder = FrameDecoder(**limits)
    decoder.version = version
    return decoder


def decode(*pieces: bytes, version: str = "1.2", **limits: int) -> list[Frame]:
    """Feed the pieces one by one, taking what is complete after each."""
    decoder = decoder_for(version, **limits)
    frames: list[Frame] = []
    for piece in pieces:
        decoder.receive_data(piece)
        frames += iter(decoder.next_frame, None)
    return frames


def decode_one(data: bytes, version: str = "1.2", **limits: int) -> Frame:
    (frame,) = decode(data, version=version, **limits)
    return frame


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


# The frame


@pytest.mark.parametrize("version", VERSIONS)
def test_a_frame_is_a_command_headers_a_blank_line_a_body_and_nul(version: str) -> None:
    data = b"SEND\ndestination:/topic/a\ncontent-type:text/plain\n\nhello\0"
    headers = {"destination": "/topic/a", "content-type": "text/plain"}
    assert decode(data, version=version) == [Frame("SEND", headers, b"hello")]


@pytest.mark.parametrize("version", VERSIONS)
def test_headers_and_body_are_optional(version: str) -> None:
    assert decode(b"DISCONNECT\n\n\0", version=version) == [Frame("DISCONNECT")]


@pytest.mark.parametrize("data", [b"", b"S", b"SEND\n", b"SEND\na:b\n\n", b"SEND\na:b\n\nbody"])
def test_an_incomplete_frame_is_no_frame_yet(data: bytes) -> None:
    assert decode(data) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_lines_may_end_in_cr_lf_in_every_version(version: str) -> None:
    data = b"SEND\r\ndestination:/topic/a\r\na:b\r\n\r\nhello\r\n\0"
    assert decode(data, version=version) == [
        Frame("SEND", {"destination": "/topic/a", "a": "b"}, b"hello\r\n")
    ]


@pytest.mark.parametrize(
    "data",
    [b"SEND\r\na:b\n\nx\0", b"SEND\na:b\r\n\nx\0", b"SEND\na:b\n\r\nx\0", b"SEND\r\na:b\r\n\nx\0"],
)
def test_both_line_ends_may_be_mixed(data: bytes) -> None:
    assert decode(data) == [Frame("SEND", {"a": "b"}, b"x")]


def test_only_the_first_blank_line_ends_the_headers() -> None:
    assert decode_one(b"SEND\n\n\n\r\n\nx\0").body == b"\n\r\n\nx"
    assert decode_one(b"SEND\r\n\r\n\n\nx\0").body == b"\n\nx"


def test_a_body_may_look_like_a_frame() -> None:
    body = b"SEND\ndestination:/topic/b\n\n"
    assert decode_one(b"SEND\ndestination:/topic/a\n\n" + body + b"\0").body == body


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("line_ends", [b"", b"\n", b"\r\n", b"\n\n\n", b"\r\n\n\r\n", b"\n" * 999])
def test_line_ends_between_frames_mean_nothing(line_ends: bytes, version: str) -> None:
    one = b"SEND\na:b\n\nx\0"
    data = line_ends + one + line_ends + one + line_ends
    assert decode(data, version=version) == [Frame("SEND", {"a": "b"}, b"x")] * 2


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
@pytest.mark.parametrize("between", [b"\0", b"\0\n", b"\n\0\r\n\0\0", b"\0" * 1000])
def test_so_do_nuls(between: bytes, version: str) -> None:
    one, long = b"SEND\na:b\n\nx\0", b"SEND\ncontent-length:2\n\n\0y\0"
    data = between + one + between + long + between + one + between
    expected = [Frame("SEND", {"a": "b"}, b"x"), Frame("SEND", {"content-length": "2"}, b"\0y")]
    assert decode(data, version=version) == [*expected, expected[0]]
    cut = (data[at : at + 1] for at in range(len(data)))
    assert decode(*cut, version=version) == [*expected, expected[0]]


def test_a_heart_beat_is_one_line_feed_and_no_frame() -> None:
    assert HEARTBEAT == b"\n"
    assert decode(HEARTBEAT, HEARTBEAT, b"\r\n") == []


@pytest.mark.parametrize(
    "data",
    [
        b"DISCONNECT\0",
        b"DISCONNECT\n\0",
        b"DISCONNECT\r\n\0",
        b"DISCONNECT\nreceipt:77\n\0",
        b"SEND\na:b\0\n\nbody\0",
        b"\0 \0",
        b"SEND\0",
    ],
)
def test_a_frame_without_its_blank_line_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        decode(data)
    assert caught.value.code == "bad-frame"


def test_commands_and_header_names_are_case_sensitive() -> None:
    frame = decode_one(b"send\nContent-Length:1\nA:1\na:2\n\nlonger\0")
    assert frame.command == "send"
    assert frame.headers == {"Content-Length": "1", "A": "1", "a": "2"}
    assert frame.body == b"longer"


# Headers


def test_a_repeated_header_counts_once() -> None:
    assert decode_one(b"MESSAGE\nfoo:World\nfoo:Hello\n\n\0").headers == {"foo": "World"}


def test_a_header_repeated_under_escapes_counts_once() -> None:
    assert decode_one(b"SEND\na\\cb:1\na\\cb:2\n\n\0").headers == {"a:b": "1"}


def test_the_first_content_length_counts() -> None:
    assert decode_one(b"SEND\ncontent-length:3\ncontent-length:1\n\na\0b\0").body == b"a\0b"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_value_may_be_empty_or_hold_colons(version: str) -> None:
    frame = decode_one(b"SEND\nempty:\nurl:http://a:80/\ncolon::\n\n\0", version)
    assert frame.headers == {"empty": "", "url": "http://a:80/", "colon": ":"}


@pytest.mark.parametrize("version", ESCAPING)
def test_headers_are_never_trimmed_since_1_1(version: str) -> None:
    frame = decode_one(b"SEND\na: b \n c :\td\n\n\0", version)
    assert frame.headers == {"a": " b ", " c ": "\td"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_carriage_return_inside_a_line_is_data(version: str) -> None:
    assert decode_one(b"SEND\na:b\rc\n\n\0", version).headers == {"a": "b\rc"}


def test_the_padding_of_values_is_no_part_of_them_in_1_0() -> None:
    """The examples of the specification pad: ``destination: /queue/foo``."""
    frame = decode_one(b"SUBSCRIBE\ndestination: /queue/foo\nack: client\n\n\0", "1.0")
    assert frame.headers == {"destination": "/queue/foo", "ack": "client"}


@pytest.mark.parametrize("line", [b"no colon", b":no name", b":", b" ", b"\r\r"])
def test_a_header_without_name_and_colon_is_refused(line: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        decode(b"SEND\na:b\n" + line + b"\n\n\0")
    assert caught.value.code == "bad-header"


@pytest.mark.parametrize("version", VERSIONS)
def test_headers_are_utf_8(version: str) -> None:
    frame = decode_one("SEND\nprénom:Zoë ☃ 𝄞\n\n\0".encode(), version)
    assert frame.headers == {"prénom": "Zoë ☃ 𝄞"}


@pytest.mark.parametrize(
    "line", [b"a:\xff", b"\xff:b", b"a:\xc3", b"a:\xed\xa0\x80", b"a:\xc0\x80"]
)
def test_a_header_that_is_not_utf_8_is_refused(line: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        decode(b"SEND\n" + line + b"\n\n\0")
    assert caught.value.code == "bad-header"


@pytest.mark.parametrize("command", [b"S\xc3\x89ND", b"\xff\xfe", b"\xef\xbb\xbfSEND"])
def test_a_command_that_is_not_ascii_is_refused(command: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        decode(command + b"\n\n\0")
    assert caught.value.code == "bad-frame"


# Escapes


@pytest.mark.parametrize(
    ("version", "raw", "text"),
    [
        ("1.0", rb"\n\c\\\r\t" + b"\\", r"\n\c\\\r\t" + "\\"),
        ("1.1", rb"\n\c\\", "\n:\\"),
        ("1.1", rb"\\n\\c\\\\", r"\n\c" + "\\\\"),
        ("1.2", rb"\n\c\\\r", "\n:\\\r"),
        ("1.2", rb"\\r\\n", r"\r\n"),
        ("1.2", rb"a\\\nb", "a\\\nb"),
    ],
)
def test_escapes_mean_what_the_version_says(version: str, raw: bytes, text: str) -> None:
    assert decode_one(b"SEND\nname:" + raw + b"\n\n\0", version).headers == {"name": text}
    assert decode_one(b"SEND\n" + raw + b":value\n\n\0", version).headers == {text: "value"}


@pytest.mark.parametrize("place", [b"name:%s", b"%s:value"])
@pytest.mark.parametrize(
    ("version", "raw"),
    [
        ("1.1", rb"\r"),
        *product(
            ESCAPING, [rb"\t", rb"\N", rb"\C", rb"\0", b"\\", b"a\\", rb"\\\x", b"\\\xc3\xa9"]
        ),
    ],
)
def test_an_undefined_escape_is_fatal(version: str, raw: bytes, place: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        decode(b"SEND\n" + place % raw + b"\n\n\0", version=version)
    assert caught.value.code == "bad-header"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["CONNECT", "STOMP", "CONNECTED"])
def test_connecting_frames_have_no_escapes(command: str, version: str) -> None:
    data = command.encode() + b"\npasscode:a\\nb:c\\t\\\n\n\0"
    frame = Frame(command, {"passcode": "a\\nb:c\\t\\"})
    assert decode(data, version=version) == [frame]
    assert encode(frame, version) == data


# Bodies and content-length


@pytest.mark.parametrize("version", VERSIONS)
def test_content_length_lets_a_body_hold_nul(version: str) -> None:
    body = b"\0a\0\n\n\0"
    data = b"SEND\ncontent-length:6\n\n" + body + b"\0" + b"ABORT\n\n\0"
    assert decode(data, version=version) == [
        Frame("SEND", {"content-length": "6"}, body),
        Frame("ABORT"),
    ]


def test_without_content_length_the_first_nul_ends_the_body() -> None:
    assert decode(b"SEND\n\nab\0\nABORT\n\n\0") == [Frame("SEND", {}, b"ab"), Frame("ABORT")]


@pytest.mark.parametrize("length", [b"0", b"00", b"  0", b"0 ", b"\t0"])
def test_a_content_length_of_nothing_is_an_empty_body(length: bytes) -> None:
    assert decode_one(b"SEND\ncontent-length:" + length + b"\n\n\0").body == b""


def test_content_length_may_have_leading_zeros() -> None:
    assert decode_one(b"SEND\ncontent-length:0002\n\na\0\0").body == b"a\0"


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_body_longer_than_its_content_length_is_refused(length: int) -> None:
    with pytest.raises(FrameError) as caught:
        decode(b"SEND\ncontent-length:%d\n\nhello\0" % length)
    assert caught.value.code == "bad-frame"


def test_a_body_shorter_than_its_content_length_takes_what_follows() -> None:
    data = b"SEND\ncontent-length:9\n\nhello\0"
    assert decode(data) == []
    with pytest.raises(FrameError) as caught:
        decode(data + b"SEND\na:b\n\n\0")
    assert caught.value.code == "bad-frame"


@pytest.mark.parametrize(
    "length", ["", " ", "x", "-1", "+1", "1.0", "1e3", "0x1", "1_0", "1 1", "١", "²", "1,1"]
)
def test_a_content_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode(f"SEND\ncontent-length:{length}\n\n".encode())
    assert caught.value.code == "bad-header"


@pytest.mark.parametrize("digits", [b"10000000000", b"9" * 20, b"9" * 21, b"9" * 4000, b"9" * 5000])
def test_a_huge_content_length_is_refused_before_memory_or_time_is_spent(digits: bytes) -> None:
    decoder = decoder_for()
    data = b"SEND\ncontent-length:" + digits + b"\n\n"
    tracemalloc.start()
    try:
        decoder.receive_data(data)
        with pytest.raises(FrameTooLarge) as caught:
            decoder.next_frame()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "frame-too-large"
    assert peak < 256 * 1024


# Limits


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"SEND\na:b\n\n", b""),
        (b"SEND\ncontent-length:2000\n\n", b""),
        (b"SEND\r\na:b\r\n\r\n", b""),
        (b"SEND\na:", b"\n\n"),
    ],
)
def test_a_frame_may_be_as_large_as_the_limit(before: bytes, after: bytes, cut: bool) -> None:
    """Everything counts but the NUL that ends the frame."""
    data = before + b"x" * 2000 + after
    pieces = byte_by_byte(data + b"\0") if cut else [data + b"\0"]
    assert len(decode(*pieces, max_frame_bytes=len(data))) == 1
    with pytest.raises(FrameTooLarge) as caught:
        decode(*pieces, max_frame_bytes=len(data) - 1)
    assert caught.value.code == "frame-too-large"


@pytest.mark.parametrize("start", [b"SEND\na:b\n\n", b"SEND\na:b\n", b"SEND\na:"])
def test_a_frame_that_never_ends_is_refused_one_byte_above_the_limit(start: bytes) -> None:
    decoder = decoder_for(max_frame_bytes=1000)
    decoder.receive_data(start + b"x" * (1000 - len(start)))
    assert decoder.next_frame() is None
    decoder.receive_data(b"x")
    with pytest.raises(FrameTooLarge):
        decoder.next_frame()


def test_what_stands_between_frames_counts_for_no_frame() -> None:
    data = b"SEND\n\nx\0"
    assert len(decode(b"\n" * 100 + data + b"\r\n" * 100 + data, max_frame_bytes=7)) == 2


def test_the_limit_is_for_each_frame_not_for_the_data() -> None:
    assert len(decode(b"SEND\n\nx\0" * 1000, max_frame_bytes=7)) == 1000


def test_a_frame_may_have_as_many_headers_as_the_limit() -> None:
    lines = [b"h%d:x\n" % number for number in range(11)]
    assert len(decode_one(b"SEND\n" + b"".join(lines[:10]) + b"\n\0", max_headers=10).headers) == 10
    with pytest.raises(FrameTooLarge) as caught:
        decode(b"SEND\n" + b"".join(lines) + b"\n\0", max_headers=10)
    assert caught.value.code == "too-many-headers"


def test_repeated_headers_count_for_the_limit_too() -> None:
    with pytest.raises(FrameTooLarge) as caught:
        decode(b"SEND\n" + b"a:b\n" * 11 + b"\n\0", max_headers=10)
    assert caught.value.code == "too-many-headers"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_header_line_may_be_as_long_as_the_limit(end: bytes) -> None:
    def data(length: int) -> bytes:
        return b"SEND" + end + b"a:" + b"x" * (length - 2) + end + end + b"\0"

    assert decode_one(data(50), max_header_bytes=50).headers == {"a": "x" * 48}
    with pytest.raises(FrameTooLarge) as caught:
        decode(data(51), max_header_bytes=50)
    assert caught.value.code == "header-too-long"


@pytest.mark.parametrize(
    "head", [b"SEND\na:b\n\n", b"SEND\r\na:b\r\n\r\n", b"SEND\na:b\n\r\n", b"SEND\n\n"]
)
def test_a_head_may_be_as_large_as_the_limit_however_it_is_cut(head: bytes) -> None:
    """The blank line belongs to it; the body does not."""
    data = head + b"x" * 500 + b"\0"
    for pieces in ([data], byte_by_byte(data)):
        assert len(decode(*pieces, max_head_bytes=len(head))) == 1
        with pytest.raises(FrameTooLarge) as caught:
            decode(*pieces, max_head_bytes=len(head) - 1)
        assert caught.value.code == "header-too-long"


def test_the_limit_of_a_frame_may_change_between_frames() -> None:
    decoder = decoder_for(max_frame_bytes=7)
    decoder.receive_data(b"SEND\n\nx\0SEND\n\nlonger\0")
    assert decoder.next_frame() == Frame("SEND", {}, b"x")
    decoder.max_frame_bytes = 100
    assert decoder.next_frame() == Frame("SEND", {}, b"longer")


# Other protocols

HTTP = b"GET /stomp HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HTTP,
        b"GET / HTTP/1.1\r\nHost: example.org\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b'{"command": "SEND", "headers": {}}',
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello, is anybody there?",
        b"x" * 14,
    ],
)
@pytest.mark.parametrize("cut", [False, True])
def test_another_protocol_is_refused_without_waiting_for_nul(data: bytes, cut: bool) -> None:
    with pytest.raises(FrameError):
        decode(*(byte_by_byte(data) if cut else [data]))


def test_the_longest_command_is_no_other_protocol() -> None:
    data = b"UNSUBSCRIBE\r\nid:0\r\n\r\n\0"
    assert decode(*byte_by_byte(data)) == [Frame("UNSUBSCRIBE", {"id": "0"})]


# Encoding


def test_a_body_comes_with_its_content_length() -> None:
    assert encode(Frame("SEND", {"a": "b"}, b"x\0y")) == b"SEND\na:b\ncontent-length:3\n\nx\0y\0"
    assert encode(Frame("RECEIPT", {"receipt-id": "1"})) == b"RECEIPT\nreceipt-id:1\n\n\0"


def test_content_length_counts_octets_not_characters() -> None:
    assert b"\ncontent-length:5\n" in encode(Frame("SEND", {}, "né☃"[1:].encode()))


@pytest.mark.parametrize("body", [b"", b"x", b"hello"])
def test_the_content_length_of_the_body_wins_over_one_among_the_headers(body: bytes) -> None:
    frame = Frame("SEND", {"content-length": "3"}, body)
    assert decode(encode(frame) + b"ABORT\n\n\0") == [
        Frame("SEND", {"content-length": str(len(body))}, body),
        Frame("ABORT"),
    ]


def test_encoding_leaves_the_frame_as_it_is() -> None:
    frame = Frame("SEND", {"a": "b"}, b"body")
    encode(frame)
    assert frame == Frame("SEND", {"a": "b"}, b"body")


def test_a_head_is_a_frame_without_its_blank_line_and_body() -> None:
    frame = Frame("MESSAGE", {"a": "b:c"}, b"body")
    assert encode_head(frame, "1.2") + b"\nbody\0" == encode(frame, "1.2")


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("1.0", b"a\\b:x\\y:z v w\n"),
        ("1.1", b"a\\\\b:x\\\\y\\cz\\nv\rw\n"),
        ("1.2", b"a\\\\b:x\\\\y\\cz\\nv\\rw\n"),
    ],
)
def test_a_header_is_escaped_as_the_version_demands(version: str, line: bytes) -> None:
    data = encode(Frame("MESSAGE", {"a\\b": "x\\y:z\nv\rw"}), version)
    assert data == b"MESSAGE\n" + line + b"\n\0"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("evil", ["x\nevil:1", "x\r\nevil:1", "x\n\nevil", "x\r\n\r\nevil", "\n"])
@pytest.mark.parametrize("command", ["MESSAGE", "CONNECTED"])
def test_no_value_smuggles_a_header_or_a_body_in(command: str, evil: str, version: str) -> None:
    frame = decode_one(encode(Frame(command, {"a": evil, "b": "c"}), version), version)
    assert set(frame.headers) == {"a", "b"}
    assert frame.body == b""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "name", ["content-length:1", "subscription:1", "x\ncontent-length", "x\n\n", "x\r\n\r\n", ":"]
)
def test_no_name_smuggles_a_header_or_a_body_in(name: str, version: str) -> None:
    data = encode(Frame("MESSAGE", {name: "1", "content-length": "5"}, b"hello"), version)
    frame = decode_one(data, version)
    assert len(frame.headers) == 2
    assert frame.headers["content-length"] == "5"
    assert "subscription" not in frame.headers
    assert frame.body == b"hello"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("headers", [{"a": "x\0ABORT\n\n\0"}, {"a\0": "x"}])
def test_no_header_ends_the_frame_early(headers: dict[str, str], version: str) -> None:
    """No version can escape NUL, and what follows it would be the next frame."""
    data = encode(Frame("MESSAGE", headers, b"hello"), version)
    assert data.count(b"\0") == 1
    assert decode_one(data, version).body == b"hello"


def test_a_repr_shows_the_size_of_a_body_only() -> None:
    assert repr(Frame("SEND", {"a": "b"}, b"private")) == "Frame('SEND', {'a': 'b'}, 7 bytes)"


@pytest.mark.parametrize(
    "name", ["passcode", "Passcode", "authorization", "Authorization", "cookie"]
)
def test_a_repr_never_shows_a_secret_header(name: str) -> None:
    assert "hunter2" not in repr(Frame("CONNECT", {"login": "me", name: "hunter2"}))


# Round trips

_VERSION_FORBIDS = {"1.0": "\0\r\n", "1.1": "\0", "1.2": "\0"}


def _headers(version: str) -> st.SearchStrategy[dict[str, str]]:
    """Any headers that the version can express, and one decoder can tell apart from its lines."""
    forbidden = _VERSION_FORBIDS[version]
    in_names = forbidden + ":" if version == "1.0" else forbidden

    def text(forbidden: str, **size: int) -> st.SearchStrategy[str]:
        characters = st.characters(exclude_categories=["Cs"], exclude_characters=forbidden)
        special = st.sampled_from([c for c in "\\\r\n: ncr\té☃𝄞" if c not in forbidden])
        return st.text(special | characters, **size)

    values = text(forbidden, max_size=30)
    if version == "1.0":  # padding is no part of a value
        values = values.map(str.strip)
    if version == "1.1":  # a CR at the end is taken for half of the line's end
        values = values.map(lambda value: value.rstrip("\r"))
    names = text(in_names, min_size=1, max_size=30).filter(lambda name: name != "content-length")
    return st.dictionaries(names, values, max_size=8)


@pytest.mark.parametrize("version", VERSIONS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_headers_and_any_body_survive(version: str, data: st.DataObject) -> None:
    headers = data.draw(_headers(version))
    body = data.draw(st.binary(max_size=200))
    frame = decode_one(encode(Frame("SEND", headers, body), version), version)
    length = {"content-length": str(len(body))} if body else {}
    assert frame == Frame("SEND", headers | length, body)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), version=st.sampled_from(VERSIONS))
def test_any_frames_cut_anywhere_are_the_same_frames(data: st.DataObject, version: str) -> None:
    frames = st.builds(Frame, st.just("SEND"), _headers(version), st.binary(max_size=50))
    encoded = b"\n".join(encode(f, version) for f in data.draw(st.lists(frames, max_size=4)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=6)))
    pieces = [encoded[a:b] for a, b in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]
    assert decode(*pieces, version=version) == decode(encoded, version=version)


# Cuts

REPRESENTATIVE = [
    b"CONNECT\naccept-version:1.1,1.2\nhost:example.org\npasscode:a\\b\n\n\0",
    b"STOMP\r\naccept-version:1.2\r\nhost:h\r\n\r\n\0\r\n",
    b"SEND\ndestination:/topic/a\n\nhello\0",
    b"SEND\ndestination:/topic/a\ncontent-length:7\n\n\0\0\n\n\0\r\n\0\n",
    b"SEND\r\ncontent-length:0\r\n\r\n\0",
    b"SEND\na\\c\\n\\r\\\\:b\n\n\n\n\0",
    "SEND\nprénom:Zoë ☃\n\n𝄞\0\n\n".encode(),
    b"SUBSCRIBE\nid:0\nid:1\ndestination:/topic/a\n\n\0",
    b"UNSUBSCRIBE\r\nid:0\n\r\n\0",
    b"\n\r\n\nACK\nid:1\n\n\0",
    b"MESSAGE\n\n\r\n\r\n\0",
    b"X\n\n\0",
]


@pytest.mark.parametrize("first", REPRESENTATIVE)
def test_any_two_frames_cut_in_two_anywhere_are_the_same_frames(first: bytes) -> None:
    for second in REPRESENTATIVE:
        data = first + second
        expected = [decode_one(first), decode_one(second)]
        assert decode(data) == expected
        for cut in range(1, len(data)):
            assert decode(data[:cut], data[cut:]) == expected, (data[:cut], data[cut:])


@pytest.mark.parametrize("first", REPRESENTATIVE)
def test_any_two_frames_byte_by_byte_are_the_same_frames(first: bytes) -> None:
    for second in REPRESENTATIVE:
        expected = [decode_one(first), decode_one(second)]
        assert decode(*byte_by_byte(first + second)) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"SEND\nno colon\n\n\0",
        b"SEND\r\nno colon\r\n\r\n\0",
        b"SEND\na:\\t\n\n\0",
        b"SEND\na:b\n\0",
        b"SEND\ncontent-length:2\n\nhello\0",
        b"SEND\ncontent-length:99999\n\n",
        b"SEND\n\n" + b"x" * 200,
        b"SEND\na:" + b"x" * 200,
        b"AN-UNKNOWN-COMMAND\na:b\n\n\0",
        HTTP,
    ],
)
def test_what_is_refused_is_refused_however_it_is_cut(data: bytes) -> None:
    for cut in range(len(data)):
        with pytest.raises(FrameError):
            decode(data[:cut], data[cut:], max_frame_bytes=150)
    with pytest.raises(FrameError):
        decode(*byte_by_byte(data), max_frame_bytes=150)
