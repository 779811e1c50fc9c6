"""
Envelope: how messages travel between nodes.

An envelope is a mapping, as msgpack: ``type``, ``v``, ``destination``, ``headers`` and ``body``.
What was published together travels as one, a bundle::

    01  position of the first, or nothing  0A  (size in 4 bytes, envelope) ...

What does not begin so is one envelope; no message of a channel layer does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Any, Final

import msgpack
from channels_redis.serializers import MsgPackSerializer, registry

from .message import ENVELOPE_TYPE, ENVELOPE_VERSION, Message

#: The name under which channel layers ask for :class:`Serializer`.
FORMAT: Final = "msgpack-per-thread"

_MARK: Final = b"\x01"
_SIZE: Final = Struct(">I")


class _Packer(threading.local):
    def __init__(self) -> None:
        self.pack = msgpack.Packer().pack


#: ``packer.pack`` makes bytes of an envelope; each thread has its own.
packer: Final = _Packer()


class Serializer(MsgPackSerializer):
    """channels_redis' own, but for ``msgpack.packb``, which makes a Packer for each message."""

    @property
    def is_plain(self) -> bool:
        """Whether ``packer.pack`` alone does the same."""
        return self.crypter is None and not self.random_prefix_length

    def as_bytes(self, message: Any, *args: Any, **kwargs: Any) -> bytes:
        data: bytes = packer.pack(message)
        return data

    def deserialize(self, message: bytes) -> Any:
        return msgpack.unpackb(message) if self.is_plain else super().deserialize(message)


registry.register_serializer(FORMAT, Serializer)


def open_envelope(envelope: Mapping[str, Any], id: str | None = None) -> Message | None:
    """
    Return the message in an envelope, or None if this release can't read it; with another id than
    it had, where Redis gave it one.
    """
    if envelope.get("v") != ENVELOPE_VERSION or envelope.get("type") != ENVELOPE_TYPE:
        return None
    try:
        headers = dict(envelope["headers"])
        own_id = headers.pop("message-id", "")
        return Message(envelope["destination"], envelope["body"], headers, id or own_id)
    except (KeyError, TypeError, ValueError):
        return None


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
