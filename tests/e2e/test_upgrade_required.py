"""Plain HTTP at the address of WebSockets, as it comes through a proxy that drops Upgrade."""

from __future__ import annotations

import http.client
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.clients import StompClient
from tests.kit.processes import TIMEOUT, Gateway


def ask(gateway: Gateway, method: str, path: str) -> tuple[int, http.client.HTTPMessage, str]:
    """Send what is left of an opening handshake without Upgrade."""
    client = http.client.HTTPConnection("localhost", gateway.port, timeout=TIMEOUT)
    headers = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    with closing(client):
        client.request(method, path, headers={**headers, "Connection": "close"})
        answer = client.getresponse()
        return answer.status, answer.headers, answer.read().decode()


class Redirecting(Gateway):
    """A gateway whose pages may all be redirected to HTTPS, where nobody listens."""

    def wait_until_it_answers(self) -> None:
        self.wait_for_output("INFO realtime.server.server: listening")


@pytest.mark.parametrize("https", ["0", "1"], ids=["plain", "where pages are redirected to HTTPS"])
async def test_it_is_told_what_the_proxy_has_to_pass_on(
    variables: dict[str, str], tmp_path: Path, https: str
) -> None:
    with Redirecting(tmp_path / "log", **variables, HTTPS=https, LOG_FORMAT="text") as gateway:
        for path in ("/stomp", "/stomp/", "/stomp?ticket=secret"):
            for method in ("GET", "POST", "OPTIONS"):
                status, headers, body = ask(gateway, method, path)
                assert (status, headers["Upgrade"]) == (426, "websocket")
                assert "proxy_set_header Upgrade $http_upgrade;" in body
        assert ask(gateway, "HEAD", "/stomp")[::2] == (426, "")
        assert gateway.output.count("(no-upgrade)") == 1
        assert "secret" not in gateway.output
        async with StompClient(gateway.stomp) as client:
            await client.subscribe("/topic/a")
