"""Document: what drf-spectacular can not read from views: credentials, tags, and the events."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from realtime.conf import conf

from .answers import FIELD_ERRORS

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
    wrong = {"application/json": {"schema": FIELD_ERRORS}}
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
