"""
View: ``GET /api/events?topic=/topic/a&topic=/topic/b``, topics as server-sent events.

It is an ASGI application beside Django: a stream holds no thread and no database connection,
and its writes wait for who reads them. The rules are those of STOMP's CONNECT and SUBSCRIBE.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import parse_qs

from realtime.access.addresses import address_of
from realtime.access.authentication import authenticate
from realtime.access.credentials import Login, of_request
from realtime.access.origins import admit, header, refusal
from realtime.conf import conf
from realtime.destinations.names import DestinationError, LoginRequired, heard_destination
from realtime.history.positions import Position
from realtime.redis import REDIS_ERRORS
from realtime.sessions.authorization import Ahead, Grants, unless_gone
from realtime.sessions.failures import as_stomp_error
from realtime.sessions.session import Session
from realtime.stomp import AccessDenied, StompError, TooMany, Unavailable

from .events import VERSION
from .stream import EventStream

#: Seconds, for Retry-After.
RETRY_SECONDS: Final = 2

#: Positions, or nothing, with commas in between; it comes back in what is sent.
_EVENT_ID: Final = re.compile(r"((\w+-\d{1,18})?,)*(\w+-\d{1,18})?", re.ASCII)

Headers = list[tuple[bytes, bytes]]
Wanted = list[tuple[str, str, Position | None]]

_HEADERS: Final[Headers] = [
    (b"vary", b"Origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache, no-transform"),
]
_STREAM_HEADERS: Final[Headers] = [
    (b"content-type", b"text/event-stream"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back
]
_PREFLIGHT_HEADERS: Final[Headers] = [
    (b"access-control-allow-methods", b"GET"),
    (b"access-control-allow-headers", b"authorization, cache-control, last-event-id"),
    (b"access-control-max-age", b"86400"),
]


class Refused(Exception):
    """A request that is answered with an error, in the shape of Django REST framework."""

    def __init__(self, status: int, content: dict[str, Any], headers: Headers | None = None):
        super().__init__(status)
        self.status = status
        self.content = content
        self.headers = headers or []


async def event_stream(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI application."""
    headers = _HEADERS
    try:
        admitted = _admit(scope)
        headers = [*_HEADERS, *_cross_origin_headers(scope)]
        if scope["method"] == "OPTIONS":
            return await _answer(send, 200, b"", [*headers, *_PREFLIGHT_HEADERS])
        await _stream(admitted, receive, send, headers)
    except Refused as refused:
        content = json.dumps(refused.content).encode()
        kind = (b"content-type", b"application/json")
        await _answer(send, refused.status, content, [*headers, *refused.headers, kind])


def _admit(scope: dict[str, Any]) -> dict[str, Any]:
    """
    Return the scope, with a cookie only if it counts.

    A browser names no origin in a GET to the page's own, which older ones, and those that came
    by plain HTTP, do not say in another way either. A strange page can't read the answer to a
    request that names none.
    """
    origin = header(scope, b"origin")
    site = header(scope, b"sec-fetch-site") or "same-origin"
    if origin is None and site in ("same-origin", "none"):
        origin = f"http://{header(scope, b'host') or ''}"
    admitted = admit(scope, origin)
    if admitted is None:
        raise Refused(403, {"detail": refusal(scope, origin)})
    return admitted


def _cross_origin_headers(scope: dict[str, Any]) -> Headers:
    origin = header(scope, b"origin")
    return [(b"access-control-allow-origin", origin.encode("latin-1"))] if origin else []


async def _stream(scope: dict[str, Any], receive: Any, send: Any, headers: Headers) -> None:
    if scope["method"] != "GET":
        detail = f'Method "{scope["method"]}" not allowed.'
        raise Refused(405, {"detail": detail}, [(b"allow", b"GET, OPTIONS")])
    session = Session(
        address=address_of(scope),
        user_agent=header(scope, b"user-agent") or "",
        login=await _log_in(scope, receive),
        version=VERSION,
    )
    wanted = _wanted(scope, session.user_name)
    grants = Grants(session)
    await _check(grants, wanted, scope)
    stream = EventStream(session, grants, wanted, send, [*headers, *_STREAM_HEADERS])
    try:
        await stream.run(receive)
    except TooMany as error:
        raise _unavailable(error) from None
    except DestinationError as error:
        raise _wrong("topic", error.message) from None
    except REDIS_ERRORS:
        if stream.began:
            raise
        raise _redis_away() from None
    if not stream.began:  # more came before it could begin than a client may keep waiting
        raise _redis_away()


