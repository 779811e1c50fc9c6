"""Operations: each has a decorator, with what it takes and answers; its view wears it."""

from __future__ import annotations

from typing import Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)

from notifications.api.serializers import (
    MessageSerializer,
    NotificationSerializer,
    TicketSerializer,
)
from realtime.history.log import MAX_REPLAY
from realtime.messages.idempotency import HTTP_IDEMPOTENCY_KEY, MAX_KEY_CHARACTERS

from .answers import (
    ANSWERED,
    ERRORS,
    FIELD_ERRORS,
    READING,
    WRITING,
    ErrorSerializer,
    HistorySerializer,
    IssuedTicketSerializer,
    NotPublishedSerializer,
    PublishedSerializer,
    one_of,
    wrong,
)

_RESULTS: Final = PolymorphicProxySerializer(
    component_name="Result",
    serializers=[PublishedSerializer, NotPublishedSerializer],
    resource_type_field_name=None,
    many=True,
)
_ONE_OR_ALL: Final = one_of("Taken", PublishedSerializer, PublishedSerializer(many=True))

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
    **WRITING,
    400: OpenApiResponse(
        {"oneOf": [FIELD_ERRORS, {"type": "array", "items": {"type": "object"}}]},
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
    request=one_of("Publish", MessageSerializer, MessageSerializer(many=True)),
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
        "application/json": one_of(
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
            one_of("LookBack", HistorySerializer, ErrorSerializer),
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
        **WRITING,
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
