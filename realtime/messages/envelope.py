"""Messages of the channel layer as bytes."""

from __future__ import annotations

import threading
from typing import Any, Final

import msgpack
from channels_redis.serializers import MsgPackSerializer, registry

#: The name under which channel layers ask for it.
FORMAT: Final = "msgpack-per-thread"


class _Packer(threading.local):
    def __init__(self) -> None:
        self.pack = msgpack.Packer().pack


_of_this_thread: Final = _Packer()


class Serializer(MsgPackSerializer):
    """channels_redis' own, but for ``msgpack.packb``, which makes a Packer for each message."""

    def as_bytes(self, message: Any, *args: Any, **kwargs: Any) -> bytes:
        data: bytes = _of_this_thread.pack(message)
        return data

    def deserialize(self, message: bytes) -> Any:
        if self.crypter is None and not self.random_prefix_length:  # a shorter way to the same
            return msgpack.unpackb(message)
        return super().deserialize(message)


registry.register_serializer(FORMAT, Serializer)
