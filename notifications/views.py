from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from redis import RedisError
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler as default_exception_handler

from realtime.broker import MessageTooLarge, publish

from .serializers import NotificationSerializer, PublishedSerializer

logger = logging.getLogger(__name__)


class RedisAway(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Redis is away, nothing was published: try again."
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


class NotificationView(GenericAPIView[Any]):
    """
    Publish a message to a topic.

    Every browser that is subscribed to the topic gets it, through any node of the gateway.
    """

    serializer_class = NotificationSerializer
    parser_classes = (JSONParser, FormParser, MultiPartParser)

    def get(self, request: Request) -> Response:
        return Response({"detail": "POST a topic and a message, and subscribers get it."})

    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        topic = serializer.validated_data["topic"]
        message_id = _publish(topic, serializer.validated_data["message"])
        published = PublishedSerializer({"id": message_id, "topic": topic})
        return Response(published.data, status=status.HTTP_202_ACCEPTED)


def _publish(topic: str, content: Any) -> str:
    try:
        return publish(topic, content)
    except MessageTooLarge as error:
        raise TooLarge(str(error)) from None
    except ValueError as error:
        raise ValidationError({"message": [f"not a text that can be sent: {error}"]}) from None
    except RedisError as error:
        logger.warning("Redis did not take a notification: %s", error)
        raise RedisAway from None
