"""History: ``GET /api/v1/history?topic=``, what was published to a topic lately, page by page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from redis import RedisError
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from realtime.access.limits import refusals
from realtime.destinations.names import DestinationError, check_topic
from realtime.history.log import MAX_REPLAY
from realtime.history.positions import Position
from realtime.layer.pages import Page, read_page
from realtime.messages.json import as_notification

from .access import check_rule
from .errors import RedisAway
from .schema import operations


class HistoryView(APIView):
    """
    Read what was published to a topic lately.

    With `after`, the id of a message or a `position`, the messages after it come, the oldest first;
    without it, the newest. `next` is the address of the following page, while there is one.
    """

    @operations.history
    def get(self, request: Request) -> Response:
        return Response(read_history(request))


def read_history(request: Request) -> dict[str, Any]:
    """Return the page of a topic's history that a request asks for, as JSON takes it."""
    query = request.query_params
    after, limit = _position(query.get("after")), _limit(query.get("limit", "100"))
    topic = query.get("topic")
    if topic is None:
        raise ValidationError({"topic": ["This field is required."]})
    try:
        check_rule(request, "history", check_topic(topic))
        page = read_page(topic, after=after, limit=limit)
    except DestinationError as error:
        raise ValidationError({"topic": [error.message]}) from None
    except RedisError as error:
        refusals.note("redis-away", None, f"Redis did not tell a history: {error}")
        raise RedisAway from None
    following = {"topic": topic, "after": str(page.position), "limit": limit}
    url = request.build_absolute_uri(f"{request.path}?{urlencode(following)}")
    return {"topic": topic} | _as_json(page) | {"next": url if page.more else None}


def _as_json(page: Page) -> dict[str, Any]:
    content: dict[str, Any] = {"position": str(page.position), "recovered": page.lost is None}
    if page.lost is not None:
        content["reason"] = page.lost
    return content | {"messages": [as_notification(message) for message in page.messages]}


def _position(text: str | None) -> Position | None:
    position = Position.parse(text) if text is not None else None
    if text is not None and position is None:
        raise ValidationError({"after": ["not the id of a message with a history"]})
    return position


def _limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not 0 < limit <= MAX_REPLAY:
        raise ValidationError({"limit": [f"not a number from 1 to {MAX_REPLAY}"]})
    return limit
