"""
The gateway under a tracer of its calls: ``daphne tests.kit.ways_app:application``.

SIGUSR1 begins a trace and SIGUSR2 ends it. After each of them the file that ``CALLS_FILE`` names
holds what was called since the trace began, in order, as JSON: pairs of file and function.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from gateway.asgi import application

__all__ = ["application"]

PROJECT: Final = Path(__file__).resolve().parent.parent.parent
#: What is in the folder of the project and is not the gateway.
NOT_OURS: Final = (".venv", "tests")


class Tracer:
    """Notes which of the project's functions are called; one that is resumed counts again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._codes: list[CodeType] = []

    def begin(self, *_: object) -> None:
        self._codes.clear()
        self._write()
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def end(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)
        self._write()

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self._codes.append(frame.f_code)

    def _write(self) -> None:
        """Write at once what was called: who waits for the file finds all of it."""
        calls = [call for code in self._codes if (call := _call(code)) is not None]
        unfinished = self._file.with_suffix(".part")
        unfinished.write_text(json.dumps(calls))
        unfinished.replace(self._file)


def _call(code: CodeType) -> tuple[str, str] | None:
    """Return file and function if they are the gateway's, and the function has a name."""
    file = Path(code.co_filename)
    if code.co_name.startswith("<") or not file.is_relative_to(PROJECT):
        return None
    path = file.relative_to(PROJECT)
    return None if path.parts[0] in NOT_OURS else (str(path), code.co_name)


tracer = Tracer(Path(os.environ["CALLS_FILE"]))
signal.signal(signal.SIGUSR1, tracer.begin)
signal.signal(signal.SIGUSR2, tracer.end)
