"""
Scripts: what Redis does in one atomic step, for a history and for presence; see the ``.lua`` files
beside this one.

The keys of a destination share a hash slot: its position (a hash) and its entries (a stream).
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Final

from realtime.destinations.remembered import REMEMBERED
from realtime.messages.idempotency import KEY_SECONDS
from realtime.redis.commands import Script

#: What the scripts have from the rest of the code.
_CONSTANTS: Final = f"local IDEMPOTENCY_KEY_SECONDS = {KEY_SECONDS}"


def _script(name: str) -> Script:
    folder = resources.files(__package__)
    parts = [(folder / file).read_text() for file in ("stand.lua", name)]
    return Script("\n".join([_CONSTANTS, *parts]))


PUBLISH: Final = _script("publish.lua")
READ: Final = _script("read.lua")
PRESENCE: Final = _script("presence.lua")
SCRIPTS: Final = (PUBLISH, READ, PRESENCE)


@lru_cache(maxsize=REMEMBERED)
def history_keys(channel: str) -> tuple[str, str]:
    """Return where the position and the entries of a group are; in one slot of a cluster."""
    return f"{{{channel}}}:position", f"{{{channel}}}:entries"


def presence_keys(channel: str) -> tuple[str, str, str]:
    """Return where it is kept who is on a topic, by the Redis channel on which that is told."""
    return f"{{{channel}}}:leases", f"{{{channel}}}:users", f"{{{channel}}}:goodbyes"
