"""
A server process: daphne on a socket that it inherited, and a line to its supervisor.

``python -m gateway.processes.server --fd N ...``, which nobody types: the supervisor runs it. The
line is the standard input (see :mod:`gateway.processes.child`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from typing import Final

from daphne.cli import CommandLineInterface
from daphne.server import twisted_loop
from twisted.internet import reactor
from twisted.internet.tcp import Port

LINE: Final = 0

#: Seconds between two looks at its figures by the other workers.
FIGURES_SECONDS: Final = 1.0

#: Seconds between two beats, by which the supervisor knows that the event loop runs.
BEAT_SECONDS: Final = 1.0

#: Seconds that the process has to end when its supervisor was killed.
ORPHAN_SECONDS: Final = 5.0


def main() -> None:
    """Run daphne with the arguments of this program."""
    reactor.callWhenRunning(os.write, LINE, b"serving and beating")
    reactor.callWhenRunning(beat, socket.socket(fileno=os.dup(LINE)))
    reactor.callWhenRunning(show_figures)
    reactor.addSystemEventTrigger("after", "shutdown", show_figures)
    twisted_loop.add_reader(LINE, hear)
    CommandLineInterface().run(sys.argv[1:])


def beat(line: socket.socket) -> None:
    """Let the supervisor know that the event loop runs, again and again."""
    twisted_loop.call_later(BEAT_SECONDS, beat, line)
    with contextlib.suppress(OSError):  # one that reads nothing must not hold us up
        line.send(b".", socket.MSG_DONTWAIT)


def show_figures() -> None:
    """Let the other workers see what this one counts, again and again."""
    from gateway.metrics import write_figures  # Django is set up by now

    twisted_loop.call_later(FIGURES_SECONDS, show_figures)
    write_figures()


def hear() -> None:
    """Retire when the supervisor says so; end when it is gone."""
    from realtime.server.shutdown import Shutdown  # Django is set up by now

    Shutdown.delays = False
    if os.read(LINE, 16):
        stop_accepting()
        return
    twisted_loop.remove_reader(LINE)
    twisted_loop.call_later(ORPHAN_SECONDS, os._exit, 1)
    signal.raise_signal(signal.SIGTERM)


def stop_accepting() -> None:
    """Leave new connections to the other process on this socket."""
    # Not daphne's list of listeners: its deferreds end with None instead of the port.
    for reader in reactor.getReaders():
        if isinstance(reader, Port):
            reader.stopReading()


if __name__ == "__main__":
    main()
