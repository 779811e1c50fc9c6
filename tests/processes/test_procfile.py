"""The processes of a Procfile in one terminal, and what they rely on in honcho."""

from __future__ import annotations

import os
import queue
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from honcho.manager import Manager
from honcho.printer import Message
from honcho.process import Process as HonchoProcess

from gateway.processes import procfile
from gateway.processes.procfile import Output, Processes, end_when_asked, read_commands
from tests.kit.processes import TIMEOUT, Process

SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Leave the handling of signals as it was."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# Reading


def test_the_procfile_has_a_server_and_a_bridge(project: Path) -> None:
    assert set(read_commands(project / "Procfile")) == {"web", "bridge"}


def test_lines_that_name_no_process_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "Procfile"
    file.write_text("# all of it\n\nweb: serve --port 80\nno process\nbridge:  carry a: b\n")
    assert read_commands(file) == {"web": "serve --port 80", "bridge": "carry a: b"}


def test_processes_find_the_interpreter_that_runs_us_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/of/the/shell")
    path = procfile.environment()["PATH"]
    assert path == f"{Path(sys.executable).parent}{os.pathsep}/of/the/shell"


# Signals and output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_as_an_exception_does(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    end_when_asked()
    with pytest.raises(SystemExit) as end:
        signal.raise_signal(number)
    assert end.value.code == 128 + number


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_when_asked()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


class Gone:
    """A stream whose reader is gone."""

    def write(self, text: str) -> None:
        raise BrokenPipeError


def test_output_that_nobody_reads_counts_as_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(procfile, "write_to_nowhere", lambda: done.append("nowhere"))
    monkeypatch.setattr(signal, "raise_signal", done.append)
    Output(Gone()).write(Message("line", "hello", datetime.now(), "web", None))
    assert done == ["nowhere", signal.SIGTERM]


# The manager, and what honcho 2.0 does although its documentation promises nothing


def test_honcho_tells_of_each_start_with_the_process_group_and_of_each_stop() -> None:
    events: queue.Queue[Message] = queue.Queue()
    code = "import os; print(os.getpgrp()); raise SystemExit(3)"
    HonchoProcess(shlex.join([sys.executable, "-c", code]), name="web").run(events)
    start, line, stop = (events.get_nowait() for _ in range(3))
    assert (start.type, start.name) == ("start", "web")
    assert (line.type, int(line.data)) == ("line", start.data["pid"])
    assert (stop.type, stop.name, stop.data) == ("stop", "web", {"returncode": 3})


def test_honcho_asks_its_queue_of_events_in_each_turn() -> None:
    asked: list[float] = []

    class Failing:
        def get(self, timeout: float) -> Message:
            asked.append(timeout)
            if len(asked) < 2:
                return Message("line", "hello", datetime.now(), "web", None)
            raise ZeroDivisionError

    manager = Manager(SimpleNamespace(width=0, write=lambda message: None))
    manager.add_process("web", "true")
    manager.events = Failing()
    # Nothing is to be forked here: what is started is honcho's business, not the test's.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multiprocessing.Process", lambda **_: SimpleNamespace(start=lambda: None))
        with pytest.raises(ZeroDivisionError):
            manager.loop()
    assert asked == [0.1, 0.1]


def test_no_name_that_honcho_keeps_to_itself_is_taken() -> None:
    plain, ours = Manager(), Processes(Output())
    theirs = {name for name in {*dir(Manager), *vars(plain)} if not name.startswith("__")}
    added = {*vars(ours)} - {*vars(plain)}
    replaced = {*vars(Processes)} & theirs
    assert added & theirs == set()
    assert replaced == {"add_process", "loop", "terminate"}


def started(name: str, pid: int) -> Message:
    return Message("start", {"pid": pid}, None, name, None)


