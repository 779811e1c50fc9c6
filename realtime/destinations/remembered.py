"""Bound of what is remembered of destinations: anybody may name as many as they like."""

from __future__ import annotations

from typing import Final

#: What a function found out about so many destinations is kept, by each function that keeps it: all
#: together some 2 KiB for each destination.
REMEMBERED: Final = 8192
