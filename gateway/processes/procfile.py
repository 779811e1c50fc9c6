"""The processes of the Procfile in one terminal, which may be closed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer

#: Seconds from SIGTERM to SIGKILL for what is left behind if honcho itself fails.
GRACE_SECONDS: Final = 5.0


def run_procfile(procfile: Path, **others: str) -> int:
    """
    Run the processes of a Procfile, and others, in the folder that it is in.

    They run until one ends, Ctrl-C, or the terminal is closed.
    """
    # The interpreter that runs us, whatever PATH says; and lines appear as they are written.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
    processes = Processes(Output())
    commands = {**parse_procfile(procfile.read_text()).processes, **others}
    for name, command in commands.items():
        processes.add_process(name, command, env=environment, cwd=str(procfile.parent))
    try:
        processes.loop()
    finally:
        processes.end()
    return 0 if processes.returncode in {130, 143} else processes.returncode or 0


def end_when_asked() -> None:
    """Let SIGTERM, and a terminal that is closed, end the program as an exception does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup: it goes on without a terminal
            signal.signal(number, lambda number, frame: sys.exit(128 + number))


def write_to_nowhere() -> None:
    """Let nothing that is printed fail from now on: who read it is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class Output(Printer):
    """Where the lines of the processes go; when nobody reads them any more, all of it ends."""

    def write(self, message: Any) -> None:
        try:
            super().write(message)
        except OSError:
            write_to_nowhere()
            os.kill(os.getpid(), signal.SIGTERM)


class Processes(Manager):
    """honcho's manager (2.0), which takes the end of its terminal for SIGTERM."""

    def terminate(self) -> None:
        if self._all_started():
            super().terminate()
        else:  # honcho knows no pids to terminate yet
            later = threading.Timer(0.1, self.terminate)
            later.daemon = True
            later.start()

    def end(self) -> None:
        """End what runs still, should the loop have failed."""
        left = [each for each in self._processes.values() if "pid" in each]
        left = [each for each in left if each["process"].is_alive()]
        for each in left:
            self._procmgr.terminate(each["pid"])
        for each in left:
            each["process"].join(GRACE_SECONDS)
            if each["process"].is_alive():
                self._procmgr.kill(each["pid"])

    def _start(self) -> None:
        # What carries the output of the processes has to outlive them, as it does at Ctrl-C.
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        super()._start()
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
