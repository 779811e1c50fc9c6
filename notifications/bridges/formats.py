"""
What a message looks like on Redis, in and out.

===============  ==================================================================
``json-string``  a JSON string; what is none goes through as it is
``raw``          bytes as they are
``json``         any valid JSON, with the content-type ``application/json``
``envelope``     JSON with the destination: :func:`read_envelope`, :func:`as_envelope`
``fields``       an entry of a stream with the fields ``message`` and ``topic``
===============  ==================================================================

What is published on a Redis channel is read as an entry of a stream that has the field ``message``
alone. In an entry, the field ``idempotency-key`` makes the message one that is published once.
"""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

from realtime.destinations.names import check_published
from realtime.messages.idempotency import IDEMPOTENCY_KEY, key_in, key_of_route
from realtime.messages.message import Message
from realtime.sessions.session import Session
from realtime.stomp import ProtocolError

#: Names and values of an entry.
Fields = Mapping[bytes, bytes]

MESSAGE: Final = b"message"
TOPIC: Final = b"topic"
_KEY: Final = IDEMPOTENCY_KEY.encode()

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
    if _KEY in fields:
        return replace(message, idempotency_key=key_of_route(owner, _text(fields, _KEY)))
    return message


def read_envelope(payload: bytes, owner: str = "") -> Message:
    """
    Return the message that a service put into JSON: ``destination``, ``body`` (a string, or
    base64 with ``"encoding": "base64"``, or any JSON value) and, if it likes, ``headers``.

    The header ``idempotency-key`` makes it one that is published once, whatever comes from this
    owner of keys.

    Raises:
        ValueError: If the payload is no such thing.
    """
    content = _check_envelope(parse_json(payload))
    destination, body = check_published(content["destination"]), content["body"]
    headers = {name: str(value) for name, value in content.get("headers", {}).items()}
    if content.get("encoding") == "base64":
        body = _decode_base64(body)
    key = key_in(headers)
    once = None if key is None else key_of_route(owner, key)
    forwarded = {name: headers[name] for name in headers if name.lower() != IDEMPOTENCY_KEY}
    return Message.of(destination, body, forwarded, idempotency_key=once)


def _check_envelope(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError("no envelope: that is a JSON object with destination and body")
    for name in ("destination", "body"):
        if name not in content:
            raise ValueError(f"an envelope without {name!r}")
    if not isinstance(content["destination"], str):
        raise ValueError("an envelope whose destination is no string")
    if not isinstance(content.get("headers", {}), dict):
        raise ValueError("an envelope whose headers are no JSON object")
    return content


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


def parse_json(payload: bytes) -> Any:
    """
    Return what a payload says as JSON.

    Raises:
        ValueError: If it is none.
    """
    try:
        return json.loads(payload.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None


def check_json(payload: bytes) -> bytes:
    """
    Return the payload if it is JSON.

    Raises:
        ValueError: If it is not.
    """
    parse_json(payload)
    return payload


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _decode_base64(text: Any) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise ValueError(f"a body that is no base64: {error}") from None


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


def as_envelope(message: Message, session: Session) -> str:
    """
    Return a message as JSON, with where it came from and where to answer::

        {"destination", "body", "headers", "user", "session", "reply-to", "timestamp"}

    ``timestamp`` is in seconds; ``reply-to`` is null, or the destination to answer to. A body that
    is not UTF-8 comes as base64, and ``encoding`` says so.
    """
    content: dict[str, Any] = {
        "destination": message.destination,
        "headers": dict(message.headers),
        "user": session.user_name or None,
        "session": session.id,
        "reply-to": message.headers.get("reply-to"),
        "timestamp": time.time(),
    }
    try:
        content["body"] = message.body.decode()
    except UnicodeDecodeError:
        content |= {"body": b64encode(message.body).decode(), "encoding": "base64"}
    return json.dumps(content, ensure_ascii=False)


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
    "envelope": as_envelope,
}


def as_fields(format: str, message: Message, session: Session) -> list[str | bytes]:
    """Return an entry for a stream: names and values by turns."""
    if format != "fields":
        return [MESSAGE, WRITERS[format](message, session)]
    topic = message.headers.get("topic")
    entry: list[str | bytes] = [MESSAGE, message.body]
    return entry if topic is None else [*entry, TOPIC, topic]
