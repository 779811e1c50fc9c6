"""Views: ``POST /api/v1/publish`` and ``/api/notification``, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from redis import RedisError
from rest_framework import serializers, status
from rest_framework.exceptions import (
    NotFound,
    ParseError,
    PermissionDenied,
    UnsupportedMediaType,
    ValidationError,
)
from rest_framework.parsers import BaseParser, FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.views import exception_handler as default_exception_handler

from realtime.access import topic_quota
from realtime.access.limits import is_outage, outage, refusals
from realtime.access.rules import record_refused
from realtime.access.topic_quota import TooManyTopics
from realtime.broker import publish_many
from realtime.conf import conf
from realtime.messages.idempotency import key_in, key_of_user
from realtime.messages.message import Checked, Message, MessageTooLarge, check
from realtime.nodes.found import find_delivery
from realtime.routes.rules import NEEDS_PUBLISH

from .access import MayPublish, address_of, check_rule
from .errors import Away, RedisAway, TooLarge, TooMany, asked
from .history import read_history
from .parsers import MAX_ITEMS, BoundedJSONParser
from .schema import operations
from .serializers import MessageSerializer, NotificationSerializer, Parameters
from .throttle import account_of

#: How long a request may wait until its message is delivered.
MAX_WAIT_SECONDS: Final = 10


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer as DRF does, and what is too large with 413, what is away with 503."""
    if isinstance(error, RecursionError):
        error = ParseError("JSON error: nested too deeply")
    if isinstance(error, RequestDataTooBig):
        error = TooLarge(f"the request is over {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes")
    if is_outage(error):
        outage.refuse(error)
        error = Away("the database is away: try again.")
    return default_exception_handler(error, context)


