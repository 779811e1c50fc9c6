"""One client's side of a STOMP connection, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from . import events
from .errors import AccessDenied, ProtocolError, StompError
from .frames import Frame, FrameDecoder, encode, encode_header, encode_headers
from .handshake import VERSIONS, common_versions, negotiate_heartbeat
from .limits import Limits
from .transactions import Transactions

ACK_MODES: Final = ("auto", "client", "client-individual")


class State(Enum):
    """Where a connection is; :data:`ALLOWED` says what a client may send there."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


_CONNECT: Final = frozenset({"CONNECT", "STOMP"})
_REQUESTS: Final = frozenset(
    {"SUBSCRIBE", "UNSUBSCRIBE", "SEND", "ACK", "NACK"} | {"BEGIN", "COMMIT", "ABORT", "DISCONNECT"}
)
ALLOWED: Final[dict[State, frozenset[str]]] = {
    State.CONNECTING: _CONNECT,
    State.CONNECTED: _REQUESTS,
    State.DISCONNECTED: frozenset(),
}


class Connection:
    """
    The protocol of one client: data in, events out, frames for the client.

    Feed it with :meth:`receive_data`, take one event with :meth:`next_event`, act on it,
    then ask for the next. It never answers by itself: only the caller knows when the
    work behind a RECEIPT is done.

    Args:
        limits: What the client may ask for.
        heartbeat_ms: The shortest interval at which this side sends heart-beats, and the
            shortest at which it wants them; 0 for none.
    """

    def __init__(
        self, *, limits: Limits | None = None, heartbeat_ms: tuple[int, int] = (1000, 1000)
    ) -> None:
        self.limits = limits or Limits()
        self.state = State.CONNECTING
        self.version = "1.2"
        self._accepted = False  # CONNECTED was sent
        self.offered_heartbeat_ms = heartbeat_ms
        #: Negotiated, once connected: milliseconds between heart-beats out and in; 0 for none.
        self.heartbeat_out_ms = 0
        self.heartbeat_in_ms = 0
        #: The keys of the live subscriptions.
        self.subscriptions: set[str] = set()
        #: Those of late that the server ended: their clients may not know of it yet.
        self._ended: dict[str, None] = {}
        self._transactions = Transactions(
            max_transactions=self.limits.max_transactions,
            max_bytes=self.limits.max_transaction_bytes,
        )
        self._decoder = FrameDecoder(
            max_frame_bytes=self.limits.max_connect_frame_bytes,
            max_headers=self.limits.max_headers,
            max_header_bytes=self.limits.max_header_bytes,
            max_head_bytes=self.limits.max_head_bytes,
        )

    def receive_data(self, data: bytes) -> None:
        """Take in what the client sent: any part of a frame, or several frames."""
        if self.state is not State.DISCONNECTED:
            self._decoder.receive_data(data)

    def next_event(self) -> events.Event | None:
        """
        Return what the client asks for next, or None until more data comes.

        Act on each event before asking for the next: a client may send CONNECT
        and SUBSCRIBE at once, and only :meth:`connected` allows SUBSCRIBE.

        Raises:
            StompError: If the client broke the protocol. Send what
                :meth:`error` returns, then close the WebSocket.
        """
        if self.state is State.DISCONNECTED:
            return None  # STOMP 1.2, "DISCONNECT": no frames after it
        frame = self._decoder.next_frame()
        if frame is None:
            return None
        try:
            self._check_command(frame.command)
            return _EVENTS[frame.command](self, frame)
        except StompError as error:
            error.receipt = frame.headers.get("receipt")
            raise

    def connected(self, *, session: str, server: str, user: str | None = None) -> bytes:
        """
        Accept the client's :class:`~.events.Connect`; return the CONNECTED frame.

        Args:
            session: The session's id.
            server: Name and version of the server, as in ``name/1.0``.
            user: Whom the client is known as, for the ``user-name`` header.
        """
        if self.state is State.CONNECTING:  # it may have failed meanwhile
            self.state = State.CONNECTED
            self._accepted = True
        self._decoder.version = self.version
        self._decoder.max_frame_bytes = self.limits.max_frame_bytes
        out, wanted = self.offered_heartbeat_ms
        headers = {"version": self.version, "heart-beat": f"{out},{wanted}"}
        headers |= {"session": session, "server": server}
        if user is not None:
            headers["user-name"] = user
        return encode(Frame("CONNECTED", headers), self.version)

    def add_subscription(self, key: str) -> None:
        """
        Count a subscription; SUBSCRIBE does it by itself.

        Raises:
            StompError: If there is one with this key, or one too many.
        """
        if key in self.subscriptions:
            raise ProtocolError(
                f"there is a subscription {key!r} already", code="duplicate-subscription"
            )
        if len(self.subscriptions) >= self.limits.max_subscriptions:
            raise AccessDenied(
                f"more than {self.limits.max_subscriptions} subscriptions",
                code="too-many-subscriptions",
            )
        self.subscriptions.add(key)
        self._ended.pop(key, None)

    def end_subscription(self, key: str) -> None:
        """End a subscription; an UNSUBSCRIBE that comes nevertheless is no error."""
        self.subscriptions.discard(key)
        self._ended[key] = None
        if len(self._ended) > self.limits.max_subscriptions:
            del self._ended[next(iter(self._ended))]

    def receipt(self, receipt_id: str, headers: dict[str, str] | None = None) -> bytes:
        """Return the RECEIPT frame that says: the work of that frame is done."""
        lines = encode_header("receipt-id", receipt_id, self.version)
        if headers:
            lines += encode_headers(headers, self.version)
        return b"RECEIPT\n%b\n\0" % lines

    def error(self, error: StompError) -> bytes:
        """Return the ERROR frame for an error; nothing the client sends counts after it."""
        self.state = State.DISCONNECTED
        headers = {"message": error.message, "code": error.code}
        if error.code == "version-not-supported":
            headers["version"] = ",".join(VERSIONS)
        if error.receipt is not None:
            headers["receipt-id"] = error.receipt
        if error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
        headers["content-type"] = "text/plain;charset=UTF-8"
        body = f"{error.message}\n".encode()
        if self._accepted:
            return encode(Frame("ERROR", headers, body), self.version)
        # Some clients unescape before CONNECTED, some don't: nothing may need it.
        headers["message"] = headers["message"].replace("\\", "/")
        return encode(Frame("ERROR", headers, body), "1.0")

    def _check_command(self, command: str) -> None:
        if self.state is State.CONNECTED and command in _REQUESTS:  # most are: a shorter way
            return
        if command in ALLOWED[self.state]:
            return
        if command in _CONNECT:
            raise ProtocolError("this session is connected already", code="already-connected")
        if command in _REQUESTS:
            raise ProtocolError(f"{command} before CONNECT", code="not-connected")
        raise ProtocolError(f"unknown command {command[:32]!r}", code="unknown-command")

    def _connect(self, frame: Frame) -> events.Connect:
        headers = frame.headers
        versions = common_versions(headers.get("accept-version", "1.0"))
        self.version = versions[-1]
        if self.version == "1.0":  # its own examples pad
            headers = {name: value.strip(" ") for name, value in headers.items()}
            frame = Frame(frame.command, headers)
        self.heartbeat_out_ms, self.heartbeat_in_ms = negotiate_heartbeat(
            headers.get("heart-beat", "0,0"), self.offered_heartbeat_ms
        )
        return events.Connect(
            versions=versions,
            host=headers.get("host"),
            login=headers.get("login"),
            passcode=headers.get("passcode"),
            **_common(frame),
        )

    def _subscribe(self, frame: Frame) -> events.Subscribe:
        headers = frame.headers
        id = (headers.get("id") or None) if self.version == "1.0" else _required(frame, "id")
        destination = _required(frame, "destination")
        event = events.Subscribe(
            id=id,
            destination=destination,
            ack=headers.get("ack", "auto"),
            key=destination if id is None else id,
            **_common(frame),
        )
        if event.ack not in ACK_MODES:
            raise ProtocolError(f"ack has to be one of {', '.join(ACK_MODES)}", code="bad-header")
        self.add_subscription(event.key)
        return event

    def _unsubscribe(self, frame: Frame) -> events.Unsubscribe:
        headers = frame.headers
        by_destination = self.version == "1.0" and not headers.get("id")
        key = _required(frame, "destination" if by_destination else "id")
        if key not in self.subscriptions and key not in self._ended:
            raise ProtocolError(f"there is no subscription {key!r}", code="unknown-subscription")
        self.subscriptions.discard(key)
        self._ended.pop(key, None)
        return events.Unsubscribe(key=key, **_common(frame))

    def _send(self, frame: Frame) -> events.Send:
        headers = frame.headers
        event = events.Send(
            receipt=headers.get("receipt"),
            headers=headers,
            destination=_required(frame, "destination"),
            body=frame.body,
            transaction=headers.get("transaction"),
        )
        if event.transaction is not None:
            self._transactions.hold(event)
        return event

    def _ack(self, frame: Frame) -> events.Ack:
        subscription, message_id = self._acknowledged(frame)
        event = (events.Nack if frame.command == "NACK" else events.Ack)(
            message_id=message_id,
            subscription=subscription,
            transaction=frame.headers.get("transaction"),
            **_common(frame),
        )
        self._transactions.hold(event)
        return event

    def _acknowledged(self, frame: Frame) -> tuple[str | None, str]:
        """Return the key of the subscription and the message's id, as each version says it."""
        if self.version == "1.2":
            subscription, _, message_id = _required(frame, "id").rpartition("/")
            return subscription, message_id
        if self.version == "1.1":
            return _required(frame, "subscription"), _required(frame, "message-id")
        if frame.command == "NACK":
            raise ProtocolError("STOMP 1.0 has no NACK", code="unknown-command")
        return frame.headers.get("subscription"), _required(frame, "message-id")

    def _begin(self, frame: Frame) -> events.Begin:
        name = _required(frame, "transaction")
        self._transactions.begin(name)
        return events.Begin(transaction=name, **_common(frame))

    def _commit(self, frame: Frame) -> events.Commit:
        name = _required(frame, "transaction")
        return events.Commit(
            transaction=name,
            requests=self._transactions.end(name),
            **_common(frame),
        )

    def _abort(self, frame: Frame) -> events.Abort:
        name = _required(frame, "transaction")
        self._transactions.end(name)
        return events.Abort(transaction=name, **_common(frame))

    def _disconnect(self, frame: Frame) -> events.Disconnect:
        self.state = State.DISCONNECTED
        return events.Disconnect(**_common(frame))


def _common(frame: Frame) -> dict[str, Any]:
    """Return what every event has."""
    return {"receipt": frame.headers.get("receipt"), "headers": frame.headers}


def _required(frame: Frame, name: str) -> str:
    value = frame.headers.get(name)
    if not value:
        raise ProtocolError(f"{frame.command} without the header {name!r}", code="missing-header")
    return value


_EVENTS: Final[dict[str, Callable[[Connection, Frame], events.Event]]] = {
    "CONNECT": Connection._connect,
    "STOMP": Connection._connect,
    "SUBSCRIBE": Connection._subscribe,
    "UNSUBSCRIBE": Connection._unsubscribe,
    "SEND": Connection._send,
    "ACK": Connection._ack,
    "NACK": Connection._ack,
    "BEGIN": Connection._begin,
    "COMMIT": Connection._commit,
    "ABORT": Connection._abort,
    "DISCONNECT": Connection._disconnect,
}
