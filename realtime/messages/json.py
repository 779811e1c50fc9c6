"""JSON: a message as services and pages read it."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, NoReturn

from .message import Message


def as_notification(message: Message) -> dict[str, Any]:
    """
    Return a message as JSON takes it: ``topic`` and ``message`` as in a notification, ``id`` and
    ``headers``. What is no UTF-8 is base64, and ``encoding`` says so.
    """
    content: dict[str, Any] = {"topic": message.destination, "message": None, "id": message.id}
    try:
        text = message.body.decode()
        content["message"] = _read_json(text) if _is_json(message) else text
    except UnicodeDecodeError:
        content |= {"message": b64encode(message.body).decode(), "encoding": "base64"}
    return content | {"headers": dict(message.headers)}


def _is_json(message: Message) -> bool:
    return message.headers.get("content-type", "").partition(";")[0].strip() == "application/json"


def _read_json(text: str) -> Any:
    """Return the value of a text that is JSON, or the text if it is not, or can't be JSON again."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # not so with half of a surrogate pair
    except (ValueError, RecursionError):
        return text
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
