"""JSON: a message as services and pages write and read it: as a notification, or as an envelope."""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from typing import Any

from realtime.destinations.names import check_published

from .body import parse_json
from .idempotency import IDEMPOTENCY_KEY, key_in, key_of_route
from .message import Message


def as_notification(message: Message) -> dict[str, Any]:
    """
    Return a message as JSON takes it: ``topic`` and ``message`` as in a notification, ``id`` and
    ``headers``. What is not UTF-8 is base64, and ``encoding`` says so.
    """
    content = {"topic": message.destination, **_body(message, "message"), "id": message.id}
    if _is_json(message) and "encoding" not in content:
        content["message"] = _read_json(content["message"])
    return content | {"headers": dict(message.headers)}


def _body(message: Message, name: str) -> dict[str, Any]:
    """Return the body under a name: as text, or as base64 with ``encoding``."""
    try:
        return {name: message.body.decode()}
    except UnicodeDecodeError:
        return {name: b64encode(message.body).decode(), "encoding": "base64"}


def _is_json(message: Message) -> bool:
    return message.headers.get("content-type", "").partition(";")[0].strip() == "application/json"


def _read_json(text: str) -> Any:
    """Return the value of a text that is JSON, or the text if it is not, or can't be JSON again."""
    try:
        value = parse_json(text.encode())
        json.dumps(value, ensure_ascii=False).encode()  # not so with half of a surrogate pair
    except (ValueError, RecursionError):
        return text
    return value


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
    scoped = None if key is None else key_of_route(owner, key)
    forwarded = {name: headers[name] for name in headers if name.lower() != IDEMPOTENCY_KEY}
    return Message.of(destination, body, forwarded, idempotency_key=scoped)


def _check_envelope(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError("no envelope: that is a JSON object with destination and body")
    for name in ("destination", "body"):
        if name not in content:
            raise ValueError(f"an envelope without {name!r}")
    if not isinstance(content["destination"], str):
        raise ValueError("an envelope whose destination is not a string")
    if not isinstance(content.get("headers", {}), dict):
        raise ValueError("an envelope whose headers are not a JSON object")
    return content


def as_envelope(message: Message, user_name: str, session_id: str) -> str:
    """
    Return a message as JSON, with where it came from and where to answer::

        {"destination", "body", "headers", "user", "session", "reply-to", "timestamp"}

    ``timestamp`` is in seconds; ``reply-to`` is null, or the destination to answer to. A body that
    is not UTF-8 comes as base64, and ``encoding`` says so.
    """
    content: dict[str, Any] = {
        "destination": message.destination,
        "headers": dict(message.headers),
        "user": user_name or None,
        "session": session_id,
        "reply-to": message.headers.get("reply-to"),
        "timestamp": time.time(),
    }
    return json.dumps(content | _body(message, "body"), ensure_ascii=False)


def check_json(payload: bytes) -> bytes:
    """
    Return the payload if it is JSON.

    Raises:
        ValueError: If it is not.
    """
    parse_json(payload)
    return payload


def _decode_base64(text: Any) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise ValueError(f"a body that is not base64: {error}") from None
