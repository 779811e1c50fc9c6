"""
Random and mutated STOMP, cut anywhere: ``python -m tests.kit.fuzz_stomp --seconds 60``.

Every execution has a seed of its own; a failure prints it, and ``--seed N --executions 1``
runs it again. ``--costs`` also measures that cost is linear in the worst inputs, up to 1 MiB.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from realtime.stomp import Connection, Frame, FrameDecoder, Limits, State, StompError, encode
from realtime.stomp.connection import ALLOWED
from realtime.stomp.events import Connect
from tests.kit.cost import FACTOR, KIB, MOST, WORST, growth_of

VERSIONS: Final = ("1.0", "1.1", "1.2")
PROGRESS_SECONDS: Final = 5.0

_CLIENT_COMMANDS: Final = sorted(frozenset[str]().union(*ALLOWED.values()))
_OTHER_COMMANDS: Final = ["MESSAGE", "CONNECTED", "send", "X", "UNKNOWN-COMMAND", "GET / HTTP/1.1"]
_NAMES: Final = [
    "destination", "id", "ack", "receipt", "transaction", "message-id", "subscription",
    "content-length", "content-type", "accept-version", "heart-beat", "host", "login", "passcode",
    "token", "replay", "last-message-id", "x-soft-errors", "authorization", "ticket", "reply-to",
    "prefetch-count", "sender", "refused", "idempotency-key",
    "a", "a\\cb", "a\\", "\\t", "prénom", "",
]  # fmt: skip
_VALUES: Final = [
    "/topic/a", "/topic/b", "/topic/**", "/topic/*", "/topic/denied", "/topic/denied/../a",
    "/user/queue/a", "/user/alice/queue/a", "/user/%61lice/queue/a", "/user/**", "/temp-queue/a",
    "/temp-queue/x-a", "/app/a", "/app/auth/refresh", "/system/users", "/queue/a",
    "0", "1", "2", "auto", "client", "tx1", "tx2", "x", "", " padded ", "all", "true", "Bearer x",
    "1.0", "1.1", "1.2", "1.0,1.1,1.2", "2.0", "0,0", "1000,1000", "5,", ",", "-1,0", "9" * 30,
    "a\\nb", "a\\rb", "a\\cb", "a\\\\b", "a\\tb", "\\", "a:b", "☃", "a\rb", "\r", "0/m1", "y" * 200,
]  # fmt: skip
_BODIES: Final = [
    b"",
    b"",
    b"x",
    b"hello",
    b"\0",
    b"a\0b\n\n\0",
    b"\n\n",
    b"\r\n\r\n",
    b"\xff" * 40,
]
_LENGTHS: Final = [b"0", b"1", b"5", b"007", b" 3", b"-1", b"x", b"99", b"10000000000", b"9" * 4000]
_SET_UP: Final = [
    b"SUBSCRIBE\nid:0\ndestination:/topic/a\nack:client\n\n\0",
    b"BEGIN\ntransaction:tx1\n\n\0",
]
_ALIEN: Final = [b"\0", b"\n", b"\r", b"\r\n", b":", b"\\", b"\xff", b"\xc3", b"A", b"\n\n", b"\t"]


@dataclass(frozen=True)
class Case:
    """What one execution feeds, and into what."""

    seed: int
    version: str
    limits: Limits
    pieces: list[bytes]


@dataclass
class Summary:
    """What was done so far."""

    executions: int = 0
    bytes: int = 0
    frames: int = 0
    events: int = 0
    refused: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.executions / self.seconds if self.seconds else 0.0
        return (
            f"{self.executions} executions in {self.seconds:.1f} s ({rate:.0f}/s): "
            f"{self.bytes} bytes, {self.frames} frames, {self.events} events, "
            f"{self.refused} refused"
        )


class FuzzFailure(AssertionError):
    """An execution went wrong; the message says how to repeat it."""

    def __init__(self, case: Case) -> None:
        super().__init__(
            f"seed {case.seed} failed; again: python -m tests.kit.fuzz_stomp --seed {case.seed} "
            f"--executions 1\nversion {case.version}, {case.limits}\npieces {case.pieces!r}"
        )


def make_case(seed: int) -> Case:
    """Return the case of this seed, always the same one."""
    rng = random.Random(seed)
    version = rng.choice(VERSIONS)
    limits = _limits(rng)
    frames = [_frame(rng) for _ in range(rng.randint(1, 8))]
    if rng.random() < 0.5:  # so that there is something to unsubscribe from and to commit
        frames[:0] = _SET_UP
    if rng.random() < 0.85:
        frames.insert(0, f"CONNECT\naccept-version:{version}\nhost:h\n\n\0".encode())
    data = b"".join(frames)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 5])):
        data = _mutated(rng, data)
    return Case(seed, version, limits, list(_cut(rng, data)))


def _limits(rng: random.Random) -> Limits:
    if rng.random() < 0.6:
        return Limits(max_frame_bytes=4096)
    return Limits(
        max_frame_bytes=rng.choice([64, 300, 4096]),
        max_connect_frame_bytes=rng.choice([200, 4096]),
        max_headers=rng.choice([3, 10, 100]),
        max_header_bytes=rng.choice([40, 8 * 1024]),
        max_head_bytes=rng.choice([80, 4096]),
        max_subscriptions=rng.choice([1, 3]),
        max_transactions=rng.choice([1, 16]),
        max_transaction_bytes=rng.choice([600, 4096]),
    )


def _frame(rng: random.Random) -> bytes:
    commands = _CLIENT_COMMANDS if rng.random() < 0.97 else _OTHER_COMMANDS
    end = rng.choice([b"\n", b"\n", b"\r\n"])
    body = rng.choice(_BODIES) if rng.random() < 0.9 else rng.randbytes(rng.randint(0, 400))
    lines = [rng.choice(commands).encode()]
    if rng.random() < 0.8:  # most frames have what they need
        lines += [b"destination:/topic/a", b"id:%d" % rng.randint(0, 4), b"message-id:m1"]
        lines += [b"subscription:0"]
        lines += [b"transaction:tx1"] * (rng.random() < 0.4)
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2, 6])):
        lines.append(f"{rng.choice(_NAMES)}:{rng.choice(_VALUES)}".encode())
    if b"\0" in body or rng.random() < 0.5:
        length = str(len(body)).encode() if rng.random() < 0.97 else rng.choice(_LENGTHS)
        lines.append(b"content-length:" + length)
    rng.shuffle(header_lines := lines[1:])
    head = end.join([lines[0], *header_lines, b"", b""])
    return head + body + b"\0" + rng.choice([b"", b"", b"\n", b"\r\n", b"\n" * 9])


def _mutated(rng: random.Random, data: bytes) -> bytes:
    start = rng.randint(0, len(data))
    stop = min(len(data), start + rng.choice([0, 1, 1, 2, 10, 100]))
    middle = rng.choice(
        [
            b"",
            rng.choice(_ALIEN),
            rng.choice(_ALIEN) * rng.randint(1, 300),
            rng.randbytes(rng.randint(1, 8)),
            data[start:stop] * 2,
            bytes(byte ^ (1 << rng.randrange(8)) for byte in data[start:stop]),
        ]
    )
    return data[:start] + middle + data[stop:]


def _cut(rng: random.Random, data: bytes) -> Iterator[bytes]:
    largest = rng.choice([1, 2, 10, 100, 1000, len(data) or 1])
    start = 0
    while start < len(data):
        if rng.random() < 0.02:
            yield b""
        stop = start + rng.randint(1, largest)
        yield data[start:stop]
        start = stop


def check_decoder(case: Case) -> tuple[int, bool]:
    """Assert what holds for any bytes; return how many frames came and whether one was bad."""
    whole = _decode(case, [b"".join(case.pieces)])
    frames, refused = _decode(case, case.pieces)
    assert (frames, refused) == whole, "cut otherwise, the same bytes are something else"
    for frame in frames:
        if case.version == "1.2" and frame.command == "SEND":  # 1.2 can express any header
            _assert_round_trip(frame)
    return len(frames), refused


def _decode(case: Case, pieces: list[bytes]) -> tuple[list[Frame], bool]:
    decoder = FrameDecoder(
        max_frame_bytes=case.limits.max_frame_bytes,
        max_headers=case.limits.max_headers,
        max_header_bytes=case.limits.max_header_bytes,
        max_head_bytes=case.limits.max_head_bytes,
    )
    decoder.version = case.version
    frames: list[Frame] = []
    for piece in pieces:
        decoder.receive_data(piece)
        assert len(decoder._buffer) <= decoder.max_frame_bytes + len(piece), "too much is kept"
        try:
            frames += iter(decoder.next_frame, None)
        except StompError:
            return frames, True
        assert len(decoder._buffer) <= decoder.max_frame_bytes, "too much is kept"
    return frames, False


def _assert_round_trip(frame: Frame) -> None:
    decoder = FrameDecoder(max_frame_bytes=1 << 20, max_header_bytes=1 << 20)
    decoder.receive_data(encode(frame))
    again = decoder.next_frame()
    assert again is not None
    assert again.body == frame.body
    assert _without_length(again) == _without_length(frame), "a frame changed on its way"


def _without_length(frame: Frame) -> dict[str, str]:
    return {name: value for name, value in frame.headers.items() if name != "content-length"}


def check_connection(case: Case) -> int:
    """Assert what holds for any client; return how many events there were."""
    connection = Connection(limits=case.limits)
    largest = max(case.limits.max_frame_bytes, case.limits.max_connect_frame_bytes)
    count = 0
    accepted = False
    for piece in case.pieces:
        connection.receive_data(piece)
        assert len(connection._decoder._buffer) <= largest + len(piece), "too much is kept"
        try:
            while (event := connection.next_event()) is not None:
                count += 1
                repr(event)
                if isinstance(event, Connect):
                    connection.connected(session="s", server="fuzz/1")
                    accepted = True
                if event.receipt is not None:
                    connection.receipt(event.receipt)
        except StompError as error:
            _assert_told(connection, error, connection.version if accepted else "1.0")
            break
        assert len(connection.subscriptions) <= case.limits.max_subscriptions
        if connection.state is State.DISCONNECTED:
            assert connection.next_event() is None
            break
        assert len(connection._decoder._buffer) <= largest, "too much is kept"
    return count


def _assert_told(connection: Connection, error: StompError, version: str) -> None:
    """Assert that the client hears of the error in one frame, and that nothing follows."""
    decoder = FrameDecoder(max_frame_bytes=1 << 20, max_header_bytes=1 << 20)
    decoder.version = version
    decoder.receive_data(connection.error(error))
    told = decoder.next_frame()
    assert told is not None
    assert (told.command, told.headers["code"]) == ("ERROR", error.code)
    assert decoder.next_frame() is None
    assert connection.state is State.DISCONNECTED
    connection.receive_data(b"SEND\ndestination:/topic/a\n\n\0")
    assert connection.next_event() is None


def execute(case: Case, summary: Summary) -> None:
    """
    Run one case and count it.

    Raises:
        FuzzFailure: If anything but the expected happened.
    """
    try:
        frames, refused = check_decoder(case)
        events = check_connection(case)
    except Exception as error:
        raise FuzzFailure(case) from error
    summary.executions += 1
    summary.bytes += sum(map(len, case.pieces))
    summary.frames += frames
    summary.events += events
    summary.refused += refused


def fuzz(
    seconds: float,
    *,
    seed: int,
    executions: int | None = None,
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """
    Execute the cases ``seed``, ``seed + 1``, ... until the time, or their number, is over.

    Raises:
        FuzzFailure: At the first case that goes wrong.
    """
    summary = Summary()
    started = time.monotonic()
    report_at = PROGRESS_SECONDS
    while summary.seconds < seconds and summary.executions != executions:
        execute(make_case(seed + summary.executions), summary)
        summary.seconds = time.monotonic() - started
        if progress is not None and summary.seconds >= report_at:
            progress(summary)
            report_at += PROGRESS_SECONDS
    return summary


def check_costs() -> int:
    """Measure each of the worst inputs, cut in three ways; return 1 if one is not linear."""
    found = {
        (kind, length): growth_of(kind, 1024 * KIB, length)
        for kind in WORST
        for length in (1024 * KIB, 1000, 1)
    }
    for (kind, length), times in found.items():
        if times > MOST:
            print(f"not linear: {kind}, cut at {length} bytes: {times:.1f} times the cost")
    worst = max(found.values())
    print(f"cost: {FACTOR} times the data cost {worst:.1f} times as much at most, up to 1 MiB")
    return int(worst > MOST)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Feed random STOMP to the protocol.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, help="the first case (default: random)")
    parser.add_argument("--executions", type=int, help="how many cases at most")
    parser.add_argument("--costs", action="store_true", help="measure the worst inputs too")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().getrandbits(48) if options.seed is None else options.seed
    print(f"from seed {seed}", flush=True)
    try:
        summary = fuzz(
            options.seconds,
            seed=seed,
            executions=options.executions,
            progress=lambda summary: print(summary, flush=True),
        )
    except FuzzFailure as failure:
        traceback.print_exception(failure.__cause__)
        print(failure, file=sys.stderr)
        return 1
    print(f"nothing found: {summary}")
    return check_costs() if options.costs else 0


if __name__ == "__main__":
    sys.exit(main())
