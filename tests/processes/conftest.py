from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from gateway.processes import child


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def serve_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let children be a small program from now on, instead of daphne."""

    def serve_by(code: str) -> None:
        code = f"import os, signal, time\n{code}"
        monkeypatch.setattr(child, "SERVER", [sys.executable, "-I", "-S", "-c", code])

    serve_by(SERVES)
    return serve_by


SERVES = "os.write(0, b'serving'); signal.pause()"
FAILS = "raise SystemExit(3)"
HANGS = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(0, b'serving'); time.sleep(60)"
BEATS = "os.write(0, b'serving and beating')\nwhile True: time.sleep(0.05); os.write(0, b'.')"
