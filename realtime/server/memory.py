"""Memory: give back what a crowd of connections took, once it has gone."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from typing import Any, Final

#: A crowd: so many connections more than are left.
CROWD: Final = 500


class Memory:
    """Sees how many connections there are; see :meth:`look`."""

    def __init__(self) -> None:
        self._most = 0
        self._trim = _malloc_trim()

    def look(self, connections: int) -> bool:
        """
        Give memory back to the system if a crowd has gone since the last time; return whether.

        glibc keeps what was freed in between of what is still used, and returns its end only.
        """
        self._most = max(self._most, connections)
        if self._trim is None or self._most - connections < CROWD:
            return False
        self._most = connections
        self._trim(0)
        return True


def _malloc_trim() -> Any:
    """Return glibc's function; None elsewhere."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim", None)
