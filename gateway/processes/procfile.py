"""
The processes of a Procfile in one terminal, which may be closed.

honcho starts them, each under a process that carries its output here, and ends them all once one
has ended. Three things are added: SIGTERM may come at any time, the end of the terminal counts as
one, and nothing is left behind whatever fails.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import active_children, get_context
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Final

from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Message, Printer

#: Seconds from SIGTERM to SIGKILL for what is left behind if honcho itself fails.
GRACE_SECONDS: Final = 5.0


def run_procfile(procfile: Path, **others: str) -> int:
    """
    Run the processes of a Procfile, and others, in the folder that it is in.

    They run until one ends, Ctrl-C, or the terminal is closed. Return the exit status.
    """
    processes = Processes(Output(sys.stdout))
    for name, command in {**read_commands(procfile), **others}.items():
        processes.add_process(name, command, env=environment(), cwd=str(procfile.parent))
    processes.loop()
    return 0 if processes.returncode in {130, 143} else processes.returncode or 0


def read_commands(procfile: Path) -> dict[str, str]:
    """Return the commands of a Procfile by their names."""
    return dict(parse_procfile(procfile.read_text()).processes)


def environment() -> dict[str, str]:
    """Return the environment of the processes: ours, with the interpreter that runs us first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # Their output comes here: to them it is no terminal, to whoever reads it may be one.
    form = os.environ.get("LOG_FORMAT") or ("text" if sys.stdout.isatty() else "json")
    # Unbuffered, so that lines appear as they are written.
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "LOG_FORMAT": form}


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
    """The lines of the processes on their way out; when nobody reads them any more, all ends."""

    def write(self, message: Message) -> None:
        """Print a message."""
        try:
            super().write(message)
        except OSError:
            write_to_nowhere()
            signal.raise_signal(signal.SIGTERM)


class Events(Queue):
    """The queue by which honcho is told of its processes; it remembers which of them run."""

    def __init__(self, before_each: Callable[[], None]) -> None:
        super().__init__(ctx=get_context())
        self.before_each = before_each
        self.started: set[str] = set()
        self.groups: dict[str, int] = {}  # of those that run: the process group

    def get(self, block: bool = True, timeout: float | None = None) -> Message:
        """Return the next event."""
        self.before_each()
        event = super().get(block, timeout)
        self.note(event)
        return event

    def note(self, event: Message) -> None:
        """Remember what an event tells of a process."""
        if event.type == "start":
            self.started.add(event.name)
            self.groups[event.name] = event.data["pid"]  # it leads a session, so a group as well
        elif event.type == "stop":
            self.groups.pop(event.name, None)


class Processes(Manager):
    """
    honcho's manager, which may be ended at any time and leaves nothing behind.

    honcho keeps to itself which processes run, and fails if it has to end them before each of them
    has reported. So our queue replaces its own: every turn of honcho's loop begins by reading it.
    The attribute has no underscore, but no documentation either. This is so in honcho 2.0; the
    tests of this module fail where it no longer is.
    """

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self.events = Events(self.between_events)
        self.names: set[str] = set()
        self.end_wanted = False
        self.mind_terminal = False  # whether SIGHUP is still to be handled

    def add_process(self, name: str, *command: Any, **options: Any) -> Any:
        """Add a process, which :meth:`loop` starts."""
        self.names.add(name)
        return super().add_process(name, *command, **options)

    def loop(self) -> None:
        """Run the processes until all have ended."""
        # What carries the output has to outlive the processes, as it does at Ctrl-C. honcho forks
        # it at once, and it goes on ignoring what is ignored here at that moment.
        self.mind_terminal = signal.signal(signal.SIGHUP, signal.SIG_IGN) is not signal.SIG_IGN
        try:
            super().loop()
        finally:
            self.end()

    def terminate(self) -> None:
        """End all processes, as soon as that can be."""
        self.end_wanted = True

    def between_events(self) -> None:
        """Do what had to wait: by now all is forked, and honcho knows what it was told."""
        if self.mind_terminal:
            self.mind_terminal = False
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        if self.end_wanted and self.names == self.events.started:
            super().terminate()  # which does nothing the second time

    def end(self) -> None:
        """End what runs still, should the loop have failed."""
        if self.events.groups:
            self.send(signal.SIGTERM)
            for carrier in active_children():
                carrier.join(GRACE_SECONDS)
            self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process groups that are left."""
        for group in self.events.groups.values():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
