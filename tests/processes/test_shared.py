"""What workers count, added up by whichever is asked."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.processes import shared
from gateway.processes.shared import Figures
from tests.conftest import free_port


def figures(requests: float, sessions: float) -> Figures:
    return {"totals": {"requests": {"SEND": requests}}, "now": {"sessions": {"": sessions}}}


@pytest.fixture
def folder() -> Iterator[Path]:
    with shared.shared_by_workers():
        found = shared.folder()
        assert found is not None
        yield found
    assert not found.exists()


def write_as(monkeypatch: pytest.MonkeyPatch, folder: Path, pid: int, content: Figures) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid)
        shared.write(folder, content)


def test_without_a_supervisor_there_is_no_folder() -> None:
    assert shared.folder() is None
    shared.settle(1)


def test_the_sums_are_those_of_all_workers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_as(monkeypatch, folder, 1, figures(3, 1))
    write_as(monkeypatch, folder, 2, figures(4, 2))
    write_as(monkeypatch, folder, 1, figures(5, 0))
    assert shared.read(folder) == figures(9, 2)
    assert sorted(shared.pids(folder)) == ["1", "2"]


def test_what_a_worker_counted_outlives_it_and_what_it_had_does_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in range(1, 30):
        write_as(monkeypatch, folder, pid, figures(1, 1))
        if pid > 2:
            shared.settle(pid)
            shared.settle(pid)
    assert shared.read(folder) == figures(29, 2)
    assert len(list(folder.iterdir())) == 3


def test_a_worker_that_ends_while_others_read_counts_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_as(monkeypatch, folder, 1, figures(3, 1))
    write_as(monkeypatch, folder, 2, figures(4, 1))
    load = shared._load

    def settled_after(path: Path) -> object:
        found = load(path)
        if path.name == "1":
            monkeypatch.setattr(shared, "_load", load)
            shared.settle(1)
        return found

    monkeypatch.setattr(shared, "_load", settled_after)
    assert shared.read(folder) == figures(7, 1)
    assert shared.read(folder) == figures(7, 1)


def test_a_worker_that_ended_before_it_wrote_is_nothing_to_settle(folder: Path) -> None:
    shared.settle(1)
    assert shared.read(folder) == {"totals": {}, "now": {}}


def test_workers_of_two_releases_are_added_up_as_far_as_each_knows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_as(monkeypatch, folder, 1, figures(3, 1))
    newer = {"totals": {"requests": {"ACK": 2.0}, "new": {"": 1.0}}, "now": {}}
    write_as(monkeypatch, folder, 2, newer)
    totals = shared.read(folder)["totals"]
    assert totals == {"requests": {"SEND": 3, "ACK": 2}, "new": {"": 1}}


@pytest.fixture
def metrics_port(monkeypatch: pytest.MonkeyPatch) -> int:
    port = free_port()
    monkeypatch.setenv("METRICS_PORT", str(port))
    monkeypatch.setenv(shared.SOCKET, "")  # so that it is put back
    monkeypatch.delenv(shared.SOCKET)
    return port


def test_the_metrics_port_is_on_this_machine_only_and_workers_inherit_it(
    metrics_port: int,
) -> None:
    listener = shared.open_metrics_port()
    assert listener is not None
    with listener:
        assert listener.getsockname() == ("127.0.0.1", metrics_port)
        assert shared.inherited() == [listener.fileno()]
        assert os.get_inheritable(listener.fileno())


@pytest.mark.parametrize("text", ["", "0"])
def test_without_a_metrics_port_there_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("METRICS_PORT", text)
    assert shared.open_metrics_port() is None
    assert shared.inherited() == []


def test_a_metrics_port_that_is_taken_ends_the_program(metrics_port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", metrics_port)),
        pytest.raises(SystemExit, match=f"can't use port {metrics_port}.*set METRICS_PORT"),
    ):
        shared.open_metrics_port()


@pytest.mark.parametrize("text", ["no", "65536", "-1"])
def test_a_metrics_port_that_is_none_ends_the_program(
    metrics_port: int, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("METRICS_PORT", text)
    with pytest.raises(SystemExit, match=f"METRICS_PORT is '{text}': it has to be a number"):
        shared.open_metrics_port()
