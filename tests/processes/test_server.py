"""The server process's end of the line to its supervisor."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port

from gateway.processes import server


class Loop:
    """An event loop that notes what it is asked for."""

    def __init__(self) -> None:
        self.removed: list[int] = []
        self.later: list[tuple[object, ...]] = []

    def remove_reader(self, fd: int) -> None:
        self.removed.append(fd)

    def call_later(self, *call: object) -> None:
        self.later.append(call)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The supervisor's end of the line."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        monkeypatch.setattr(server, "LINE", theirs.fileno())
        yield ours


def accepting() -> list[Port]:
    return [reader for reader in reactor.getReaders() if isinstance(reader, Port)]


def test_a_server_that_is_to_retire_accepts_nothing_more(line: socket.socket) -> None:
    port = Port(0, Factory(), interface="127.0.0.1", reactor=reactor)
    port.startListening()
    try:
        assert accepting() == [port]
        line.send(b"retire")
        server.hear()
        assert accepting() == []
    finally:
        port.socket.close()


def test_a_server_whose_supervisor_is_gone_ends_and_sees_to_it(
    line: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, raised = Loop(), list[signal.Signals]()
    monkeypatch.setattr(server, "twisted_loop", loop)
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    line.close()
    server.hear()
    assert raised == [signal.SIGTERM]
    assert loop.removed == [server.LINE]
    assert loop.later == [(server.ORPHAN_SECONDS, os._exit, 1)]
