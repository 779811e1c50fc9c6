"""What connections need not keep: looked up in certain versions of autobahn and daphne."""

from __future__ import annotations

from importlib.metadata import version
from inspect import getsource
from typing import Any

import pytest
from autobahn import util
from autobahn.twisted import websocket
from autobahn.websocket import protocol
from daphne import ws_protocol
from daphne.ws_protocol import WebSocketFactory
from twisted.internet.testing import StringTransport

from realtime.server import slim
from realtime.server.websocket import GatewayProtocol, GatewayWebSocketFactory


@pytest.mark.parametrize(("package", "seen"), [("autobahn", "26.10."), ("daphne", "4.2.")])
def test_the_installed_versions_are_those_that_were_looked_at(package: str, seen: str) -> None:
    installed = version(package)
    assert installed.startswith(seen), (
        f"{package} {installed} is new: see whether realtime/server/slim.py still fits"
    )


class Server:
    """As much of a server as a handshake needs."""

    ping_interval = 20
    draining = False
    root_path = ""
    proxy_forwarded_address_header = proxy_forwarded_port_header = None
    proxy_forwarded_proto_header = None

    def __init__(self) -> None:
        self.protocols: list[Any] = []

    def protocol_connected(self, protocol: Any) -> None:
        self.protocols.append(protocol)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        return None

    def protocol_disconnected(self, protocol: Any) -> None: ...


def factory() -> WebSocketFactory:
    made = GatewayWebSocketFactory(Server(), server="test")
    made.protocol = GatewayProtocol
    made.setProtocolOptions(autoPingTimeout=30)
    return made


def test_connections_share_the_options_of_their_factory() -> None:
    made = factory()
    assert issubclass(made.protocol, GatewayProtocol)
    first = made.protocol()
    first.factory = made
    first.transport = StringTransport()
    assert first.CONFIG_ATTRS == ()
    assert first.autoPingTimeout == 30
    assert "autoPingTimeout" not in vars(first)


def test_what_is_forgotten_of_a_handshake_is_there_in_their_sources() -> None:
    source = "".join(map(getsource, (protocol, websocket, ws_protocol, util)))
    assert {name for name in slim.HANDSHAKE + slim.CYCLES if name not in source} == set()


def test_nothing_else_of_a_connection_is_forgotten() -> None:
    class Connection:
        trafficStats: Any = None

    connection: Any = Connection()
    connection.send_queue, connection.state, connection.http_headers = [], 3, {"host": "x"}
    slim.share_statistics(connection)
    slim.forget_handshake(connection)
    assert vars(connection) == {"state": 3, "trafficStats": connection.trafficStats}
    other: Any = Connection()
    other.send_queue = []
    slim.share_statistics(other)
    assert other.trafficStats is connection.trafficStats
