"""
Schema: what the OpenAPI document says of each operation.

What drf-spectacular reads from the code by itself is not said again here: addresses, methods and
fields of serializers. Each operation has a decorator, which its view wears.
"""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers

from realtime.conf import conf
from realtime.history.log import MAX_REPLAY
from realtime.messages.idempotency import HTTP_IDEMPOTENCY_KEY, MAX_KEY_CHARACTERS

from .serializers import MessageSerializer, NotificationSerializer, TicketSerializer

#: Where operations stand in the document.
TAGS: Final = [
    {"name": "publish", "description": "Messages for browsers, by way of topics."},
    {"name": "look", "description": "What was published lately, and what is published now."},
    {"name": "live", "description": "Sessions, topics, users and nodes, as they are now."},
    {"name": "access", "description": "Ways in for pages."},
    {"name": "schema", "description": "This document."},
]

_EVENTS: Final = "/api/events"


class CredentialsScheme(OpenApiAuthenticationExtension):
    """What :class:`.CredentialsAuthentication` takes."""

    target_class = "notifications.api.access.CredentialsAuthentication"
    name = ["bearer", "ticket"]

    def get_security_requirement(self, auto_schema: Any) -> Any:
        return [{"bearer": []}, {"ticket": []}]  # the one or the other

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        in_header = (
            "A JSON Web Token, or a token of Django REST framework; `Token KEY` means the same."
        )
        in_query = "What `POST /api/ticket` answered: good once."
        return [
            {"type": "http", "scheme": "bearer", "description": in_header},
            {"type": "apiKey", "in": "query", "name": "ticket", "description": in_query},
        ]


# Answers


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


def _one_of(name: str, *parts: Any) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(
        component_name=name, serializers=list(parts), resource_type_field_name=None, many=False
    )


_FIELD_ERRORS: Final = {
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
_RESULTS: Final = PolymorphicProxySerializer(
    component_name="Result",
    serializers=[PublishedSerializer, NotPublishedSerializer],
    resource_type_field_name=None,
    many=True,
)
_ONE_OR_ALL: Final = _one_of("Taken", PublishedSerializer, PublishedSerializer(many=True))

_PUBLISHED: Final = {"id": "5a0c36ef1-7", "topic": "/topic/toast"}
_REQUIRED: Final = ["This field is required."]
_PAGE: Final = {
    "topic": "/topic/toast",
    "position": "5a0c36ef1-7",
    "recovered": True,
    "messages": [
        {
            "topic": "/topic/toast",
            "message": "saved",
            "id": "5a0c36ef1-7",
            "headers": {"content-type": "text/plain;charset=UTF-8"},
        }
    ],
    "next": None,
}


def _error(description: str, detail: str) -> OpenApiResponse:
    example = OpenApiExample("error", {"detail": detail})
    return OpenApiResponse(ErrorSerializer, description, [example])


def wrong(**fields: Any) -> OpenApiResponse:
    """Return what is said of a request in which something is wrong."""
    description = "Something is wrong with the request: `detail`, or what it is with each field."
    return OpenApiResponse(_FIELD_ERRORS, description, [OpenApiExample("a field", fields)])


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
    415: _error("Another content type.", 'Unsupported media type "text/plain" in request.'),
    429: _error("Too many requests, or new topics.", "Request was throttled."),
    503: _error("Redis or the database is away, or busy.", "Redis is away: try again."),
}
READING: Final = {status: ERRORS[status] for status in (401, 403, 404, 406, 429, 503)}
_WRITING: Final = {**READING, 415: ERRORS[415]}


def _header(name: str, description: str, statuses: list[int], kind: Any = str) -> OpenApiParameter:
    return OpenApiParameter(
        name, kind, OpenApiParameter.HEADER, description=description, response=statuses
    )


ANSWERED: Final = [
    _header("WWW-Authenticate", "`Bearer`", [401]),
    _header("Retry-After", "Seconds until it is worth another try.", [429, 503], int),
]
_KEY: Final = OpenApiParameter(
    HTTP_IDEMPOTENCY_KEY,
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS},
    OpenApiParameter.HEADER,
    description="With the same key of the same user a repeat publishes nothing for five minutes.",
)


# Publish

