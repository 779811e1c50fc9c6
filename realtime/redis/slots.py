"""Slots: which node of a cluster has which keys."""

from __future__ import annotations

from typing import Any, Final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError

from .commands import Call, Command

#: A host and a port.
Address = tuple[str, int]

#: What asks a node for what :class:`SlotMap` takes.
SLOTS: Final = ("CLUSTER", "SLOTS")

#: Where a command has its first key, if that is not its first argument; one stream is read at most.
_KEY_PLACES: Final = {"XREADGROUP": -2, "XGROUP": 2, "XINFO": 2}


def slot_of(command: Command) -> int:
    """Return the slot of the first key, or of the Redis channel: any node would do for that."""
    key = _first_key(command)
    return key_slot(key.encode() if isinstance(key, str) else key)


def _first_key(command: Command) -> Any:
    if isinstance(command, Call):
        return command.keys[0]
    if not isinstance(command, tuple):
        return command.key
    return command[_KEY_PLACES.get(command[0], 1)]


class SlotMap:
    """
    What one node said about all.

    Args:
        answer: That of :data:`SLOTS`: ranges of slots, each ``[first, last, primary, *replicas]``
            with nodes ``[host, port, ...]``.
        asked: Who said so; where a host is empty it is this one.

    Raises:
        ClusterDownError: If it knows of no slots.
    """

    def __init__(self, answer: list[Any], asked: Address) -> None:
        if not answer:
            raise ClusterDownError(f"{asked[0]}:{asked[1]} knows no slots")
        self._primaries: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self.nodes: set[Address] = set()
        for first, last, *nodes in answer:
            addresses = [_address(node, asked) for node in nodes]
            self._primaries[first : last + 1] = [addresses[0]] * (last + 1 - first)
            self.nodes.update(addresses)

    @property
    def primaries(self) -> set[Address | None]:
        """Who has slots, and None if there are some that nobody has."""
        return set(self._primaries)

    def owner_of(self, slot: int) -> Address | None:
        """Return who has a slot, or None."""
        return self._primaries[slot]

    def primary_of(self, slot: int) -> Address:
        """
        Return who has a slot.

        Raises:
            ClusterDownError: If nobody has.
        """
        address = self._primaries[slot]
        if address is None:
            raise ClusterDownError(f"no node serves the slot {slot}")
        return address

    def move(self, slot: int, address: Address) -> None:
        """Believe a node that said MOVED."""
        self._primaries[slot] = address
        self.nodes.add(address)


def redirected_to(error: AskError, asked: Address) -> Address:
    """Return where the node that we asked sends us: MOVED, or ASK."""
    return (error.host or asked[0], error.port)


def _address(node: list[Any], asked: Address) -> Address:
    host = node[0].decode() if isinstance(node[0], bytes) else node[0]
    return (host if host and host != "?" else asked[0], int(node[1]))
