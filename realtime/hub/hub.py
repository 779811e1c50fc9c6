"""Hub: which local subscription hears which destination, through one channel of the layer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, KeysView, Mapping, Sequence
from functools import partial
from typing import Any, Final

from channels.layers import get_channel_layer

from realtime.counters import counters, sampler
from realtime.delivery.outbox import this_flusher
from realtime.destinations.groups import group_name
from realtime.destinations.names import INTERNAL, PRESENCE, is_pattern
from realtime.destinations.patterns import pattern_of
from realtime.history.log import Log
from realtime.history.positions import Position
from realtime.layer.layer import TopicLayer
from realtime.layer.plain import PlainLayer, face_of
from realtime.messages.envelope import open_envelope
from realtime.messages.message import Message
from realtime.presence import Presence
from realtime.routes.table import topic_options
from realtime.routes.topics import History

from .feed import Feed, Membership
from .subscription import Subscription

logger = logging.getLogger(__name__)

#: Seconds between two questions where the histories stand.
CHECK_SECONDS: Final = 5.0

#: Seconds after which what was published then has arrived here, or is lost.
ARRIVAL_SECONDS: Final = 1.0

#: After so many deliveries the outboxes write, and others have their turn.
YIELD_DELIVERIES: Final = 1000


class Hub:
    """
    Join the channel-layer group of a destination for its first local subscription, leave it
    with the last, and hand each message that arrives to every one in between.
    """

    def __init__(self) -> None:
        self._layer = face_of(get_channel_layer())
        self._feeds: dict[str, Feed] = {}
        self._behind: dict[str, dict[str, Feed]] = {}  # the feeds of patterns, by their globs
        self._leaving: dict[str, asyncio.Task[None]] = {}  # by what is left, as _heard_as says it
        self._channel: asyncio.Task[str] | None = None
        self._checker: asyncio.Task[None] | None = None
        self._check_now = asyncio.Event()
        self._presence: Presence | None = None
        self._delivered = 0  # since the outboxes last had their turn
        #: Called when a lost connection to Redis was replaced: messages may be missing.
        self.on_renewed: list[Callable[[], None]] = []

    # Who hears

    def subscribe(self, subscription: Subscription) -> Awaitable[None]:
        """
        Add a subscription at once; messages that are published after what this returns has
        been awaited are delivered to it.

        Awaiting raises :class:`redis.RedisError` if Redis is away, and DestinationError if the
        channel layer can't hear such a destination; the subscription is then removed again.
        """
        feed = self._feeds.get(subscription.destination)
        first = feed is None
        if feed is None:
            feed = self._feeds[subscription.destination] = self._open_feed(subscription.destination)
        feed.add(subscription)
        return self._begin(feed, subscription, first)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription: from now on nothing is delivered to it."""
        feed = self._feeds.get(subscription.destination)
        if feed is not None:
            self._remove(feed, subscription)

    async def close(self) -> None:
        """Stop hearing anything."""
        for feed in self._feeds.values():
            feed.close()
        if isinstance(self._layer, PlainLayer):
            self._layer.close()
        if self._presence is not None:
            self._presence.close()
        if self._checker is not None:
            self._checker.cancel()
            await asyncio.wait([self._checker])

    async def _begin(self, feed: Feed, subscription: Subscription, first: bool) -> None:
        """Let a subscription begin once Redis has confirmed that it is heard, now."""
        assert feed.membership is not None
        try:
            await (feed.membership.joined() if first else feed.membership.confirm())
            if subscription in feed.members:
                await feed.begin(subscription)
                self._note_presence(subscription)
        except BaseException:
            self._remove(feed, subscription)
            raise

    def _open_feed(self, destination: str) -> Feed:
        after = self._leaving.get(_heard_as(destination))
        membership = Membership(self._layer, destination, self._open_channel, after)
        history = self._history(destination)
        feed = Feed(history, partial(self._read, destination, history), membership)
        if is_pattern(destination):
            self._behind.setdefault(pattern_of(destination).glob, {})[destination] = feed
        return feed

    def _remove(self, feed: Feed, subscription: Subscription) -> None:
        feed.discard(subscription)
        destination = subscription.destination
        if self._presence is not None:
            self._presence.left(destination, subscription)
        if not feed.members and self._feeds.get(destination) is feed:
            del self._feeds[destination]
            feed.close()
            self._watch_presence(destination, False)
            if not self._is_heard_otherwise(destination):
                leaving = asyncio.create_task(self._leave(destination, feed))
                self._leaving[_heard_as(destination)] = leaving

    def _is_heard_otherwise(self, destination: str) -> bool:
        """Forget a pattern; return whether another one has the same glob."""
        if not is_pattern(destination):
            return False
        glob = pattern_of(destination).glob
        behind = self._behind[glob]
        del behind[destination]
        if not behind:
            del self._behind[glob]
        return bool(behind)

    async def _leave(self, destination: str, feed: Feed) -> None:
        assert feed.membership is not None
        await feed.membership.leave()
        if self._leaving.get(_heard_as(destination)) is asyncio.current_task():
            del self._leaving[_heard_as(destination)]

    async def _open_channel(self) -> str:
        if self._channel is None:
            self._channel = asyncio.create_task(self._listen())
        return await asyncio.shield(self._channel)

    async def _listen(self) -> str:
        try:
            channel = await self._layer.listen(self.receive, self._renewed)
        except BaseException:
            self._channel = None
            raise
        if self._layer.reader is not None:
            self._checker = asyncio.create_task(self._check_histories(), name="realtime-checks")
        return channel

    def _renewed(self) -> None:
        self._check_now.set()
        for tell in self.on_renewed:
            tell()

    # What is shown of it

    @property
    def hears(self) -> bool:
        """Whether nothing is missed now; a channel layer that does not know may miss anything."""
        return isinstance(self._layer, TopicLayer) and self._layer.open_links().hears

    @property
    def destinations(self) -> KeysView[str]:
        """What is heard: destinations and patterns."""
        return self._feeds.keys()

    def position(self, destination: str) -> str | None:
        """Return the position of what was delivered last, if the destination has a history."""
        feed = self._feeds.get(destination)
        return feed.position if feed is not None else None

    def heard(self) -> list[dict[str, Any]]:
        """Return what is heard, by how many, and how much of it comes."""
        return [
            {
                "topic": name,
                "subscribers": len(feed.members),
                "messages": feed.messages,
                "per_second": feed.per_second,
                "position": feed.position,
            }
            for name, feed in self._feeds.items()
            if not name.startswith(INTERNAL)
        ]

    def deliver_here(self, message: Message) -> None:
        """Deliver a message to those who hear its destination on this process only."""
        self._deliver((message,), "", None)

    # What comes

    def receive(
        self, envelopes: Sequence[dict[str, Any]], first: str = "", pattern: str | None = None
    ) -> Awaitable[None] | None:
        """
        Deliver what came together; return what to wait for before the next, if anything. The
        channel layer calls.

        Args:
            first: The position of the first message, or "".
            pattern: The glob by which they came, if they came by one.
        """
        if sampler.expected:
            _follow(envelopes)
        if len(envelopes) == 1:  # a shorter way to the same
            message = open_envelope(envelopes[0], first or None)
            if message is not None:
                return self._deliver((message,), first, pattern)
        messages = _open_all(envelopes, first)
        readable = [message for message in messages if message is not None]
        alike = len({message.destination for message in readable}) == 1
        if len(readable) == len(messages) and alike:
            return self._deliver(readable, first, pattern)
        self._deliver_one_by_one(envelopes, messages, first, pattern)
        return None

    def _deliver(
        self, messages: Sequence[Message], first: str, pattern: str | None
    ) -> Awaitable[None] | None:
        """Deliver, no more at once than others can wait for; return what to wait for."""
        rest: Sequence[Message] = ()
        feeds = self._feeds_of(messages[0].destination, pattern)
        if len(messages) > 1:
            kinds = sum([feed.kinds for feed in feeds])
            step = max(1, YIELD_DELIVERIES // max(1, kinds))
            messages, rest = messages[:step], messages[step:]
        for feed in feeds:
            try:
                count = feed.receive(messages, "" if pattern else first)
                self._delivered += count
                counters.delivered += count
            except Exception:  # what goes wrong here must not end the others
                logger.exception("a message could not be delivered")
        if rest:
            return asyncio.ensure_future(
                self._deliver_later(rest, _after(first, len(messages)), pattern)
            )
        if self._delivered < YIELD_DELIVERIES:
            return None
        self._delivered = 0
        return this_flusher().flushed()

    async def _deliver_later(
        self, messages: Sequence[Message], first: str, pattern: str | None
    ) -> None:
        self._delivered = 0
        await this_flusher().flushed()
        wait = self._deliver(messages, first, pattern)
        if wait is not None:
            await wait

    def _deliver_one_by_one(
        self,
        envelopes: Sequence[dict[str, Any]],
        messages: Sequence[Message | None],
        first: str,
        pattern: str | None,
    ) -> None:
        """Deliver what can be read; what comes after the rest follows nothing."""
        for number, (envelope, message) in enumerate(zip(envelopes, messages, strict=True)):
            if message is None:
                logger.warning(
                    "skipped a message of type %r, version %r: another release sent it",
                    envelope.get("type"),
                    envelope.get("v"),
                )
            else:
                self._deliver([message], _after(first, number), pattern)

    def _feeds_of(self, destination: str, pattern: str | None) -> Sequence[Feed]:
        """Return who hears a destination, or what came to it through the glob of patterns."""
        if pattern is None:
            feed = self._feeds.get(destination)
            return () if feed is None else (feed,)
        behind = self._behind.get(pattern, {}).items()
        return [feed for name, feed in behind if pattern_of(name).matches(destination)]

    # Who is there

    def _note_presence(self, subscription: Subscription) -> None:
        """Say that a user is on a topic, if the routing table wants that said."""
        destination = subscription.destination
        if destination.endswith(PRESENCE):
            self._watch_presence(destination, True)
            return
        is_shown = subscription.user and topic_options(destination).presence
        if is_shown and (presence := self._open_presence()) is not None:
            presence.joined(destination, subscription, subscription.user)

    def _watch_presence(self, destination: str, watched: bool) -> None:
        topic = destination.removesuffix(PRESENCE)
        if topic != destination and (presence := self._open_presence()) is not None:
            presence.watch(topic, watched)

    def _open_presence(self) -> Presence | None:
        """Return what looks after it, on a channel layer that can."""
        if self._presence is None and isinstance(self._layer, TopicLayer):
            self._presence = Presence(self._layer)
        return self._presence

    # What is kept

    def _history(self, destination: str) -> History | None:
        if self._layer.reader is None or is_pattern(destination):
            return None
        return topic_options(destination).history

    async def _read(self, destination: str, history: History | None, count: int) -> Log:
        """Read the history of a destination that has one."""
        assert self._layer.reader is not None and history is not None
        return await self._layer.reader.read(group_name(destination), history, count)

    async def _check_histories(self) -> None:
        """
        Ask where all histories stand, again and again, and at once after a lost connection: a
        lost message is seen with the next one, but the last one has no next.
        """
        assert self._layer.reader is not None
        while True:
            renewed = await _is_set(self._check_now, CHECK_SECONDS)
            self._check_now.clear()
            kept = {name: self._history(name) for name in self._feeds}
            asked = [(name, history) for name, history in kept.items() if history is not None]
            groups = [(group_name(name), history) for name, history in asked]
            for feed in self._feeds.values():
                feed.measure()
            positions = await self._layer.reader.positions(groups)
            if not renewed:
                await asyncio.sleep(ARRIVAL_SECONDS)
            for (name, _), position in zip(asked, positions, strict=True):
                if name in self._feeds and position is not None:  # or the next round will see it
                    self._feeds[name].compare(position)


def _heard_as(destination: str) -> str:
    """Return what the layer hears for a destination: patterns may have the same glob."""
    return pattern_of(destination).glob if is_pattern(destination) else destination


def _follow(envelopes: Sequence[Mapping[str, Any]]) -> None:
    """Look how long messages took, once the outboxes have written: in the turn after the next."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, sampler.delivered, envelopes)


def _open_all(envelopes: Sequence[dict[str, Any]], first: str) -> list[Message | None]:
    at = Position.parse(first) if first else None
    ids = at.ids(len(envelopes)) if at is not None else itertools.repeat(None)
    return list(map(open_envelope, envelopes, ids))


def _after(first: str, count: int) -> str:
    """Return the position of so many messages later; "" has none."""
    at = Position.parse(first) if first and count else None
    return first if at is None else str(at.after(count))


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; return whether it was set in time."""
    # Not by wait_for, which forgets that it was cancelled if the event is set just then (3.11).
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await event.wait()
    return False