_WAIT: Final = [
    OpenApiParameter(
        "wait",
        str,
        enum=["deliver"],
        description="Answer once the message is delivered, with `delivery`; not for a list.",
    ),
    OpenApiParameter(
        "seconds",
        {"type": "number", "minimum": 0, "maximum": 10, "default": 1},
        description="How long clients are waited for.",
    ),
]
_MESSAGE: Final = {"topic": "/topic/toast", "message": "saved"}
_WITH_HEADERS: Final = {
    "topic": "/topic/prices",
    "message": {"EUR": 1.08},
    "headers": {"colour": "red"},
    "idempotency_key": "8e03978e-40d5-43dd-bc93-6894a57f9324",
}
_NOT_TAKEN: Final = {"errors": {"topic": _REQUIRED}}
_TAKEN: Final = {
    202: OpenApiResponse(
        _ONE_OR_ALL,
        "Redis has it, or all of a list.",
        [
            OpenApiExample("a message", _PUBLISHED),
            OpenApiExample("a list", [_PUBLISHED, _PUBLISHED]),
        ],
    ),
    207: OpenApiResponse(
        _RESULTS, "Some of a list.", [OpenApiExample("one that was not taken", _NOT_TAKEN)]
    ),
    **_WRITING,
    400: OpenApiResponse(
        {"oneOf": [_FIELD_ERRORS, {"type": "array", "items": {"type": "object"}}]},
        "Something is wrong with the request, or with all of a list.",
        [
            OpenApiExample("a field", {"topic": _REQUIRED}),
            OpenApiExample("a list", [_NOT_TAKEN]),
        ],
    ),
    413: ERRORS[413],
    429: OpenApiResponse(
        {
            "oneOf": [
                {"$ref": "#/components/schemas/Error"},
                {"type": "array", "items": {"$ref": "#/components/schemas/NotPublished"}},
            ]
        },
        "Too many requests, or new topics; a list if that is so of all in it.",
        [OpenApiExample("requests", {"detail": "Request was throttled."})],
    ),
}
_LIST_EXAMPLE: Final = OpenApiExample("a list", [_MESSAGE, _MESSAGE], request_only=True)

publish = extend_schema(
    operation_id="publish",
    summary="Publish one message, or a list",
    tags=["publish"],
    parameters=[_KEY, *_WAIT, *ANSWERED],
    request=_one_of("Publish", MessageSerializer, MessageSerializer(many=True)),
    responses=_TAKEN,
    examples=[
        OpenApiExample("a text", _MESSAGE, request_only=True),
        OpenApiExample("a JSON value, with headers", _WITH_HEADERS, request_only=True),
        _LIST_EXAMPLE,
    ],
)
notify = extend_schema(
    operation_id="notify",
    summary="Publish one notification, or a list",
    description="As `/api/v1/publish`, but for `topic` and `message` alone: other fields are"
    " ignored. HTML forms are taken, too.",
    tags=["publish"],
    parameters=[_KEY, *ANSWERED],
    request={
        "application/json": _one_of(
            "Notify", NotificationSerializer, NotificationSerializer(many=True)
        ),
        "application/x-www-form-urlencoded": NotificationSerializer,
        "multipart/form-data": NotificationSerializer,
    },
    responses=_TAKEN,
    examples=[
        OpenApiExample("a text", _MESSAGE, request_only=True),
        OpenApiExample(
            "a list", [_MESSAGE, _MESSAGE], request_only=True, media_type="application/json"
        ),
    ],
)


# Look


def _topic(required: bool) -> OpenApiParameter:
    text = "A topic with a history."
    return OpenApiParameter("topic", str, required=required, description=text)


_PAGING: Final = [
    OpenApiParameter("after", str, description="A position: the messages after it come."),
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_REPLAY, "default": 100},
        description="How many messages at most.",
    ),
]
_LOOKED: Final = {
    200: OpenApiResponse(HistorySerializer, "A page.", [OpenApiExample("a page", _PAGE)]),
    400: wrong(topic=_REQUIRED),
    **READING,
}

history = extend_schema(
    operation_id="history",
    summary="Look back at a topic",
    tags=["look"],
    parameters=[_topic(True), *_PAGING, *ANSWERED],
    responses=_LOOKED,
)
look_back = extend_schema(
    operation_id="look_back",
    summary="Look back at a topic",
    description="As `/api/v1/history`; without `topic` a line of help.",
    tags=["look"],
    parameters=[_topic(False), *_PAGING, *ANSWERED],
    responses={
        **_LOOKED,
        200: OpenApiResponse(
            _one_of("LookBack", HistorySerializer, ErrorSerializer),
            "A page, or a line of help.",
            [OpenApiExample("a page", _PAGE)],
        ),
    },
)