class PublishView(APIView):
    """
    Publish a message to a topic, or a list of messages in its order.

    Every browser that is subscribed to the topic gets it, through any node of the gateway. What has
    a field with another name is refused. With an `idempotency_key`, or the header `Idempotency-Key`
    for the whole request, a repeat within five minutes is answered as the first time, and not
    published again.
    """

    permission_classes = (MayPublish,)
    parser_classes: tuple[type[BaseParser], ...] = (BoundedJSONParser,)
    serializer_class: type[NotificationSerializer] = MessageSerializer

    def get_serializer(self, *args: Any, **kwargs: Any) -> NotificationSerializer:
        """Return the serializer, for the forms of the browsable API too."""
        return self.serializer_class(*args, context={"request": self.request}, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Write down who publishes without the permission, and not whose form was left out."""
        try:
            super().initial(request, *args, **kwargs)
        except PermissionDenied as error:
            if error.detail == NEEDS_PUBLISH:
                record_refused(request, address_of(request), "publish", NEEDS_PUBLISH)
            raise

    @operations.publish
    def post(self, request: Request) -> Response:
        seconds = _seconds_to_wait(request)
        answer = self.publish(request)
        if seconds is not None:
            taken: dict[str, Any] = answer.data
            ask = partial(find_delivery, taken["topic"], taken["id"], seconds)
            taken["delivery"] = asked(ask)
        return answer

    def publish(self, request: Request) -> Response:
        """Publish what a request brings, and answer when Redis has it."""
        key = _idempotency_key(request)
        if isinstance(request.data, list):
            return _answer_list(request, self.get_serializer().read, key)
        serializer = self.get_serializer(data=request.data)
        try:
            serializer.is_valid(raise_exception=True)
            message: Message = serializer.validated_data
            message.idempotency_key = message.idempotency_key or key
            checked = check(message)
        except MessageTooLarge as error:
            raise TooLarge(str(error)) from None
        check_rule(request, "publish", checked.message.destination)
        try:
            _check_new(request, checked.message.destination)
        except TooManyTopics as error:
            raise TooMany(error.message, error.retry_after) from None
        (message_id,) = _publish([checked])
        return Response(published(message, message_id), status=status.HTTP_202_ACCEPTED)


class NotificationView(PublishView):
    """
    Publish a message to a topic, or a list of messages in its order.

    Every browser that is subscribed to the topic gets it, through any node of the gateway. With
    the header `Idempotency-Key` a repeat within five minutes is answered as the first time, and
    not published again. `GET` with `?topic=` shows what was published lately.
    """

    parser_classes = (BoundedJSONParser, FormParser, MultiPartParser)
    serializer_class = NotificationSerializer

    @operations.look_back
    def get(self, request: Request) -> Response:
        if "topic" in request.query_params:
            return Response(read_history(request))
        return Response({"detail": "POST a topic and a message, and subscribers get it."})

    @operations.notify
    def post(self, request: Request) -> Response:
        if isinstance(request.data, QueryDict) and next(iter(request.data), "")[:1] in ("{", "["):
            detail = "this is JSON, sent as a form: send it with Content-Type: application/json"
            raise UnsupportedMediaType("", detail)
        return self.publish(request)


class NotFoundView(APIView):
    """There is nothing at this address, whoever asks."""

    authentication_classes = permission_classes = throttle_classes = ()
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound


@csrf_exempt
def not_found(request: HttpRequest, path: str) -> HttpResponseBase:
    """Answer by NotFoundView, which would be among the breadcrumbs of the others as a view."""
    return NotFoundView.as_view()(request)


class WaitQuery(Parameters):
    wait = serializers.ChoiceField(["deliver"], required=False)
    seconds = serializers.FloatField(min_value=0, max_value=MAX_WAIT_SECONDS, default=1)


def _seconds_to_wait(request: Request) -> float | None:
    """
    Return how long a request wants to wait until its message is delivered, or None.

    Raises:
        ValidationError: If that can't be waited for.
    """
    query = WaitQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    if "wait" not in query.validated_data:
        return None
    if isinstance(request.data, list):
        raise ValidationError({"wait": ["one message can be waited for, not a list"]})
    seconds: float = query.validated_data["seconds"]
    return seconds


def _idempotency_key(request: Request) -> str | None:
    """Return what makes a repeat of this request one, or None where nothing does."""
    key = key_in(request.headers)
    try:
        return None if key is None else key_of_user(request.user.get_username(), key)
    except ValueError as error:
        raise ParseError(str(error)) from None


def _answer_list(request: Request, read: Callable[..., Message], key: str | None) -> Response:
    """Publish the good ones of a list, and answer with one result for each."""
    items = request.data
    if not items:
        error = f"a list has 1 to {MAX_ITEMS} messages, not 0"
        raise ValidationError({"non_field_errors": [error]})
    refused = cache(partial(_refused, request))
    all_read = [
        _read(partial(read, item, key_of_item(key, number)), refused)
        for number, item in enumerate(items)
    ]
    messages = [each for each in all_read if isinstance(each, Checked)]
    ids = iter(_publish(messages) if messages else [])
    results = [
        published(each.message, next(ids)) if isinstance(each, Checked) else {"errors": each}
        for each in all_read
    ]
    waits = [each.wait for each in all_read if isinstance(each, _OverLimit)]
    if len(waits) == len(items):
        headers = {"Retry-After": str(max(waits))}
        return Response(results, status=status.HTTP_429_TOO_MANY_REQUESTS, headers=headers)
    return Response(results, status=_status(len(messages), len(items)))


def key_of_item(key: str | None, number: int) -> str | None:
    """Return what makes a repeat of one of a list one, given the key of the request."""
    return None if key is None else f"{key}\n{number}"


class _OverLimit(dict[str, list[str]]):
    """What is wrong with a notification that may be published in ``wait`` seconds."""

    wait = 0


def _refused(request: Request, destination: str) -> dict[str, list[str]] | None:
    """Return why a request may not publish to a destination, or None if it may."""
    try:
        check_rule(request, "publish", destination)
        _check_new(request, destination)
    except PermissionDenied as error:
        return {"topic": [str(error.detail)]}
    except TooManyTopics as error:
        over = _OverLimit(topic=[error.message])
        over.wait = error.retry_after or 1
        return over
    return None


def _check_new(request: Request, destination: str) -> None:
    """
    Count a topic, if it is new.

    Raises:
        TooManyTopics: If it is one too many in this minute.
    """
    if hash(destination) not in topic_quota.quota.known:
        most = conf.STOMP_API_NEW_TOPICS_PER_MINUTE
        topic_quota.quota.check(account_of(request), destination, most=most)


def _read(read: Callable[[], Message], refused: Callable[[str], Any]) -> Checked | Any:
    """Return the message, or what is wrong in DRF's shape."""
    try:
        checked = check(read())
    except ValidationError as error:
        return error.detail
    except MessageTooLarge as error:
        field = "headers" if error.code == "header-too-long" else "message"
        return {field: [str(error)]}
    why = refused(checked.message.destination)
    return checked if why is None else why


def _status(taken: int, asked: int) -> int:
    if taken == asked:
        return status.HTTP_202_ACCEPTED
    return status.HTTP_207_MULTI_STATUS if taken else status.HTTP_400_BAD_REQUEST


def published(message: Message, message_id: str) -> dict[str, str]:
    """Return what is said of a message: its id is what subscribers see in ``message-id``."""
    return {"id": message_id, "topic": message.destination}


def _publish(messages: list[Checked]) -> list[str]:
    try:
        return publish_many(messages, "api")
    except RedisError as error:
        raise not_taken(len(messages), error) from None


def not_taken(count: int, error: BaseException) -> RedisAway:
    """Return what is answered where Redis did not take what was to be published, and note it."""
    refusals.note("redis-away", None, f"Redis did not take {count} notifications: {error}")
    return RedisAway()
