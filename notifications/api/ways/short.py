"""
ApiHandler: what services post again and again is published without Django.

The short way knows callers by what Django answered them (:mod:`.callers`), reads and checks what
they post by the functions of the view, and publishes it from the event loop. It says yes or
nothing: whatever is not plainly good it leaves to Django before anything was done.

So no error, and no header, is made here. What a project adds to Django is not passed by: with
middleware, authenticators, renderers, throttles or views that are not the gateway's own,
:func:`learn` learns nothing, and everything goes the long way. Receivers of Django's signal
``request_started`` hear of the long way only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from io import BytesIO
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponseBase
from django.utils.log import log_response
from redis import RedisError
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from notifications.api import throttle
from notifications.api.access import CredentialsAuthentication, MayPublish
from notifications.api.errors import RedisAway
from notifications.api.parsers import ReadableBody, read_json
from notifications.api.throttle import RequestThrottle
from notifications.api.views import (
    NotificationView,
    PublishView,
    exception_handler,
    key_of_item,
    not_taken,
    published,
)
from realtime.access import topic_quota
from realtime.access.credentials import Login
from realtime.access.rules import asked_of_user, is_allowed_at_once
from realtime.broker import apublish_many, id_of, is_busy
from realtime.conf import conf
from realtime.destinations.names import check_published
from realtime.messages.idempotency import IDEMPOTENCY_KEY, key_of_user
from realtime.messages.message import Checked, check

from .callers import Caller, callers
from .long import SynchronousHandler

#: What is larger, or has more messages, is not read on the event loop: it takes a millisecond.
MAX_BYTES: Final = 64 * 1024
MAX_MESSAGES: Final = 100

#: Authenticators that find the same user by the same request, as long as nothing changes.
AUTHENTICATORS: Final = frozenset(
    {
        "realtime.access.authentication.jwt_user",
        "realtime.access.authentication.token_user",
        "realtime.layer.tickets.ticket_user",
        "realtime.access.passcodes.passcode_user",
        "realtime.access.authentication.cookie_user",
    }
)

#: As JSONRenderer does, which makes an encoder for each answer.
_encode: Final = JSONRenderer.encoder_class(
    ensure_ascii=JSONRenderer.ensure_ascii,
    allow_nan=not JSONRenderer.strict,
    separators=(",", ":") if JSONRenderer.compact else (", ", ": "),
).encode

_IDEMPOTENCY_KEY: Final = IDEMPOTENCY_KEY.encode()


class ApiHandler(SynchronousHandler):
    """
    Requests to the API: the short way for those it knows, and Django for all others.

    Args:
        middleware: That which does with one answer to a plain POST what it does with the next.
            With any other nothing is learned, and all go the long way.
    """

    def __init__(self, middleware: Collection[str] = ()) -> None:
        super().__init__()
        self._learns = set(settings.MIDDLEWARE).issubset(middleware)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        if (taken := take(scope, body.getbuffer())) is None:
            await self.send_response(await self._respond(scope, body), send)
            return
        await asyncio.wait({taken.future})
        status, headers, content = taken.answer()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": False})

    def pass_through(
        self, scope: Any, body: BytesIO
    ) -> tuple[HttpRequest | None, HttpResponseBase]:
        era = callers.era
        request, response = super().pass_through(scope, body)
        if self._learns and callers.hears is not None:
            learn(scope, request, response, era)
        return request, response


def take(scope: Any, body: bytes | memoryview) -> Taken | None:
    """
    Begin to publish what a caller posts, from the event loop; return None if Django has to: then
    nothing was done.
    """
    key = callers.key_of(scope)
    caller = None if key is None else callers.recall(key)
    if caller is None or len(body) > MAX_BYTES or is_busy():
        return None
    try:
        data = read_json(bytes(body))
        messages = _read(caller, data, _idempotency_key(scope, caller))
    except Exception:  # Django says what is wrong, and the log has what is a fault of ours
        return None
    if messages is None or not _count(caller):
        return None
    return Taken(scope, caller, messages, isinstance(data, list))


class Taken:
    """
    What was taken the short way: :meth:`answer` returns status, headers and content of the answer
    once the future is done.
    """

    __slots__ = ("_caller", "_listed", "_messages", "_scope", "future")

    def __init__(self, scope: Any, caller: Caller, messages: list[Checked], listed: bool) -> None:
        self._scope = scope
        self._caller = caller
        self._messages = messages
        self._listed = listed
        self.future = apublish_many(messages, door="api")

    def answer(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        try:
            answers = self.future.result()
        except RedisError as error:
            return _away(self._scope, self._caller, not_taken(len(self._messages), error))
        for each in answers:
            if isinstance(each, BaseException):
                return _away(self._scope, self._caller, not_taken(len(self._messages), each))
        results = [
            published(checked.message, id_of(checked, each))
            for checked, each in zip(self._messages, answers, strict=True)
        ]
        content = _render(results if self._listed else results[0])
        return 202, _with_length(self._caller.headers, content), content


def _read(caller: Caller, data: Any, key: str | None) -> list[Checked] | None:
    """Return the messages that may be published at once, all of them; None if Django decides."""
    if isinstance(data, list):
        if not 0 < len(data) <= MAX_MESSAGES:
            return None
        asked = [caller.read(item, key_of_item(key, place)) for place, item in enumerate(data)]
    else:
        asked = [caller.read(data, key)]
    messages = [check(message) for message in asked]
    if any(each.message is not message for each, message in zip(messages, asked, strict=True)):
        return None  # its topic was written otherwise
    topics = {message.destination for message in asked}
    return messages if all(_may_publish(caller, topic) for topic in topics) else None


def _may_publish(caller: Caller, topic: str) -> bool:
    """Return whether nobody has to be asked for that, neither rules nor the quota of topics."""
    if topic_quota.quota.counts(topic, conf.STOMP_API_NEW_TOPICS_PER_MINUTE):
        return False
    return is_allowed_at_once(caller.login, "publish", topic, caller.held)


def _idempotency_key(scope: Any, caller: Caller) -> str | None:
    """Return what makes a repeat of this request one, or None where nothing does."""
    keys = [value for name, value in scope["headers"] if name == _IDEMPOTENCY_KEY]
    if not keys:
        return None
    return key_of_user(caller.name, b",".join(keys).decode("latin-1"))


def _count(caller: Caller) -> bool:
    """Count the request; return False, uncounted, if it is refused or Redis has to be asked."""
    most = conf.STOMP_API_REQUESTS_PER_MINUTE
    return most <= 0 or throttle.counts.take_at_once(caller.name, most)


def _away(
    scope: Any, caller: Caller, away: RedisAway
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return what Django answers, and log it as Django does."""
    response = exception_handler(away, {})
    assert response is not None
    request: Any = ASGIRequest(scope, BytesIO())
    log_response("%s: %s", response.reason_phrase, request.path, response=response, request=request)
    kind, *others = caller.headers
    retry = b"Retry-After", response.headers["Retry-After"].encode()
    content = _render(response.data)
    return response.status_code, _with_length([kind, retry, *others], content), content


