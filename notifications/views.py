from __future__ import annotations

import logging
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from redis import RedisError
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.views import exception_handler as default_exception_handler

from realtime.broker import Message, MessageTooLarge, check_content, publish_many

from .serializers import NotificationSerializer, read_notification

logger = logging.getLogger(__name__)

#: How many notifications one list may have.
MAX_NOTIFICATIONS: Final = 1000


class RedisAway(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Redis is away: try again."
    default_code = "unavailable"
    wait = 2  # seconds, for Retry-After


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer as DRF does, and a request that is too large with 413."""
    if isinstance(error, RecursionError):
        error = ParseError("JSON error: nested too deeply")
    if isinstance(error, RequestDataTooBig):
        error = TooLarge(f"the request is over {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes")
    return default_exception_handler(error, context)


class NotificationView(APIView):
    """
    Publish a message to a topic, or a list of messages in its order.

    Every browser that is subscribed to the topic gets it, through any node of the gateway.
    """

    parser_classes = (JSONParser, FormParser, MultiPartParser)

    def get_serializer(self, *args: Any, **kwargs: Any) -> NotificationSerializer:
        """Return the serializer, for the forms of the browsable API too."""
        return NotificationSerializer(*args, **kwargs)

    def get(self, request: Request) -> Response:
        return Response({"detail": "POST a topic and a message, and subscribers get it."})

    def post(self, request: Request) -> Response:
        if isinstance(request.data, list):
            return _answer_list(request.data)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        message = serializer.validated_data
        try:
            check_content(message)
        except MessageTooLarge as error:
            raise TooLarge(str(error)) from None
        (message_id,) = _publish([message])
        return Response(_published(message, message_id), status=status.HTTP_202_ACCEPTED)


def _answer_list(items: list[Any]) -> Response:
    """Publish the good ones of a list, and answer with one result for each."""
    if not 0 < len(items) <= MAX_NOTIFICATIONS:
        error = f"a list has 1 to {MAX_NOTIFICATIONS} notifications, not {len(items)}"
        raise ValidationError({"non_field_errors": [error]})
    read = [_read(item) for item in items]
    messages = [each for each in read if isinstance(each, Message)]
    ids = iter(_publish(messages) if messages else [])
    results = [
        _published(each, next(ids)) if isinstance(each, Message) else {"errors": each}
        for each in read
    ]
    return Response(results, status=_status(len(messages), len(items)))


def _read(item: Any) -> Message | Any:
    """Return the message, or what is wrong in DRF's shape."""
    try:
        message = read_notification(item)
        check_content(message)
    except ValidationError as error:
        return error.detail
    except MessageTooLarge as error:
        return {"message": [str(error)]}
    return message


def _status(taken: int, asked: int) -> int:
    if taken == asked:
        return status.HTTP_202_ACCEPTED
    return status.HTTP_207_MULTI_STATUS if taken else status.HTTP_400_BAD_REQUEST


def _published(message: Message, message_id: str) -> dict[str, str]:
    """Return what is said of a message: its id is what subscribers see in ``message-id``."""
    return {"id": message_id, "topic": message.destination}


def _publish(messages: list[Message]) -> list[str]:
    try:
        return publish_many(messages)
    except RedisError as error:
        logger.warning("Redis did not take %d notifications: %s", len(messages), error)
        raise RedisAway from None
