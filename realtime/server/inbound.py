"""WebSocket frames (RFC 6455), as far as they are needed to be fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

TEXT: Final = 0x81  # section 5.2: the last frame of a message, and its kind
BINARY: Final = 0x82
_MASKED: Final = 0x80


def take_messages(data: bytes, largest: int, deliver: Callable[[bytes, bool], bool]) -> bytes:
    """
    Hand over the whole messages of a client that data begins with; return the rest.

    Only what is plain is taken: masked data frames of at most ``largest`` bytes that are a message
    of their own. The rest begins with whatever is not, or not complete.

    Args:
        deliver: Takes a message, and whether it is text; returns whether to go on.
    """
    start, end = 0, len(data)
    while end - start >= 6:
        first, second = data[start], data[start + 1]
        size = second - _MASKED
        if (first != TEXT and first != BINARY) or size < 0 or size == 127:
            break
        mask_at = start + 2
        if size == 126:
            size = int.from_bytes(data[start + 2 : start + 4], "big")
            mask_at = start + 4
        body_at = mask_at + 4
        if size > largest or end < body_at + size or (mask_at > start + 2 and size < 126):
            break
        body = unmask(data[body_at : body_at + size], data[mask_at:body_at])
        start = body_at + size
        if not deliver(body, first == TEXT):
            break
    return data[start:]


def is_incomplete(data: bytes, largest: int) -> bool:
    """Return whether data is the beginning of what :func:`take_messages` will take."""
    if data[0] != TEXT and data[0] != BINARY:
        return False
    if len(data) < 2:
        return True
    head, size = 6, data[1] - _MASKED
    if size < 0 or size == 127:
        return False
    if size == 126:
        if len(data) < 4:
            return True
        head, size = 8, int.from_bytes(data[2:4], "big")
    return len(data) < head + size and size <= largest


def unmask(data: bytes, mask: bytes) -> bytes:
    """Return data without its mask (section 5.3); as one large number, which is fast."""
    size = len(data)
    masks = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(data, "little") ^ int.from_bytes(masks, "little")
    return number.to_bytes(size, "little")
