"""
How fast frames are decoded, beside the parsers of stomp.py and stompman::

    python -m benchmarks.decoder

Each parser gets one whole frame per chunk, as WebSocket messages come, and the way in which its
own library feeds it. The parsers take turns, round after round, so that what else the machine
does hurts all of them alike; the table shows the median of the rounds.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from typing import Any, Final

from stomp.transport import BaseTransport
from stompman.serde import FrameParser

from realtime.stomp import Frame, FrameDecoder, encode

#: Takes a chunk and returns the bodies in it.
Decode = Callable[[bytes], list[bytes]]

BODY_BYTES: Final = {"100 B": 100, "1 KiB": 1024, "64 KiB": 64 * 1024}
HEADERS: Final = {
    "SEND": {
        "destination": "/app/orders/4711",
        "content-type": "application/json",
        "receipt": "receipt-1234",
    },
    "MESSAGE": {
        "destination": "/topic/orders/4711",
        "message-id": "8ef6e672f93e-1234",
        "subscription": "sub-0",
        "content-type": "application/json",
    },
}
TEXT: Final = b'{"order": 4711, "state": "shipped", "price": {"EUR": 1.08}}\n'

#: Seconds between two looks at the clock.
BATCH_SECONDS: Final = 0.005


def realtime() -> Decode:
    """The gateway feeds a message to ``receive_data``, then takes frames until there is none."""
    decoder = FrameDecoder(max_frame_bytes=128 * 1024)

    def decode(chunk: bytes) -> list[bytes]:
        bodies = []
        decoder.receive_data(chunk)
        while (frame := decoder.next_frame()) is not None:
            bodies.append(frame.body)
        return bodies

    return decode


class StompPyTransport(BaseTransport):
    """
    stomp.py has no parser to call: its I/O loop calls ``__read_frames``, which asks
    ``receive()`` for bytes (over WebSocket: one message), cuts them at NUL and content-length,
    parses each frame, decodes its body to ``str`` (``auto_decode``, the default) and hands it to
    ``process_frame``. So this is its transport with another source and another sink; the
    sink also spares it the listeners.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running = True
        self.chunk = b""
        self.bodies: list[Any] = []

    def receive(self) -> bytes:
        return self.chunk

    def process_frame(self, f: Any, frame_str: bytes) -> None:
        self.bodies.append(f.body)


def stomp_py() -> Decode:
    transport = StompPyTransport()
    read_frames = transport._BaseTransport__read_frames

    def decode(chunk: bytes) -> list[bytes]:
        transport.chunk = chunk
        transport.bodies = []
        read_frames()
        return transport.bodies

    return decode


def stompman() -> Decode:
    """stompman's connections keep one ``FrameParser`` and iterate over its frames per read."""
    parser = FrameParser()

    def decode(chunk: bytes) -> list[bytes]:
        return [frame.body for frame in parser.parse_frames_from_chunk(chunk)]  # type: ignore[union-attr]

    return decode


PARSERS: Final = {"realtime": realtime, "stomp.py": stomp_py, "stompman": stompman}


def chunk_of(command: str, size: int) -> tuple[bytes, bytes]:
    """Return a frame with a body of this size, and the body."""
    body = (TEXT * (size // len(TEXT) + 1))[:size]
    return encode(Frame(command, HEADERS[command], body)), body


def check(decode: Decode, chunk: bytes, body: bytes) -> None:
    """Make sure that a parser does what it is timed for."""
    for _ in range(3):
        (decoded,) = decode(chunk)
        assert decoded in (body, body.decode())


def frames_per_second(decode: Decode, chunk: bytes, seconds: float) -> float:
    started = time.perf_counter()
    decode(chunk)
    batch = max(1, int(BATCH_SECONDS / (time.perf_counter() - started)))
    frames = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        for _ in range(batch):
            decode(chunk)
        frames += batch
    return frames / elapsed


def measure(chunk: bytes, body: bytes, *, rounds: int, seconds: float) -> dict[str, float]:
    """Return each parser's frames per second: the median of interleaved rounds."""
    decoders = {name: make() for name, make in PARSERS.items()}
    for decode in decoders.values():
        check(decode, chunk, body)
    rates: dict[str, list[float]] = {name: [] for name in decoders}
    for _ in range(rounds):
        for name, decode in decoders.items():
            rates[name].append(frames_per_second(decode, chunk, seconds))
    return {name: median(each) for name, each in rates.items()}


def row(name: str, size: int, rates: dict[str, float]) -> str:
    """Return a line of the table; each ratio says how many times faster ``realtime`` is."""
    cells = [f"{name:<15}"]
    for parser, rate in rates.items():
        cell = f"{rate:>11,.0f} {rate * size / 1e6:>8,.1f}"
        if parser != "realtime":
            cell += f" {rates['realtime'] / rate:>8,.1f}x"
        cells.append(cell)
    return "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast frames are decoded.")
    parser.add_argument("--seconds", type=float, default=0.2, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=5, help="of measurements")
    options = parser.parse_args()

    packages = ", ".join(f"{name} {version(name)}" for name in ("stomp.py", "stompman"))
    print(f"Python {platform.python_version()}, {packages}")
    print(f"medians of {options.rounds} rounds of {options.seconds:g} s")
    print(f"\n{'':<15}" + f"{'realtime':>20}" + f"{'stomp.py':>30}" + f"{'stompman':>30}")
    columns = f"{'frames/s':>11} {'MB/s':>8}"
    print(f"{'':<15}{columns}" + f"{columns} {'slower':>9}" * 2)
    for command in HEADERS:
        for label, size in BODY_BYTES.items():
            chunk, body = chunk_of(command, size)
            rates = measure(chunk, body, rounds=options.rounds, seconds=options.seconds)
            print(row(f"{command} {label}", len(chunk), rates), flush=True)


if __name__ == "__main__":
    main()