async def _log_in(scope: dict[str, Any], receive: Any) -> Login | None:
    try:
        return await unless_gone(authenticate(of_request(scope)), Ahead(_body_read(receive)))
    except AccessDenied as error:
        detail = error.message if error.code != "login-required" else "log in, or send a token"
        raise Refused(401, {"detail": detail}, [(b"www-authenticate", b"Bearer")]) from None
    except Exception as error:
        raise _unavailable(as_stomp_error(error)) from None


def _body_read(receive: Any) -> Any:
    """Return ``receive`` without the empty body of a GET, which is not what is waited for."""

    async def receive_next() -> dict[str, Any]:
        while (message := await receive())["type"] != "http.disconnect":
            pass
        return {**message, "type": "websocket.disconnect"}

    return receive_next


async def _check(grants: Grants, wanted: Wanted, scope: dict[str, Any]) -> None:
    """Check that all topics may be heard, and looked back at."""
    query = parse_qs(scope["query_string"].decode(errors="replace"))
    try:
        for name, _, position in wanted:
            await _grant(grants, name, query.get("token", []), past=position is not None)
    except AccessDenied as error:
        raise Refused(403, {"detail": error.message, "code": error.code}) from None
    except Exception as error:
        raise _unavailable(as_stomp_error(error)) from None


async def _grant(grants: Grants, name: str, tokens: list[str], *, past: bool) -> None:
    """Grant a topic by a token that was signed for it, or else by the rules."""
    try:
        await grants.grant(name, name, tokens=tokens, past=past)
    except AccessDenied as error:
        if error.code != "bad-token":
            raise
        try:
            await grants.grant(name, name, past=past)
        except AccessDenied:
            grants.record_token(name, error)
            raise error from None


def _unavailable(error: StompError) -> Refused:
    if not isinstance(error, Unavailable):
        return Refused(500, {"detail": error.message})
    seconds = b"%d" % (error.retry_after or RETRY_SECONDS)
    retry_after = [(b"retry-after", seconds)]
    if isinstance(error, TooMany):
        return Refused(429, {"detail": error.message, "code": error.code}, retry_after)
    return Refused(503, {"detail": error.message}, retry_after)


def _wanted(scope: dict[str, Any], user_name: str) -> Wanted:
    """Return the topics that a request names, and where to resume each."""
    query = parse_qs(scope["query_string"].decode(errors="replace"), keep_blank_values=True)
    names = list(dict.fromkeys(query.get("topic", ())))
    if not names:
        raise _wrong("topic", "This field is required.")
    if len(names) > conf.STOMP_MAX_SUBSCRIPTIONS:
        raise _wrong("topic", f"more than {conf.STOMP_MAX_SUBSCRIPTIONS} topics")
    # Some clients can't set headers; but what a browser says when it comes again is newer.
    in_url = query.get("lastEventId") or query.get("last-event-id") or [""]
    positions = _positions(header(scope, b"last-event-id") or in_url[-1], len(names))
    return [
        (name, _heard(name, user_name), position)
        for name, position in zip(names, positions, strict=True)
    ]


def _heard(name: str, user_name: str) -> str:
    try:
        return heard_destination(name, user_name)
    except LoginRequired as error:
        raise Refused(403, {"detail": error.message}) from None
    except DestinationError as error:
        raise _wrong("topic", error.message) from None


def _positions(text: str, count: int) -> list[Position | None]:
    """Return the positions in the id of an event: of each topic, in their order, or None."""
    if not _EVENT_ID.fullmatch(text) or text.count(",") >= count:
        raise _wrong("last-event-id", "not the id of an event of these topics")
    positions = [Position.parse(part) for part in text.split(",")]
    return positions + [None] * (count - len(positions))


def _wrong(field: str, error: str) -> Refused:
    return Refused(400, {field: [error]})


def _redis_away() -> Refused:
    retry_after = (b"retry-after", b"%d" % RETRY_SECONDS)
    return Refused(503, {"detail": "Redis is away: try again."}, [retry_after])


async def _answer(send: Any, status: int, body: bytes, headers: Headers) -> None:
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
