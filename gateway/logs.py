"""
Logs: one line for each event, as text for people or as JSON for programs.

A line's fields are those that its text names (``"%(address)s is refused"``), and those in
``extra``, which follow the text. Only plain values are fields: what else libraries hand over, as
Django does the request, has URLs in it, and so may have tickets and tokens.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final

#: How a line begins, as text.
LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_OWN: Final = {*vars(logging.makeLogRecord({})), "asctime", "message", "taskName"}

#: Values that need no quotation marks.
_BARE: Final = re.compile(r"[\w.:/@+*,\[\]-]+")

#: What could begin a line of its own, or move a terminal's cursor.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


class TextFormatter(logging.Formatter):
    """``TIME LEVEL LOGGER: text name=value name="with spaces"``."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record).translate(_CONTROLS)
        return " ".join([line, *(f"{name}={_shown(value)}" for name, value in _added(record))])


class JsonFormatter(logging.Formatter):
    """``{"time": ..., "level": ..., "logger": ..., "message": ..., "name": value, ...}``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        named = record.args.items() if isinstance(record.args, dict) else ()
        fields = {name: value for name, value in named if _is_plain(value)} | dict(_added(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | fields | line)  # no field stands in for what every line has


FORMATTERS: Final = {"text": TextFormatter, "json": JsonFormatter}

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def formatter_named(name: str) -> type[logging.Formatter]:
    """
    Return the formatter of a ``LOG_FORMAT``; of "", text on a terminal and JSON elsewhere.

    Raises:
        ValueError: If there is no such format.
    """
    if name not in ("", *FORMATTERS):
        raise ValueError(f"LOG_FORMAT is {name!r}: it has to be text or json")
    return FORMATTERS[name or ("text" if sys.stderr.isatty() else "json")]


def level_named(name: str) -> str:
    """
    Return the level of a ``LOG_LEVEL``; of "", INFO.

    Raises:
        ValueError: If there is no such level.
    """
    level = name.upper() or "INFO"
    if level not in LEVELS:
        raise ValueError(f"LOG_LEVEL is {name!r}: it has to be one of {', '.join(LEVELS)}")
    return level


def _added(record: logging.LogRecord) -> list[tuple[str, Any]]:
    """Return the fields in ``extra``."""
    return [
        (name, value)
        for name, value in vars(record).items()
        if name not in _OWN and _is_plain(value)
    ]


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _shown(value: Any) -> str:
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)
