"""Dead letters: what came to a bridge and can't be delivered, kept for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from .bridge_store import key_of


def command(route_id: str, reason: str, original: Mapping[Any, Any]) -> tuple[str | bytes, ...]:
    """Return the command that keeps what could not be delivered, for the gateway's own Redis."""
    add = ("XADD", key_of(route_id, "dead-letters"), "MAXLEN", "~", "1000", "*")
    cut = [(name[:65536], value[:65536]) for name, value in list(original.items())[:128]]
    return (*add, "reason", reason[:500], *chain.from_iterable(cut))
