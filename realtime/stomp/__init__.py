"""
STOMP 1.0, 1.1 and 1.2 without I/O: bytes and events, nothing else.

Whoever owns the socket holds a :class:`Connection`, feeds it, and acts on its events::

    data ──> Connection.receive_data ──> next_event() ──> events.Send, events.Subscribe, ...
    data <── connected(), receipt(), error() <── what became of them

``connection``    Connection: the state machine; ``handshake``, ``transactions``: its parts
``frames``        FrameDecoder and encode: bytes and frames; ``escapes``: of header values
``events``        one event for each client command
``errors``        what can go wrong, with the code of the close
``limits``        what a client may ask for

Imports the standard library only.
"""

from .connection import Connection, State
from .errors import (
    AccessDenied,
    Disconnected,
    Dismissed,
    FrameError,
    FrameTooLarge,
    HeartbeatMissed,
    LoginExpired,
    MessagesLost,
    ProtocolError,
    Restart,
    StompError,
    TooMany,
    TooSlow,
    Unavailable,
)
from .events import ack_id
from .frames import (
    HEARTBEAT,
    SECRET_HEADERS,
    Frame,
    FrameDecoder,
    encode,
    encode_common_header,
    encode_header,
)
from .limits import Limits

__all__ = [
    "HEARTBEAT",
    "SECRET_HEADERS",
    "AccessDenied",
    "Connection",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "FrameTooLarge",
    "HeartbeatMissed",
    "Limits",
    "Disconnected",
    "Dismissed",
    "LoginExpired",
    "MessagesLost",
    "ProtocolError",
    "Restart",
    "State",
    "StompError",
    "TooMany",
    "TooSlow",
    "Unavailable",
    "ack_id",
    "encode",
    "encode_common_header",
    "encode_header",
]