# Access, and the document itself

ticket = extend_schema(
    operation_id="make_ticket",
    summary="Make a ticket",
    tags=["access"],
    auth=[{"bearer": []}, {"cookieAuth": []}],  # type: ignore[list-item]
    parameters=ANSWERED,
    request=TicketSerializer,
    responses={
        201: IssuedTicketSerializer,
        400: wrong(destinations=["'/nowhere' is no destination"]),
        413: ERRORS[413],
        **_WRITING,
    },
    examples=[
        OpenApiExample(
            "for two topics",
            {"destinations": ["/topic/orders/**", "/user/queue/news"]},
            request_only=True,
        ),
        OpenApiExample("a ticket", {"ticket": "...", "seconds": 30}, response_only=True,
                       status_codes=["201"]),
    ],
)  # fmt: skip
document = extend_schema(
    operation_id="schema",
    summary="Read this document",
    tags=["schema"],
    parameters=[OpenApiParameter("format", str, enum=["json", "yaml"]), *ANSWERED],
    responses={
        (200, "application/vnd.oai.openapi"): OpenApiTypes.OBJECT,
        (200, "application/json"): OpenApiTypes.OBJECT,
        **{(status, "application/json"): error for status, error in READING.items()},
    },
)


# Hooks of drf-spectacular


def keep_api(endpoints: list[tuple[str, Any, Any, Any]]) -> list[tuple[str, Any, Any, Any]]:
    """Leave out what is not under ``/api/``; of the two spellings of an address keep the short."""
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints if path.startswith("/api/")]


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """
    Add the order of tags, the events, which no view of Django answers, and what takes no fields
    but its own.
    """
    result["tags"] = TAGS
    result["paths"][_EVENTS] = {"get": _listen()}
    for name in ("Message", "Ticket"):
        result["components"]["schemas"][name]["additionalProperties"] = False
    return result


def _listen() -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    wrong = {"application/json": {"schema": _FIELD_ERRORS}}
    retry = {"Retry-After": {"schema": {"type": "integer"}}}
    return {
        "operationId": "listen",
        "summary": "Listen to topics",
        "description": "Server-sent events, for `EventSource`: first `subscribed`, then messages in"
        " the shape of the history, `lost` where some are missing, and `refused` at the end.",
        "tags": ["look"],
        "security": [{"bearer": []}, {"ticket": []}, {"cookieAuth": []}, {}],
        "parameters": [
            _query("topic", "A topic, a pattern, or `/user/queue/NAME`.", needed=True),
            _query("token", "What was signed for a topic."),
            {
                "in": "query",
                "name": "lastEventId",
                "schema": {"type": "string"},
                "description": "Where to go on, for clients that can't send the header.",
            },
            {"in": "header", "name": "Last-Event-ID", "schema": {"type": "string"},
             "description": "The last `id`: what came after it comes first."},
        ],
        "responses": {
            "200": {
                "description": "Events, until one of the two hangs up.",
                "content": {
                    "text/event-stream": {
                        "schema": {"type": "string"},
                        "example": "id: 5a0c36ef1-8,\ndata: "
                        '{"topic": "/topic/toast", "message": "saved", "id": "5a0c36ef1-8",'
                        ' "headers": {"content-type": "text/plain;charset=UTF-8"}}\n\n',
                    }
                },
            },
            "400": {"description": "A topic, or a position, that is none.", "content": wrong},
            "401": {"description": "No login, or a wrong one.", "content": error},
            "403": {"description": "A topic, or an origin, is denied.", "content": error},
            "429": {"description": "Too many.", "content": error, "headers": retry},
            "503": {"description": "Redis is away, or busy.", "content": error, "headers": retry},
        },
    }  # fmt: skip


def _query(name: str, description: str, *, needed: bool = False) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    if needed:
        schema |= {"minItems": 1, "maxItems": conf.STOMP_MAX_SUBSCRIPTIONS}
    return {
        "in": "query",
        "name": name,
        "required": needed,
        "description": description,
        "schema": schema,
    }
