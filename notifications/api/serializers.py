from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from rest_framework import serializers

from realtime.destinations.names import DestinationError, check_published
from realtime.messages.message import Message


def read_notification(data: Any, idempotency_key: str | None = None) -> Message:
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
        message = Message.of(
            data.get("topic", ""), data["message"], idempotency_key=idempotency_key
        )
    except KeyError:
        errors["message"] = "This field is required."
    except (TypeError, ValueError, RecursionError) as error:
        errors["message"] = f"not a text that can be sent: {error}"
    if errors:
        _fail(**errors)
    return message


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
