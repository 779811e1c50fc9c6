"""The listening sockets of several server processes."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from gateway.processes import sockets
from tests.conftest import free_port

HOST = "127.0.0.1"

spreads = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections")


@pytest.fixture
def pair() -> Iterator[list[socket.socket]]:
    """Two sockets on one port."""
    with ExitStack() as stack:
        listeners = sockets.open_sockets(HOST, str(free_port()), 2)
        for listener in listeners:
            stack.enter_context(listener)
        yield listeners


def waiting(listener: socket.socket) -> int:
    """Return how many connections waited in a socket."""
    listener.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


@pytest.mark.parametrize("port", ["", "0", "-1", "65536", "web", "8080.5"])
def test_a_port_is_a_number_from_1_to_65535(port: str) -> None:
    with pytest.raises(SystemExit, match=f"PORT is '{port}': it has to be a number"):
        sockets.check_port(HOST, port)


def test_a_port_that_is_free_stays_free_when_it_was_checked() -> None:
    port = str(free_port())
    sockets.check_port(HOST, port)
    sockets.check_port(HOST, port)


def test_a_used_port_ends_the_program_with_advice(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    other = port + 10_000 if port < 20_000 else port - 10_000
    with pytest.raises(SystemExit, match=f"can't use port {port} of {HOST}: .* as in PORT={other}"):
        sockets.open_sockets(HOST, str(port), 1)


@spreads
def test_each_server_has_a_socket_of_its_own_on_the_same_address(
    pair: list[socket.socket],
) -> None:
    assert pair[0].fileno() != pair[1].fileno()
    assert pair[0].getsockname() == pair[1].getsockname()


@spreads
def test_the_kernel_spreads_connections_evenly(pair: list[socket.socket]) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(pair[0].getsockname()))
        counts = [waiting(listener) for listener in pair]
    assert sum(counts) == 200
    assert min(counts) >= 50


def test_more_connections_may_wait_than_in_a_socket_of_twisted() -> None:
    with ExitStack() as stack:
        [listener] = sockets.open_sockets(HOST, str(free_port()), 1)
        stack.enter_context(listener)
        for _ in range(120):
            client = socket.create_connection(listener.getsockname(), timeout=5)
            stack.enter_context(client)
        assert waiting(listener) == 120


@spreads
def test_one_server_alone_shares_its_port_with_nobody() -> None:
    port = free_port()
    [listener] = sockets.open_sockets(HOST, str(port), 1)
    with closing(listener), pytest.raises(OSError, match="in use"):
        sockets.listen(HOST, port, shared=True)


@spreads
def test_sockets_that_are_shared_do_not_join_those_of_another_gateway(
    pair: list[socket.socket],
) -> None:
    with pytest.raises(SystemExit, match="can't use port"):
        sockets.open_sockets(HOST, str(pair[0].getsockname()[1]), 2)


def test_where_the_kernel_does_not_spread_all_servers_share_one_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "SPREADS", False)
    listeners = sockets.open_sockets(HOST, str(free_port()), 3)
    with closing(listeners[0]):
        assert len(listeners) == 3
        assert len({listener.fileno() for listener in listeners}) == 1


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_may_have_brackets(host: str) -> None:
    try:
        listener = sockets.listen(host, 0)
    except OSError:
        pytest.skip("no IPv6")
    with closing(listener):
        assert listener.getsockname()[0] == "::1"
