"""Which application serves what, and what becomes of one that fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from channels.routing import ProtocolTypeRouter
from websockets.exceptions import InvalidStatus

from realtime.server.server import application_of_websockets
from tests.kit.server_app import application, echo
from tests.kit.servers import Server


class Watched(ProtocolTypeRouter):
    """A router that somebody made for a purpose of their own."""


def test_only_channels_own_router_is_passed_by() -> None:
    routes = {"websocket": echo}
    assert application_of_websockets(ProtocolTypeRouter(routes)) is echo
    for each in (application, ProtocolTypeRouter({"http": application}), Watched(routes)):
        assert application_of_websockets(each) is each


async def test_who_calls_an_application_that_fails_at_once_is_told_so(tmp_path: Path) -> None:
    with Server(tmp_path / "log", application="broken") as server:
        assert server.get("/")[0] == 500
        with pytest.raises(InvalidStatus) as refused:
            async with server.websocket("/"):
                pass
        assert refused.value.response.status_code == 500
        assert server.output.count("RuntimeError: failed when called") == 2
