"""Message: what is published, checked, and as the envelope in which it travels."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from django.core.serializers.json import DjangoJSONEncoder

from realtime.conf import conf
from realtime.destinations.names import check_published
from realtime.stomp import Limits

from .body import parse_json, read_text

#: The type and version of the envelope that travels between nodes.
ENVELOPE_TYPE: Final = "stomp.message"
ENVELOPE_VERSION: Final = 1

#: Headers that are said anew to each client: a message has none of them of its own.
PROTOCOL_HEADERS: Final = frozenset(
    {"destination", "message-id", "subscription", "ack"}
    | {"content-length", "receipt", "transaction"}
    | {"position", "recovered", "dropped", "refused"}
)

#: How many headers a service may set, what name and value of one may have, and all of a message's;
#: the latter two in bytes. As in a SEND.
MAX_HEADERS: Final = Limits().max_headers
MAX_HEADER_BYTES: Final = Limits().max_header_bytes
MAX_HEADERS_BYTES: Final = Limits().max_head_bytes

#: Headers of bodies; messages share them.
_TEXT: Final[Mapping[str, str]] = {"content-type": "text/plain;charset=UTF-8"}
_TEXT_BYTES: Final = sum(map(len, [*_TEXT, *_TEXT.values()]))
_JSON: Final[Mapping[str, str]] = {"content-type": "application/json"}
_BYTES: Final[Mapping[str, str]] = {"content-type": "application/octet-stream"}

#: Makes JSON of what Django's models hold: dates, decimals, UUIDs.
_encode_more: Final = DjangoJSONEncoder().default

_numbers = itertools.count(1)
_id_prefix = secrets.token_hex(6)


class MessageTooLarge(ValueError):
    """The body exceeds ``STOMP_MAX_BODY_BYTES``, or the headers what they may have."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def new_id() -> str:
    """Return an id for a message, unlike any other on any node."""
    return f"{_id_prefix}-{next(_numbers)}"


@dataclass(slots=True)
class Message:
    """What is published, a value: a body of bytes and headers of text for one destination."""

    destination: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    #: If it was used for the destination lately, this message is the same, and not published.
    idempotency_key: str | None = None

    @classmethod
    def of(
        cls,
        destination: str,
        content: Any,
        headers: Mapping[str, str] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Message:
        """
        Return a message whose body is ``content``: bytes as they are, a string as text,
        anything else as JSON, dates, decimals and UUIDs included; each with its
        ``content-type`` unless ``headers`` has one.

        Raises:
            TypeError, ValueError: If the content can't be encoded.
        """
        if isinstance(content, str):
            body, own = content.encode(), _TEXT
        elif isinstance(content, bytes):
            body, own = content, _BYTES
        else:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False, default=_encode_more)
            body, own = text.encode(), _JSON
        return cls(
            destination,
            body,
            {**own, **headers} if headers else own,
            idempotency_key=idempotency_key,
        )

    @property
    def text(self) -> str:
        """
        The body as text.

        Raises:
            BadBody: If it is not UTF-8. A handler that lets it pass answers with what is wrong.
        """
        return read_text(self.body)

    def json(self) -> Any:
        """
        Return what the body says as JSON.

        Raises:
            BadBody: If it is none. A handler that lets it pass answers with what is wrong.
        """
        return parse_json(self.body)


def check_content(message: Message) -> int:
    """
    Check body and headers; return how many bytes they have.

    Raises:
        MessageTooLarge: If they are over their limits.
        ValueError: If a header is not a text, or has no name.
    """
    size, limit = len(message.body), conf.max_body_bytes
    if size > limit:
        raise MessageTooLarge(
            f"a body of {size} bytes is over the limit of {limit}", code="body-too-large"
        )
    headers = message.headers
    if not headers:
        return size
    if headers is _TEXT:  # most are
        return size + _TEXT_BYTES
    return size + (_size_if_plain(headers) or check_headers(headers))


def _size_if_plain(headers: Mapping[str, str]) -> int:
    """Return the size of headers with which nothing can be wrong, at the first glance, or 0."""
    try:
        text = "".join([*headers, *headers.values()])
    except TypeError:
        return 0
    plain = len(text) <= MAX_HEADER_BYTES and text.isascii() and "" not in headers
    return len(text) if plain else 0


def check_headers(headers: Mapping[str, str]) -> int:
    """
    Check names and values; return how many bytes they have.

    Raises:
        MessageTooLarge: If they are over their limits.
        ValueError: If one is not a text, or has no name.
    """
    size = sum([_header_size(name, value) for name, value in headers.items()])
    if size > MAX_HEADERS_BYTES:
        raise MessageTooLarge(
            f"headers of {size} bytes are over the limit of {MAX_HEADERS_BYTES}",
            code="header-too-long",
        )
    return size


def _header_size(name: Any, value: Any) -> int:
    if not (isinstance(name, str) and isinstance(value, str) and name):
        raise ValueError(f"the header {name!r:.80} is not a text with a name: {value!r:.80}")
    size = len(name.encode()) + len(value.encode())
    if size > MAX_HEADER_BYTES:
        raise MessageTooLarge(
            f"a header of {size} bytes is over the limit of {MAX_HEADER_BYTES}",
            code="header-too-long",
        )
    return size


class Checked(NamedTuple):
    """
    A message that can be published, the envelope in which it travels between nodes, and how many
    bytes its destination, headers and body have.
    """

    message: Message
    envelope: dict[str, Any]
    size: int


def check(message: Message) -> Checked:
    """
    Check a message.

    Raises:
        DestinationError: If nobody can hear the destination.
        MessageTooLarge: If body or headers are over their limits.
        ValueError: If a header is not a text, or has no name.
    """
    destination = check_published(message.destination)
    if destination != message.destination:
        message = replace(message, destination=destination)
    size = len(destination) + check_content(message)
    headers = message.headers
    if not PROTOCOL_HEADERS.isdisjoint(headers):
        headers = {name: headers[name] for name in headers if name not in PROTOCOL_HEADERS}
    envelope = {
        "type": ENVELOPE_TYPE,
        "v": ENVELOPE_VERSION,
        "destination": destination,
        "headers": {**headers, "message-id": message.id},
        "body": message.body,
    }
    return Checked(message, envelope, size)
