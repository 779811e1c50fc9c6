"""What the protocol costs: that doubling the worst input at most doubles it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from realtime.stomp import Connection, FrameDecoder, Limits, StompError
from realtime.stomp.events import Connect

#: How many times as large the larger of two inputs is that are compared. Linear cost is as many
#: times as high; what outgrows the processor's caches, and other work on the machine, take some
#: more. A cost of n^1.4 would be 18 times as high.
FACTOR: Final = 8
MOST: Final = 15

#: Rounds until the least time of each size counts as its cost; a busy machine needs some.
ROUNDS: Final = 10

#: What the clock can't tell from nothing.
NOISE_SECONDS: Final = 0.001

KIB: Final = 1024
NO_LIMIT: Final = 1 << 30
NO_LIMITS: Final = Limits(*[NO_LIMIT] * 8)
LARGE_FRAMES: Final = Limits(max_frame_bytes=NO_LIMIT)

CONNECT: Final = b"CONNECT\naccept-version:1.2\n\n\0"
SEND: Final = b"SEND\ndestination:/topic/a\n"

Make = Callable[[int], bytes]
Drive = Callable[[Iterable[bytes]], None]


def repeated(unit: bytes, before: bytes = b"", after: bytes = b"") -> Make:
    """Return what makes ``before``, then a unit as often as it takes, then ``after``."""
    return lambda size: before + unit * (size // len(unit)) + after


def numbered(unit: bytes, before: bytes = b"", after: bytes = b"") -> Make:
    """Return the same, each ``%d`` in the unit being another number."""
    length = len(unit) + 4
    return lambda size: before + b"".join(unit % n for n in range(size // length)) + after


#: The worst inputs, whatever their size in bytes.
WORST: Final[dict[str, Make]] = {
    "tiny frames": repeated(SEND + b"\n\0"),
    "frames with receipts": repeated(b"SEND\r\ndestination:/\r\nreceipt:\\c\r\n\r\nx\0\r\n"),
    "one long header": repeated(b"x", SEND + b"a:"),
    "one long name": repeated(b"x", SEND),
    "a value of escapes": repeated(b"\\n", SEND + b"a:", b"\n\n\0"),
    "a name of escapes": repeated(b"\\c", SEND, b":a\n\n\0"),
    "an undefined escape at the end": repeated(b"\\n", SEND + b"a:", b"\\t\n\n\0"),
    "headers without end": repeated(b"a:b\n", SEND),
    "one header repeated": repeated(b"a:b\n", SEND, b"\n\0"),
    "frames of a hundred headers": repeated(numbered(b"%d:\n", SEND, b"\n\0")(700)),
    "frames of a hundred escapes": repeated(numbered(b"\\c%d:\\n\n", SEND, b"\n\0")(1200)),
    "many headers": numbered(b"%d:\\n\n", SEND, b"\n\0"),
    "many long headers": numbered(b"%d:" + b"x" * 999 + b"\n", SEND, b"\n\0"),
    "many receipts": repeated(b"receipt:\\c\n", SEND, b"\n\0"),
    "a bad line after many": repeated(b"a:b\n", SEND, b"no colon\n\n\0"),
    "a long line, not UTF-8": repeated("é".encode(), SEND + b"a:", b"\xff\n\n\0"),
    "a NUL in the head near its end": repeated(b"a:b\n", SEND, b"\0\n\n"),
    "line ends": repeated(b"\n"),
    "carriage returns": repeated(b"\r"),
    "line ends of both kinds": repeated(b"\r\n"),
    "nearly blank lines": repeated(b"\n\r", SEND + b"a:b"),
    "blank lines that are not": repeated(b"\n\r\r", SEND + b"a:b"),
    "a body without NUL": repeated(b"x", SEND + b"\n"),
    "a body with NUL at its end": repeated(b"x", SEND + b"\n", b"\0"),
    "a body of line ends": repeated(b"\n", SEND + b"\n"),
    "a body with its length": lambda size: (
        SEND + b"content-length:%d\n\n" % size + bytes(size) + b"\0"
    ),
    "a body longer than its length": lambda size: (
        SEND + b"content-length:%d\n\n" % size + bytes(size) + b"x"
    ),
    "subscriptions": numbered(b"SUBSCRIBE\nid:%d\ndestination:/topic/a\n\n\0"),
    "subscriptions that come and go": repeated(
        b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0UNSUBSCRIBE\nid:0\n\n\0"
    ),
    "open transactions": numbered(
        b"BEGIN\ntransaction:%d\n\n\0SEND\ntransaction:0\ndestination:/topic/a\n\n\0"
    ),
    "one large transaction": repeated(
        b"SEND\ntransaction:t\ndestination:/topic/a\n\n\0",
        b"BEGIN\ntransaction:t\n\n\0",
        b"COMMIT\ntransaction:t\n\n\0",
    ),
    "acknowledgements": numbered(b"ACK\nid:0/%d\n\n\0"),
}


def pieces(data: bytes, length: int) -> Iterator[bytes]:
    """Cut data as WebSocket messages may cut it."""
    return (data[start : start + length] for start in range(0, len(data), length))


def drive_decoder(data: Iterable[bytes]) -> None:
    """Feed a decoder without limits, until it refuses."""
    decoder = FrameDecoder(
        max_frame_bytes=NO_LIMIT, max_headers=NO_LIMIT, max_header_bytes=NO_LIMIT
    )
    try:
        for piece in data:
            decoder.receive_data(piece)
            while decoder.next_frame() is not None:
                pass
    except StompError:
        pass


def drive_connection(data: Iterable[bytes], limits: Limits = NO_LIMITS) -> None:
    """Feed a connection as the consumer does, until it refuses; answer all."""
    connection = Connection(limits=limits)
    try:
        for piece in (CONNECT, *data):
            connection.receive_data(piece)
            while (event := connection.next_event()) is not None:
                if isinstance(event, Connect):
                    connection.connected(session="s", server="tests/1")
                if event.receipt is not None:
                    connection.receipt(event.receipt)
    except StompError as error:
        connection.error(error)


def drive_connection_with_limits(data: Iterable[bytes]) -> None:
    """The same with the gateway's own limits, but for frames of any size."""
    drive_connection(data, LARGE_FRAMES)


def seconds(drive: Drive, data: bytes, length: int) -> float:
    """Return the CPU time that an input takes in pieces of this length."""
    cut = list(pieces(data, length))
    started = time.process_time()
    drive(cut)
    return time.process_time() - started


def growth(cost: Callable[[int], float], size: int) -> float:
    """
    Return how many times as much an input of ``size`` bytes costs as one of an eighth of that:
    :data:`FACTOR` if the cost is linear.

    The least of several rounds counts; they end as soon as it is :data:`MOST` or less.
    """
    small = large = float("inf")
    for _ in range(ROUNDS):
        # By turns: the machine's own speed may double between two rounds.
        small = min(small, cost(size // FACTOR))
        large = min(large, cost(size))
        ratio = max(0.0, large - NOISE_SECONDS) / max(small, NOISE_SECONDS / 10)
        if ratio <= MOST:
            break
    return ratio


def growth_of(kind: str, size: int, length: int, drive: Drive = drive_connection) -> float:
    """Return the growth of one of the worst inputs, cut into pieces of a length."""
    inputs = {each: WORST[kind](each) for each in (size // FACTOR, size)}
    return growth(lambda each: seconds(drive, inputs[each], length), size)
