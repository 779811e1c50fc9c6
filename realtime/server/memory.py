"""Memory: give back what a crowd of connections, or a flood of requests, took."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from typing import Any, Final

from realtime.nodes.report import memory_bytes

#: A crowd: so many connections more than are left.
CROWD: Final = 500

#: A flood: so many bytes more than after the last time, once they do not grow any more.
FLOOD_BYTES: Final = 16 * 2**20


class Memory:
    """Sees how many connections there are, and how large the process is; see :meth:`look`."""

    def __init__(self) -> None:
        self._most = 0
        self._before = 0
        self._floor = memory_bytes()
        self._trim = _malloc_trim()

    def look(self, connections: int) -> bool:
        """
        Give memory back to the system if a crowd or a flood has gone; return whether.

        glibc keeps what was freed in between of what is still used, and returns its end only. To
        look through 200 MiB takes it some 10 ms, so that is not done for less.
        """
        self._most = max(self._most, connections)
        now, before = memory_bytes(), self._before
        self._before = now
        crowd = self._most - connections >= CROWD
        flood = now - self._floor >= FLOOD_BYTES and now <= before
        if self._trim is None or not (crowd or flood):
            return False
        self._most = connections
        self._trim(0)
        self._floor = self._before = memory_bytes()
        return True


def _malloc_trim() -> Any:
    """Return glibc's function; None elsewhere."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim", None)
