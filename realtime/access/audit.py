"""
Audit: failed logins, what was refused, and what operators did, in a log of its own:
``realtime.audit``.

A line has a word and fields, ``NAME=VALUE``, each value as JSON, so that no client can forge a
line::

    login-failed address="192.0.2.7" login="alice" reason="wrong login or passcode"
    login-held-back address="192.0.2.7" login="alice" seconds="8"
    refused action="subscribe" user="bob" address="192.0.2.7" destination="/topic/a" rule="none"
    refused action="publish" user="bob" address="192.0.2.7" reason="publishing needs ..."
    disconnect user="olga" address="192.0.2.9" reason="maintenance" sessions="5f..."

The rate is bounded: after a burst only so many a second are written, and how many were not.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Final

from realtime.counters import counters

logger: Final = logging.getLogger("realtime.audit")

#: Lines at once, and then in a second.
BURST: Final = 100
PER_SECOND: Final = 10

#: The longest value that is written.
_MAX_CHARACTERS: Final = 255


class _Rate:
    """A bucket of lines that may be written."""

    def __init__(self) -> None:
        self.left = float(BURST)
        self.looked_at = time.monotonic()
        self.left_out = 0

    def take(self) -> bool:
        now = time.monotonic()
        self.left = min(BURST, self.left + (now - self.looked_at) * PER_SECOND)
        self.looked_at = now
        if self.left < 1:
            self.left_out += 1
            return False
        self.left -= 1
        return True


_rate = _Rate()


def record(event: str, **fields: str) -> None:
    """Count what happened, and write a line, unless there were too many lately."""
    counters.add(counters.audited, event)
    if not _rate.take():
        return
    if _rate.left_out:
        logger.warning("left-out lines=%(lines)d", {"lines": _rate.left_out})
        _rate.left_out = 0
    cut = {name: value[:_MAX_CHARACTERS] for name, value in fields.items()}
    line = " ".join([event, *(f"{name}={json.dumps(value)}" for name, value in cut.items())])
    # By their names: where logs are JSON, each is a field.
    logger.warning(line.replace("%", "%%"), {"event": event, **cut})
