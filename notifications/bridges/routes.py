"""The entries of the routing table that lead to Redis and from there: see the package."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final, Literal, NamedTuple

from realtime.conf import conf
from realtime.messages.message import Message
from realtime.redis import pipeline_to, without_password
from realtime.routes.applications import ForwardRoute
from realtime.routes.table import routing_table
from realtime.sessions.session import Session

from .formats import WRITERS, Fields, as_fields, read
from .store import prefix

Kind = Literal["channel", "pattern", "stream", "outbox"]

#: One for Redis.
Command = tuple[str | bytes, ...]

#: In a destination of :func:`from_pattern`: what so many a ``*`` matched.
PLACEHOLDER: Final = re.compile(r"\{(\d+)\}")

_SEGMENT: Final = re.compile(r"[^/*]+")


class Arrival(NamedTuple):
    """
    What came by a route.

    Args:
        fields: Those of an entry; of a Redis channel ``message`` alone.
        channel: The Redis channel, if it came by one.
        entry: The id of the entry, so that ids compare as text; "" if it came by a channel.
    """

    fields: Fields
    channel: bytes = b""
    entry: str = ""

    @property
    def original(self) -> Fields:
        """What a dead letter keeps."""
        if not self.channel:
            return self.fields
        return {b"payload": self.fields[b"message"], b"channel": self.channel}


@dataclass(frozen=True)
class IncomingRoute:
    """
    What services publish on Redis channels, or append to a stream, goes to destinations.

    Args:
        source: The name of the channel or the stream, or the glob-style pattern of channels.
        to: The destination; "" if the format says it.
        format: One of :data:`.formats.READERS`.
        redis: The URL of its Redis, if it is not the gateway's.
        own_group: The consumer group of a stream, if it is not named after the gateway.
    """

    kind: Kind
    source: str
    to: str
    format: str
    redis: str | None = None
    own_group: str | None = None

    @cached_property
    def id(self) -> str:
        """Its name, for people and in Redis; no other route has it."""
        at = f"@{without_password(self.redis)}" if self.redis is not None else ""
        return f"{self.kind}:{self.source}{at}"

    @property
    def url(self) -> str:
        """Where its Redis is."""
        return self.redis or conf.REDIS_URL

    @property
    def group(self) -> str:
        """The consumer group with which a stream is read."""
        return self.own_group or prefix()

    def read(self, arrival: Arrival) -> Message:
        """
        Return the message that came.

        Raises:
            ValueError: If what came is none; says why.
        """
        to = self._fill(arrival.channel) if self.kind == "pattern" and self.to else self.to
        return read(self.format, arrival.fields, to, self.id)

    def _fill(self, channel: bytes) -> str:
        match = compile_glob(self.source).fullmatch(channel)
        if match is None:
            raise ValueError(f"the Redis channel {channel!r:.200} does not match {self.source}")
        return PLACEHOLDER.sub(lambda number: _as_segment(match[int(number[1])]), self.to)


@dataclass(frozen=True)
class OutgoingRoute(ForwardRoute):
    """What clients send to an application destination goes to a Redis channel or stream."""

    kind: Kind = "channel"
    name: str = ""
    format: str = ""
    redis: str | None = None


def from_channel(
    channel: str, *, to: str = "", format: str = "", redis: str | None = None
) -> IncomingRoute:
    """
    Consume what is published on a Redis channel to a topic.

    Args:
        to: The topic; without it each payload has to be an ``envelope``, which names it.
        format: One of :mod:`.formats`; ``json-string`` with ``to``.
        redis: The URL of another Redis than the gateway's.
    """
    return IncomingRoute("channel", channel, to, format or _default(to, "envelope"), redis)


def from_pattern(
    pattern: str, *, to: str = "", format: str = "", redis: str | None = None
) -> IncomingRoute:
    """
    Consume what is published on all Redis channels that match a glob-style pattern, as
    :func:`from_channel`.

    In ``to``, ``{1}``, ``{2}``... stand for what each ``*`` matched: as little as possible, the
    first one first. It has to be one segment of a destination.
    """
    return IncomingRoute("pattern", pattern, to, format or _default(to, "envelope"), redis)


def from_stream(
    stream: str,
    *,
    to: str = "",
    format: str = "",
    redis: str | None = None,
    group: str | None = None,
) -> IncomingRoute:
    """
    Consume the entries of a Redis stream, in its order and none twice on one topic.

    Args:
        to: The topic; without it each entry names it in its field ``topic``.
        format: ``fields`` without ``to``, ``json-string`` with it, or another one of
            :mod:`.formats`, which then reads the field ``message``.
        redis: The URL of another Redis than the gateway's.
        group: The consumer group; named after the gateway without.
    """
    return IncomingRoute("stream", stream, to, format or _default(to, "fields"), redis, group)


def to_channel(
    pattern: str, channel: str, *, format: str = "json-string", redis: str | None = None
) -> OutgoingRoute:
    """
    Publish what clients send to an application destination on a Redis channel.

    Args:
        pattern: The application destination; ``{variables}`` stand for segments.
        format: One of :mod:`.formats`, but ``fields``.
        redis: The URL of another Redis than the gateway's.
    """

    def command(message: Message, session: Session) -> Command:
        return ("PUBLISH", channel, WRITERS[format](message, session))

    return _outgoing("channel", pattern, channel, format, redis, command)


def to_stream(
    pattern: str,
    stream: str,
    *,
    maxlen: int = 10_000,
    format: str = "fields",
    redis: str | None = None,
) -> OutgoingRoute:
    """
    Append what clients send to an application destination to a Redis stream.

    Args:
        maxlen: About how many entries the stream keeps.
        format: ``fields`` for the body as it is, and the field ``topic`` where the SEND has such a
            header; with another one of :mod:`.formats` there is the field ``message`` alone.
    """
    add = ("XADD", stream, "MAXLEN", "~", str(maxlen), "*")

    def command(message: Message, session: Session) -> Command:
        return (*add, *as_fields(format, message, session))

    return _outgoing("stream", pattern, stream, format, redis, command)


def incoming_routes() -> list[IncomingRoute]:
    """Return what ``manage.py bridge`` consumes: the routes of the table, and the outboxes."""
    outboxes = [IncomingRoute("outbox", alias, "", "rows") for alias in conf.STOMP_OUTBOX]
    return [*routing_table().entries(IncomingRoute), *outboxes]


def outgoing_routes() -> list[OutgoingRoute]:
    """Return the routes of the table that lead to Redis."""
    return routing_table().entries(OutgoingRoute)


@cache
def compile_glob(pattern: str) -> re.Pattern[bytes]:
    """Return what matches the same as Redis' glob-style pattern; each ``*`` is a group."""
    parts = re.findall(rb"\\.|\[(?:\\.|[^\]])*\]|.", pattern.encode(), re.DOTALL)
    return re.compile(b"".join(map(_translate, parts)), re.DOTALL)


def _translate(part: bytes) -> bytes:
    if part == b"*":
        return b"(.*?)"
    if part == b"?":
        return b"."
    if part.startswith(b"[") and len(part) > 2:
        return b"[" + part[1:-1].replace(b"[", rb"\[") + b"]"
    return re.escape(part[-1:])


def _as_segment(matched: bytes) -> str:
    try:
        segment = matched.decode()
    except UnicodeDecodeError:
        segment = ""
    if _SEGMENT.fullmatch(segment) is None:
        raise ValueError(f"{matched!r:.200} can't be a segment of a destination")
    return segment


def _default(to: str, without: str) -> str:
    return "json-string" if to else without


def _outgoing(
    kind: Kind,
    pattern: str,
    name: str,
    format: str,
    redis: str | None,
    command: Callable[[Message, Session], Command],
) -> OutgoingRoute:
    def forward(message: Message, session: Session) -> asyncio.Future[Any]:
        return pipeline_to(redis or conf.REDIS_URL).submit(command(message, session))

    return OutgoingRoute(pattern, forward, kind=kind, name=name, format=format, redis=redis)
