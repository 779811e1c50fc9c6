"""Requests: what logs say of them."""

from __future__ import annotations

import socket
from typing import Any

from realtime.server.http import GatewayRequest, has_left


def test_a_request_in_a_log_has_no_ticket() -> None:
    request: Any = GatewayRequest.__new__(GatewayRequest)
    request.method, request.uri = b"GET", b"/api/events?topic=/topic/a&ticket=secret"
    assert repr(request) == "<GatewayRequest b'GET' b'/api/events'>"


def test_who_hung_up_while_waiting_is_known_to_have_left() -> None:
    ours, client = socket.socketpair()
    with ours:
        with client:
            assert not has_left(ours)
            client.sendall(b"x")
            assert not has_left(ours)
            assert ours.recv(10) == b"x"
        assert has_left(ours)