def stopped(name: str) -> Message:
    return Message("stop", {"returncode": 0}, None, name, None)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes when honcho is told to end its processes."""
    ended: list[str] = []
    monkeypatch.setattr(Manager, "terminate", lambda manager: ended.append("ended"))
    return ended


def test_processes_are_ended_only_when_each_has_said_that_it_runs(ended: list[str]) -> None:
    processes = Processes(Output())
    processes.add_process("web", "true")
    processes.add_process("bridge", "true")
    processes.terminate()
    processes.between_events()
    processes.events.note(started("web", 1))
    processes.between_events()
    assert ended == []
    processes.events.note(started("bridge", 2))
    processes.between_events()
    assert ended == ["ended"]


def test_processes_that_run_are_not_ended_unasked(ended: list[str]) -> None:
    processes = Processes(Output())
    processes.add_process("web", "true")
    processes.events.note(started("web", 1))
    processes.between_events()
    assert ended == []


def test_a_process_that_has_stopped_is_not_one_to_end() -> None:
    events = Processes(Output()).events
    events.note(started("web", 1))
    events.note(started("bridge", 2))
    events.note(stopped("web"))
    assert events.groups == {"bridge": 2}


# A program in a terminal of its own


PROGRAM = """
import sys
from pathlib import Path
from gateway.processes.procfile import end_when_asked, run_procfile
end_when_asked()
sys.exit(run_procfile(Path(sys.argv[1]), **dict(each.split(":") for each in sys.argv[2:])))
"""
#: Says which process group it is, and goes on for longer than any test.
LASTING = "echo group $$; exec sleep 300"


def run(folder: Path, commands: dict[str, str], *others: str, program: str = PROGRAM) -> Process:
    file = folder / "Procfile"
    file.write_text("".join(f"{name}: {command}\n" for name, command in commands.items()))
    command = shlex.join([sys.executable, "-c", program, str(file), *others])
    return Process(command, folder / "log")


def groups(process: Process) -> list[int]:
    return [int(pid) for pid in re.findall(r"group (\d+)", process.output)]


def wait_until_gone(group: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    with suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            assert time.monotonic() < deadline
            time.sleep(0.02)


def wait_for_groups(process: Process, count: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while len(groups(process)) < count:
        assert time.monotonic() < deadline, process.output
        assert process.popen.poll() is None, process.output
        time.sleep(0.02)


def test_the_first_process_that_ends_ends_the_others_and_gives_its_status(tmp_path: Path) -> None:
    commands = {"web": LASTING, "bridge": "sleep 0.3; exit 3"}
    with run(tmp_path, commands) as process:
        assert process.popen.wait(TIMEOUT) == 3
        [group] = groups(process)
        wait_until_gone(group)


def test_processes_run_in_the_folder_of_the_procfile_and_others_with_them(tmp_path: Path) -> None:
    with run(tmp_path, {"web": LASTING}, "backend:pwd; cat Procfile") as process:
        assert process.popen.wait(TIMEOUT) == 0
        assert f"backend | {tmp_path}" in process.output
        assert f"backend | web: {LASTING}" in process.output


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_all_processes_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    with run(tmp_path, {"web": LASTING, "bridge": LASTING}) as process:
        wait_for_groups(process, 2)
        process.popen.send_signal(number)
        assert process.popen.wait(TIMEOUT) == 0
        assert "Traceback" not in process.output
        for group in groups(process):
            wait_until_gone(group)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_may_come_before_any_process_has_said_that_it_runs(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = PROGRAM.replace("end_when_asked()", early(number))
    with run(tmp_path, {"web": LASTING, "bridge": LASTING}, program=program) as process:
        assert process.popen.wait(TIMEOUT) == 0
        assert "Traceback" not in process.output
        assert process.output.count("sending SIGTERM to") == 2
        for pid in re.findall(r"started \(pid=(\d+)\)", process.output):
            wait_until_gone(int(pid))


def early(number: signal.Signals) -> str:
    """Return code by which a signal comes when the processes have just been forked."""
    return (
        "import signal, gateway.processes.procfile as procfile\n"
        "class Early(procfile.Processes):\n"
        "    def between_events(self):\n"
        "        super().between_events()\n"
        f"        if not self.end_wanted: signal.raise_signal({int(number)})\n"
        "procfile.Processes = Early"
    )


def test_what_is_ignored_under_nohup_ends_nothing(tmp_path: Path) -> None:
    program = PROGRAM.replace(
        "end_when_asked()", "import signal; signal.signal(1, signal.SIG_IGN); end_when_asked()"
    )
    with run(tmp_path, {"web": LASTING}, program=program) as process:
        wait_for_groups(process, 1)
        process.popen.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.popen.poll() is None
        assert process.stop() == 0


@pytest.mark.parametrize("command", [LASTING, f"trap '' TERM; {LASTING}"])
def test_nothing_is_left_behind_when_honcho_fails(tmp_path: Path, command: str) -> None:
    program = PROGRAM.replace(
        "end_when_asked()",
        "import gateway.processes.procfile as procfile\n"
        "procfile.GRACE_SECONDS = 0.5\n"
        "class Failing(procfile.Output):\n"
        "    def write(self, message):\n"
        "        super().write(message)\n"
        "        if message.name == 'web': raise ZeroDivisionError\n"
        "procfile.Output = Failing",
    )
    with run(tmp_path, {"web": command}, program=program) as process:
        assert process.popen.wait(TIMEOUT) == 1
        assert "ZeroDivisionError" in process.output
        [group] = groups(process)
        wait_until_gone(group)
