from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NoReturn

from rest_framework import serializers

from realtime.destinations import DestinationError, check_published
from realtime.messages import Message


def read_notification(data: Any, once: str | None = None) -> Message:
    """
    Return the message that ``{"topic": ..., "message": ...}`` asks for.

    One notification and each of a list pass through here, and not through DRF's fields:
    those cost more than publishing does.

    Raises:
        serializers.ValidationError: With what is wrong with each field.
    """
    if not isinstance(data, Mapping):
        _fail(non_field_errors=f"a notification is an object, not {type(data).__name__}")
    errors = _topic_errors(data)
    try:
        message = Message.of(data.get("topic", ""), data["message"], once=once)
    except KeyError:
        errors["message"] = "This field is required."
    except (TypeError, ValueError, RecursionError) as error:
        errors["message"] = f"not a text that can be sent: {error}"
    if errors:
        _fail(**errors)
    return message


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


def _topic_errors(data: Mapping[str, Any]) -> dict[str, str]:
    if "topic" not in data:
        return {"topic": "This field is required."}
    if not isinstance(data["topic"], str):
        return {"topic": "Not a valid string."}
    try:
        check_published(data["topic"])
    except DestinationError as error:
        return {"topic": error.message}
    return {}


def _fail(**errors: str) -> NoReturn:
    raise serializers.ValidationError({field: [error] for field, error in errors.items()})


class MessageField(serializers.Field[Any, Any, Any, Any]):
    """Any JSON value; in an HTML form a text."""

    initial = ""

    def to_representation(self, value: Any) -> Any:
        return value


class NotificationSerializer(serializers.Serializer[Any]):
    """What ``POST /api/notification`` takes, as forms show it; valid data is a Message."""

    topic = serializers.CharField(initial="/topic/toast", help_text="A topic, as in /topic/toast.")
    message = MessageField(
        allow_null=True,
        help_text="A string is sent as it is, any other JSON value as JSON.",
        style={"base_template": "textarea.html", "rows": 4},
    )

    def run_validation(self, data: Any = serializers.empty) -> Message:
        return read_notification(data)
