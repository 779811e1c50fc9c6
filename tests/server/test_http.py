"""Requests: what logs say of them."""

from __future__ import annotations

from typing import Any

from realtime.server.http import GatewayRequest


def test_a_request_in_a_log_has_no_ticket() -> None:
    request: Any = GatewayRequest.__new__(GatewayRequest)
    request.method, request.uri = b"GET", b"/api/events?topic=/topic/a&ticket=secret"
    assert repr(request) == "<GatewayRequest b'GET' b'/api/events'>"
