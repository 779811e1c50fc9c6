"""
Formats: what a message looks like on Redis, in and out.

===============  ==================================================================
``json-string``  a JSON string; what is none goes through as it is
``raw``          bytes as they are
``json``         any valid JSON, with the content-type ``application/json``
``envelope``     JSON with the destination: see :mod:`realtime.messages.json`
``fields``       an entry of a stream with the fields ``message`` and ``topic``
===============  ==================================================================

What is published on a Redis channel is read as an entry of a stream that has the field ``message``
alone. In an entry, the field ``idempotency-key`` makes the message one that is published once, and
``traceparent`` and ``tracestate``, if they are well formed, say in which trace it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from realtime.messages.idempotency import IDEMPOTENCY_KEY, key_of_route
from realtime.messages.json import as_envelope, check_json, read_envelope
from realtime.messages.message import Message
from realtime.sessions.session import Session
from realtime.stomp import ProtocolError

#: Names and values of an entry.
Fields = Mapping[bytes, bytes]

MESSAGE: Final = b"message"
TOPIC: Final = b"topic"
_KEY: Final = IDEMPOTENCY_KEY.encode()
#: Fields of an entry that become headers, and what W3C's Trace Context lets them be.
_PARENT: Final = b"traceparent"
_PARENT_FORM: Final = re.compile(rb"[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}")
_STATE: Final = b"tracestate"
_STATE_FORM: Final = re.compile(rb"[ -~]{1,512}")

_JSON_SPACE: Final = " \t\n\r"
_raw_decode: Final = json.JSONDecoder().raw_decode  # json.loads takes twice the time

#: Formats that say themselves where a message goes.
ADDRESSED: Final = frozenset({"envelope", "fields"})


def read(format: str, fields: Fields, to: str, owner: str) -> Message:
    """
    Return the message that an entry holds.

    Args:
        to: Where it goes, unless the format says so itself.
        owner: For whom idempotency keys count.

    Raises:
        ValueError: If it holds none; says why.
    """
    message = READERS[format](fields, to, owner)
    if _PARENT in fields:
        message = replace(message, headers={**message.headers, **_trace(fields)})
    if _KEY in fields:
        return replace(message, idempotency_key=key_of_route(owner, _text(fields, _KEY)))
    return message


def unwrap(payload: bytes) -> str | bytes:
    """Return the string that a payload encodes as JSON, or the payload as it is."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload
    start = text.lstrip(_JSON_SPACE)
    if not start.startswith('"'):
        return text
    try:
        content, end = _raw_decode(start)
        content.encode()
    except ValueError:  # also of half of a surrogate pair
        return text
    return text if start[end:].strip(_JSON_SPACE) else str(content)


def _payload(fields: Fields) -> bytes:
    if MESSAGE not in fields:
        raise ValueError("an entry without the field 'message'")
    return fields[MESSAGE]


def _text(fields: Fields, name: bytes) -> str:
    if name not in fields:
        raise ValueError(f"an entry without the field {name.decode()!r}")
    try:
        return fields[name].decode()
    except UnicodeDecodeError:
        raise ValueError(f"the field {name.decode()!r} is not UTF-8") from None


def _trace(fields: Fields) -> dict[str, str]:
    """Return the headers that say in which trace an entry is; what is malformed is ignored."""
    if not _PARENT_FORM.fullmatch(fields[_PARENT]):
        return {}
    headers = {"traceparent": fields[_PARENT].decode()}
    if _STATE_FORM.fullmatch(fields.get(_STATE, b"")):
        headers["tracestate"] = fields[_STATE].decode()
    return headers


def _text_or_bytes(payload: bytes) -> str | bytes:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload


_JSON: Final = {"content-type": "application/json"}

#: By format: takes the entry, the destination and the owner of keys.
READERS: Final[dict[str, Callable[[Fields, str, str], Message]]] = {
    "json-string": lambda fields, to, owner: Message.of(to, unwrap(_payload(fields))),
    "raw": lambda fields, to, owner: Message.of(to, _payload(fields)),
    "json": lambda fields, to, owner: Message.of(to, check_json(_payload(fields)), _JSON),
    "envelope": lambda fields, to, owner: read_envelope(_payload(fields), owner),
    "fields": lambda fields, to, owner: Message.of(
        _text(fields, TOPIC), _text_or_bytes(_payload(fields))
    ),
}


# What goes out


def as_json_string(body: bytes) -> str:
    """Return the body as a JSON string; bytes that are not UTF-8 become U+FFFD."""
    return json.dumps(body.decode(errors="replace"), ensure_ascii=False)


def _as_json(message: Message, session: Session) -> bytes:
    try:
        return check_json(message.body)
    except ValueError as error:
        raise ProtocolError(f"{message.destination} takes JSON: {error}", code="bad-body") from None


#: By format: what is published on a channel, or is the field ``message`` of an entry.
WRITERS: Final[dict[str, Callable[[Message, Session], str | bytes]]] = {
    "json-string": lambda message, session: as_json_string(message.body),
    "raw": lambda message, session: message.body,
    "json": _as_json,
    "envelope": lambda message, session: as_envelope(message, session.user_name, session.id),
}


def as_fields(format: str, message: Message, session: Session) -> list[str | bytes]:
    """Return an entry for a stream: names and values by turns."""
    if format != "fields":
        return [MESSAGE, WRITERS[format](message, session)]
    topic = message.headers.get("topic")
    entry: list[str | bytes] = [MESSAGE, message.body]
    return entry if topic is None else [*entry, TOPIC, topic]
