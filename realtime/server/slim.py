"""
Slim: what autobahn and daphne keep of each WebSocket, and nobody needs.

With it a connection weighs twice as much. All of this was looked up in autobahn 26.10 and
daphne 4.2; tests/server/test_slim.py fails when others are installed, or a name is gone.
"""

from __future__ import annotations

from typing import Any, Final

from autobahn.websocket.protocol import TrafficStats

#: What is kept of the opening handshake.
HANDSHAKE: Final = (
    *("_raw_query_string", "_results", "_transport_details", "_valid_events", "_wskey"),
    *("application_deferred", "clean_headers", "http_headers", "http_request_data"),
    *("http_request_host", "http_request_params", "http_request_path", "http_request_uri"),
    *("http_response_data", "http_status_line", "websocket_extensions", "websocket_origin"),
    *("websocket_extensions_in_use", "websocket_protocols"),
)

#: What refers to a connection, and to which it refers.
CYCLES: Final = ("application_queue", "is_closed", "is_open", "transport")

#: Counters that nobody reads; one for all connections.
_STATISTICS: Final = TrafficStats()


def share_statistics(protocol: Any) -> None:
    """Let a new connection have no counters, and no queue of slow writes, of its own."""
    protocol.trafficStats = _STATISTICS
    del protocol.send_queue  # autobahn's, for tests of other servers


def forget_handshake(protocol: Any) -> None:
    """Forget what was needed until the WebSocket was open."""
    for name in HANDSHAKE:
        protocol.__dict__.pop(name, None)


def forget_cycles(protocol: Any) -> None:
    """
    Let a connection that has ended go at once: thousands of them kept 12 KiB each until the garbage
    collector came, which looked at all that live for 300 ms.
    """
    for name in CYCLES:
        protocol.__dict__.pop(name, None)


def with_shared_options(protocol_class: type, factory: Any) -> type:
    """
    Return a class of connections that share the options of their factory.

    autobahn copies them into every connection, and formats them for a log line that is never
    written.
    """
    shared: dict[str, Any] = {"CONFIG_ATTRS": ()}
    for name in protocol_class.CONFIG_ATTRS:  # type: ignore[attr-defined]
        if not hasattr(protocol_class, name):
            value = getattr(factory, name)
            shared[name] = staticmethod(value) if callable(value) else value
    return type(protocol_class.__name__, (protocol_class,), shared)
