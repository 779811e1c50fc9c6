"""
Payloads that travel together, as one message of a Redis channel::

    01  position of the first, or nothing  0A  (size in 4 bytes, payload) ...

What does not begin so is one payload; no message of a channel layer does.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

_MARK: Final = b"\x01"
_SIZE: Final = Struct(">I")


def bundle(payloads: Iterable[bytes]) -> bytes:
    """Return payloads that have no positions as one."""
    parts = [_MARK, b"\n"]
    for payload in payloads:
        parts += (_SIZE.pack(len(payload)), payload)
    return b"".join(parts)


def unbundle(data: bytes) -> tuple[str, list[bytes]]:
    """Return the position of the first payload, or "", and all of them."""
    if data[:1] != _MARK:
        return "", [data]
    at = data.index(b"\n") + 1
    first, payloads, end = data[1 : at - 1].decode(), [], len(data)
    while at < end:
        start = at + 4
        at = start + int.from_bytes(data[at:start], "big")
        payloads.append(data[start:at])
    return first, payloads
