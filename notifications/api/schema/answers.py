"""Answers: their shapes and examples, and what is said when something is wrong."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema_field,
)
from rest_framework import serializers


class ErrorSerializer(serializers.Serializer[Any]):
    """What is wrong with a request."""

    detail = serializers.CharField()


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {
            "oneOf": [
                {"type": "array", "items": {"type": "string"}},
                {
                    "type": "object",
                    "description": "Of a list, by place.",
                    "additionalProperties": {},
                },
            ]
        },
    }
)
class FieldErrors(serializers.Field[Any, Any, Any, Any]):
    """What is wrong with each field; with all of them together as ``non_field_errors``."""


class DeliverySerializer(serializers.Serializer[Any]):
    """Sessions over all nodes."""

    matched = serializers.IntegerField(help_text="They hear the topic, also by a pattern.")
    taken = serializers.IntegerField(help_text="The message is on their sockets.")
    slow = serializers.IntegerField(help_text="They did not take it in time.")
    missing = serializers.ListField(
        child=serializers.CharField(), help_text="Nodes that did not answer."
    )


class PublishedSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="What subscribers see in `message-id`.")
    topic = serializers.CharField()
    delivery = DeliverySerializer(required=False, help_text="With `wait=deliver`.")


class NotPublishedSerializer(serializers.Serializer[Any]):
    errors = FieldErrors()  # type: ignore[assignment]  # a field has the name of a property


class KeptMessageSerializer(serializers.Serializer[Any]):
    topic = serializers.CharField()
    message = serializers.JSONField(
        help_text="A JSON value if the message is one (`application/json`), else a text."
    )
    encoding = serializers.ChoiceField(
        ["base64"], required=False, help_text="There if the message is not UTF-8."
    )
    id = serializers.CharField(help_text="Its position.")
    headers = serializers.DictField(child=serializers.CharField())


class HistorySerializer(serializers.Serializer[Any]):
    topic = serializers.CharField()
    position = serializers.CharField(help_text="Where to go on: `after` of the next request.")
    recovered = serializers.BooleanField(
        help_text="Whether all that came after `after` is still there."
    )
    reason = serializers.ChoiceField(
        ["epoch", "expired"], required=False, help_text="Why not all of it is there."
    )
    messages = KeptMessageSerializer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The following page, if there is one.")


class IssuedTicketSerializer(serializers.Serializer[Any]):
    ticket = serializers.CharField()
    seconds = serializers.IntegerField(help_text="How long it is good.")


def one_of(name: str, *parts: Any) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(
        component_name=name, serializers=list(parts), resource_type_field_name=None, many=False
    )


FIELD_ERRORS: Final = {
    "oneOf": [
        {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]},
        {
            "type": "object",
            "additionalProperties": {
                "oneOf": [
                    {"type": "array", "items": {"type": "string"}},
                    {"type": "object", "additionalProperties": {}},
                ]
            },
        },
    ]
}


def _error(description: str, detail: str) -> OpenApiResponse:
    example = OpenApiExample("error", {"detail": detail})
    return OpenApiResponse(ErrorSerializer, description, [example])


def wrong(**fields: Any) -> OpenApiResponse:
    """Return what is said of a request in which something is wrong."""
    description = "Something is wrong with the request: `detail`, or what it is with each field."
    return OpenApiResponse(FIELD_ERRORS, description, [OpenApiExample("a field", fields)])


ERRORS: Final = {
    401: _error("No login, or a wrong one.", "Authentication credentials were not provided."),
    403: _error(
        "The account may not: it has no permission, or no rule allows it; or a cookie came without"
        " the token against forgery.",
        "you may not publish to '/topic/board'",
    ),
    404: _error("There is no such format.", "Not found."),
    406: _error("Not in any format of `Accept`.", "Could not satisfy the request Accept header."),
    413: _error(
        "A message, or the request, is over its limit.",
        "a body of 70000 bytes is over the limit of 65536",
    ),
    415: _error(
        "A body of another content type, of none, or with a content coding.",
        'Unsupported media type "text/plain" in request.',
    ),
    429: _error("Too many requests, or new topics.", "Request was throttled."),
    503: _error("Redis or the database is away, or busy.", "Redis is away: try again."),
}
READING: Final = {status: ERRORS[status] for status in (401, 403, 404, 406, 429, 503)}
WRITING: Final = {**READING, 415: ERRORS[415]}


def _header(name: str, description: str, statuses: list[int], kind: Any = str) -> OpenApiParameter:
    return OpenApiParameter(
        name, kind, OpenApiParameter.HEADER, description=description, response=statuses
    )


ANSWERED: Final = [
    _header("WWW-Authenticate", "`Bearer`", [401]),
    _header("Retry-After", "Seconds until it is worth another try.", [429, 503], int),
]
