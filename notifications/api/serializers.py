"""Serializers: what services publish, read in one pass, and as forms and the schema show it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NoReturn

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from realtime.destinations.names import DestinationError, check_published
from realtime.messages.headers import is_free
from realtime.messages.idempotency import MAX_KEY_CHARACTERS, key_of_user
from realtime.messages.message import MAX_HEADERS, Message, MessageTooLarge, check_headers

#: The fields of a message.
MESSAGE_FIELDS: Final = frozenset({"topic", "message", "headers", "idempotency_key"})

#: So many unknown fields are named, and so much of the name of each.
NAMED_FIELDS: Final = 10
NAME_CHARACTERS: Final = 80


def read_notification(data: Any, idempotency_key: str | None = None) -> Message:
    """
    Return the message that ``{"topic": ..., "message": ...}`` asks for, whatever else is there.

    One notification and each of a list pass through here, and not through DRF's fields:
    those cost more than publishing does.

    Raises:
        serializers.ValidationError: With what is wrong with each field.
    """
    _check_object(data)
    return _read(data, {}, idempotency_key)


def read_message(data: Any, idempotency_key: str | None = None, user_name: str = "") -> Message:
    """
    Do as :func:`read_notification` for one that may have ``headers`` and an ``idempotency_key``
    of its own, which counts before that of the request, and nothing else.

    Raises:
        serializers.ValidationError: With what is wrong with each field.
        MessageTooLarge: If the headers are.
    """
    _check_object(data)
    errors = unknown_fields(data, MESSAGE_FIELDS)
    errors |= _headers_errors(data.get("headers", {}))
    if "idempotency_key" in data:
        try:
            idempotency_key = _own_key(data["idempotency_key"], user_name)
        except ValueError as error:
            errors["idempotency_key"] = str(error)
    return _read(
        data, errors, idempotency_key, None if "headers" in errors else data.get("headers")
    )


def unknown_fields(data: Mapping[Any, Any], known: Collection[str]) -> dict[str, str]:
    """Return an error for each field that nobody knows: what it was to say would not count."""
    unknown = [str(name)[:NAME_CHARACTERS] for name in data if name not in known]
    # Half of a surrogate pair can't be in an answer.
    names = [name.encode(errors="backslashreplace").decode() for name in unknown[:NAMED_FIELDS]]
    return dict.fromkeys(names, "There is no such field.")


def _check_object(data: Any) -> None:
    if not isinstance(data, Mapping):
        _fail({"non_field_errors": f"a notification is an object, not {type(data).__name__}"})


def _read(
    data: Mapping[str, Any],
    errors: dict[str, str],
    idempotency_key: str | None,
    headers: Mapping[str, str] | None = None,
) -> Message:
    errors = errors | _topic_errors(data)
    try:
        message = Message.of(
            data.get("topic", ""), data["message"], headers, idempotency_key=idempotency_key
        )
    except KeyError:
        errors["message"] = "This field is required."
    except (TypeError, ValueError, RecursionError) as error:
        errors["message"] = f"not a text that can be sent: {error}"
    if errors:
        _fail(errors)
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


def _headers_errors(headers: Any) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        return {"headers": f"headers are an object of strings, not {type(headers).__name__}"}
    if len(headers) > MAX_HEADERS:
        return {"headers": f"a message has {MAX_HEADERS} headers at most, not {len(headers)}"}
    try:
        check_headers(headers)
    except MessageTooLarge:
        raise
    except ValueError as error:
        return {"headers": str(error)}
    if reserved := [name for name in headers if not is_free(name)]:
        return {"headers": f"{', '.join(map(repr, reserved))}: no message may have its own"}
    return {}


def _own_key(key: Any, user_name: str) -> str:
    """
    Return what makes a repeat of one message one.

    Raises:
        ValueError: If it is no text that can be a key.
    """
    if not isinstance(key, str):
        raise ValueError("Not a valid string.")
    key.encode()
    return key_of_user(user_name, key)


def _fail(errors: dict[str, str]) -> NoReturn:
    raise serializers.ValidationError({field: [error] for field, error in errors.items()})


@extend_schema_field({"description": "A string is sent as it is, any other JSON value as JSON."})
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

    def read(self, data: Any, idempotency_key: str | None = None) -> Message:
        """Return the message that data asks for: :func:`read_notification`."""
        return read_notification(data, idempotency_key)

    def run_validation(self, data: Any = serializers.empty) -> Message:
        return self.read(data)


class MessageSerializer(NotificationSerializer):
    """What ``POST /api/v1/publish`` takes; a field that is not here is an error."""

    headers = serializers.DictField(
        child=serializers.CharField(allow_blank=True),
        required=False,
        help_text="Headers of the MESSAGE that subscribers get; not those that STOMP itself has.",
    )
    idempotency_key = serializers.CharField(
        required=False,
        min_length=1,
        max_length=MAX_KEY_CHARACTERS,
        help_text="With the same key of the same user a message is published once in five minutes.",
    )

    def get_initial(self) -> Any:
        """Return what a form begins with: not the fields that may be left out."""
        return {name: self.fields[name].get_initial() for name in ("topic", "message")}

    def read(self, data: Any, idempotency_key: str | None = None) -> Message:
        """Return the message that data asks for: :func:`read_message`."""
        user_name = self.context["request"].user.get_username()
        return read_message(data, idempotency_key, user_name)


class TicketSerializer(serializers.Serializer[Any]):
    """What ``POST /api/ticket`` takes."""

    destinations = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        allow_empty=False,
        max_length=100,
        help_text="All that it is good for, patterns too; left out, whatever the user may do.",
    )

    def to_internal_value(self, data: Any) -> Any:
        """Refuse what nobody knows: a misspelled bound would be none."""
        if isinstance(data, Mapping):
            known = {*self.fields, "csrfmiddlewaretoken"}  # which the browsable API's form sends
            if unknown := unknown_fields(data, known):
                _fail(unknown)
        return super().to_internal_value(data)


class Parameters(serializers.Serializer[Any]):
    """Parameters of a request; one that nobody knows is an error, not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) - {"format", "ticket"}
        if unknown:
            raise serializers.ValidationError(
                {name: ["There is no such parameter."] for name in sorted(unknown)}
            )
        return super().to_internal_value(data)