def _render(data: Any) -> bytes:
    text = _encode(data).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return text.encode()


def _with_length(
    headers: Sequence[tuple[bytes, bytes]], content: bytes
) -> list[tuple[bytes, bytes]]:
    length = b"%d" % len(content)
    return [(name, length if name == b"Content-Length" else value) for name, value in headers]


def learn(scope: Any, request: HttpRequest | None, response: Any, era: int) -> None:
    """Know who published something by Django, if the next such request needs it not."""
    key = callers.key_of(scope)
    if key is None or request is None or not isinstance(response, Response):
        return
    if _is_plain(request, response) and _is_ours(response):
        callers.remember(key, _caller_of(response), era)


def _caller_of(response: Any) -> Caller:
    """Return who published what Django has answered."""
    login = response.renderer_context["request"].auth
    view = response.renderer_context["view"]
    results = response.data if isinstance(response.data, list) else [response.data]
    topics = {check_published(each["topic"]) for each in results}
    held = frozenset().union(*(asked_of_user(login, "publish", topic) for topic in topics))
    # The serializer asks of a request whose it is, which a login says, too.
    read = view.serializer_class(context={"request": login}).read
    headers = [(name.encode(), value.encode("latin-1")) for name, value in response.items()]
    return Caller(login, read, headers, held)


def _is_plain(request: HttpRequest, response: Any) -> bool:
    """Return whether JSON was published, all of it, and answered with nothing but JSON."""
    return (
        request.content_type == JSONRenderer.media_type
        and response.status_code == 202
        and type(response.accepted_renderer) is JSONRenderer
        and response.accepted_media_type == JSONRenderer.media_type
        and not response.cookies
    )


def _is_ours(response: Any) -> bool:
    """Return whether all that decided was the gateway's own, and the login one that lasts."""
    view, request = (response.renderer_context[name] for name in ("view", "request"))
    login = request.auth
    return (
        type(view) in (PublishView, NotificationView)
        and view.permission_classes == (MayPublish,)
        and view.throttle_classes == [RequestThrottle]
        and view.content_negotiation_class is ReadableBody
        and view.get_exception_handler() is exception_handler
        and type(request.successful_authenticator) is CredentialsAuthentication
        and AUTHENTICATORS.issuperset(conf.STOMP_AUTHENTICATORS)
        and isinstance(login, Login)
        and login.how in ("token", "jwt")
        and not login.destinations
        and bool(login.user.get_username())
    )
