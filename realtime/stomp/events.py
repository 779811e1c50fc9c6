"""
Events: what a client asks for, one for each client command, named after it.

Events are values: nobody changes one. They are not frozen, as frames and messages are not,
because that makes each of them a microsecond dearer, and a message needs five.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Event:
    """A decoded request; ``receipt`` is the id to answer once its work is done."""

    receipt: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(slots=True, kw_only=True)
class Connect(Event):
    """
    CONNECT or STOMP: answer with :meth:`Connection.connected`, or refuse with an error.

    ``versions`` are those that both sides speak, the highest last.
    """

    versions: tuple[str, ...]
    host: str | None
    login: str | None
    passcode: str | None = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Subscribe(Event):
    """
    SUBSCRIBE: messages of ``destination`` are to be delivered as MESSAGE frames.

    ``id`` is None where STOMP 1.0 allows it; ``key`` names the subscription in any case.
    """

    id: str | None
    destination: str
    ack: str
    key: str


@dataclass(slots=True, kw_only=True)
class Unsubscribe(Event):
    """UNSUBSCRIBE: the subscription with this ``key`` ends."""

    key: str


@dataclass(slots=True, kw_only=True)
class Send(Event):
    """SEND: a message for ``destination``; the body is bytes, whatever they mean."""

    destination: str
    body: bytes
    transaction: str | None


def ack_id(subscription: str, message_id: str) -> str:
    """Return the ``ack`` header of a MESSAGE, which ACK and NACK of STOMP 1.2 name as ``id``."""
    return f"{subscription}/{message_id}"


@dataclass(slots=True, kw_only=True)
class Ack(Event):
    """
    ACK: the message was consumed.

    ``subscription`` is the key of the subscription that delivered it; None in STOMP 1.0,
    which names the message only.
    """

    message_id: str
    subscription: str | None
    transaction: str | None


@dataclass(slots=True, kw_only=True)
class Nack(Ack):
    """NACK: the message was not consumed."""


@dataclass(slots=True, kw_only=True)
class Begin(Event):
    """BEGIN: a transaction starts."""

    transaction: str


@dataclass(slots=True, kw_only=True)
class Commit(Event):
    """COMMIT: act on ``requests``, which came before, in their order; they have no receipts."""

    transaction: str
    requests: tuple[Send | Ack, ...] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Abort(Event):
    """ABORT: what the transaction held is dropped."""

    transaction: str


@dataclass(slots=True, kw_only=True)
class Disconnect(Event):
    """DISCONNECT: answer the receipt last, then close."""
