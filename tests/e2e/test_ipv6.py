"""A gateway that listens on IPv6: its own pages are its own, and clients have their addresses."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.kit.clients import StompClient
from tests.kit.event_client import EventClient
from tests.kit.processes import Gateway


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="no IPv6")


@pytest.fixture(params=["", "1"], ids=["daphne alone", "with a supervisor"])
def gateway(
    variables: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Gateway]:
    strict = {"ALLOWED_HOSTS": "localhost,[::1]", "ALLOWED_ORIGINS": "", "LOG_FORMAT": "text"}
    strict |= {"HOST": "::", "WORKERS": request.param}
    with Gateway(tmp_path / "log", **variables, **strict) as gateway:
        yield gateway


async def test_its_own_pages_may_connect_and_others_are_told_what_is_allowed(
    gateway: Gateway,
) -> None:
    own = f"http://[::1]:{gateway.port}"
    stomp = own.replace("http", "ws") + "/stomp"
    async with StompClient(stomp, origin=own) as client:
        await client.subscribe("/topic/a")
    async with EventClient(own, "/topic/a", origin=own) as events:
        assert events.status == 200
    with pytest.raises(InvalidStatus) as refused:
        async with connect(stomp, origin="http://[::2]"):
            pass
    body = refused.value.response.body or b""
    assert b"ALLOWED_HOSTS (localhost, [::1])" in body
    assert f"refused ::1 (foreign-origin): {body.decode().strip()}" in gateway.output
    assert f"address=[::]:{gateway.port}" in gateway.output
