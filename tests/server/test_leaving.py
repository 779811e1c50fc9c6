"""Clients that have left before their turn came."""

from __future__ import annotations

import socket

from realtime.server.connection import has_left


def test_who_hung_up_while_waiting_is_known_to_have_left() -> None:
    ours, client = socket.socketpair()
    with ours:
        with client:
            assert not has_left(ours)
            client.sendall(b"x")
            assert not has_left(ours)
            assert ours.recv(10) == b"x"
        assert has_left(ours)
