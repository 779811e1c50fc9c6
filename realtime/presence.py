"""
Presence: which users are on a topic, over all nodes, and who joins and leaves.

Topics have it where the routing table says so: ``topic("/topic/rooms/*", presence=True)``. Whoever
hears ``TOPIC/$presence`` gets a message for each user that comes and goes::

    {"event": "join", "user": "alice"}        {"event": "leave", "user": "alice"}

A user with several sessions comes with the first, and goes with the last, :data:`HOLD_OFF_SECONDS`
after it: a page that is loaded anew is no news. Redis decides, in one step, and publishes
(``presence.lua``), so no node says twice what another has said, and all hear it in one order. Of a
node that dies the leases end within :data:`LEASE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final

from channels.layers import get_channel_layer

from .destinations.groups import group_name
from .destinations.names import PRESENCE
from .layer.layer import TopicLayer
from .layer.scripts import PRESENCE as SCRIPT
from .layer.scripts import SCRIPTS, presence_keys
from .messages.message import ENVELOPE_TYPE, ENVELOPE_VERSION, Message, new_id
from .redis.commands import REDIS_ERRORS, Call
from .redis.connect import execute_all

logger = logging.getLogger(__name__)

#: Seconds after which a user has left who heard a topic with no session any more.
HOLD_OFF_SECONDS: Final = 15.0

#: Seconds that a node's leases live, and after which it renews them.
LEASE_SECONDS: Final = 20.0
RENEW_SECONDS: Final = 5.0

#: Seconds in which what changes travels together.
ROUND_SECONDS: Final = 0.1


class Presence:
    """
    The users of this node on topics.

    Args:
        layer: Knows the links to each Redis.
    """

    def __init__(self, layer: TopicLayer) -> None:
        self._layer = layer
        self._node = secrets.token_hex(8)
        self._topics: defaultdict[str, _Topic] = defaultdict(_Topic)
        self._changed: set[str] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def joined(self, topic: str, subscription: Hashable, user: str) -> None:
        """Take note that a subscription of a user hears a topic."""
        self._topics[topic].here[subscription] = user
        self._wake(topic)

    def left(self, topic: str, subscription: Hashable) -> None:
        """Take note that it does not any more; nothing happens if it never did."""
        known = self._topics.get(topic)
        if known is not None and known.here.pop(subscription, None) is not None:
            self._wake(topic)

    def watch(self, topic: str, watched: bool) -> None:
        """Look after a topic as long as it is watched here: leases of other nodes end, too."""
        self._topics[topic].watched = watched
        self._wake(topic)

    def close(self) -> None:
        """Look after nothing any more: the leases of this node end by themselves."""
        if self._task is not None:
            self._task.cancel()

    def _wake(self, topic: str) -> None:
        self._changed.add(topic)
        self._woken.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="realtime-presence")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + RENEW_SECONDS
        while True:
            await _set_before(self._woken, min([renew_at, *self._leaving_at()]))
            self._woken.clear()
            await asyncio.sleep(ROUND_SECONDS)
            now = loop.time()
            renews = now >= renew_at
            if renews:
                renew_at = now + RENEW_SECONDS
            changed, self._changed = self._changed, set()
            due = {name for name, topic in self._topics.items() if topic.next_leaving() <= now}
            for name in tuple(self._topics) if renews else changed | due:
                await self._tell(name, now, renews)

    def _leaving_at(self) -> Iterable[float]:
        return [topic.next_leaving() for topic in self._topics.values()]

    async def _tell(self, name: str, now: float, renews: bool) -> None:
        """Tell Redis what has changed on a topic, and renew the leases if it is time."""
        topic = self._topics[name]
        joining, leaving, staying = topic.changes(now)
        if not renews:
            staying = set()
        elif not (joining or leaving or staying or topic.watched):
            del self._topics[name]
            return
        wanted: list[Any] = []
        for user in sorted(joining):
            hello, goodbye = (self._said(name, event, user) for event in ("join", "leave"))
            wanted += ("join", user, hello, goodbye)
        for what, users in (("leave", leaving), ("stay", staying)):
            for user in sorted(users):
                wanted += (what, user, "", "")
        try:
            missing, _ = await self._call(name, wanted)
        except REDIS_ERRORS as error:
            logger.debug("could not tell who is on %s: %s", name, error)
            self._changed.add(name)  # again with the next round
            return
        topic.note(joining, leaving)
        if missing:
            topic.told -= {user.decode() for user in missing}
            self._wake(name)

    def _call(self, topic: str, wanted: Sequence[Any]) -> asyncio.Future[Any]:
        layer = self._layer
        shard = layer.open_links().shards[layer.shard_of(group_name(topic + PRESENCE))]
        return shard.pipeline.submit(_call(layer, topic, self._node, wanted))

    def _said(self, topic: str, event: str, user: str) -> bytes:
        message = Message.of(topic + PRESENCE, {"event": event, "user": user})
        envelope = {
            "type": ENVELOPE_TYPE,
            "v": ENVELOPE_VERSION,
            "destination": message.destination,
            "headers": {**message.headers, "message-id": new_id()},
            "body": message.body,
        }
        data: bytes = self._layer.serialize(envelope)
        return data


class _Topic:
    """The users of this node on one topic."""

    def __init__(self) -> None:
        #: Who hears it now, by their subscriptions.
        self.here: dict[Hashable, str] = {}
        #: Of whom Redis knows, by this node.
        self.told: set[str] = set()
        #: Whether somebody here hears who comes and goes.
        self.watched = False
        self._leaving_at: dict[str, float] = {}

    def next_leaving(self) -> float:
        """Return when the next user has left for good, on the loop's clock."""
        return min(self._leaving_at.values(), default=float("inf"))

    def changes(self, now: float) -> tuple[set[str], set[str], set[str]]:
        """Return who joins, who has left for good, and who stays as Redis knows it."""
        here = set(self.here.values())
        gone = self.told - here
        self._leaving_at = {
            user: self._leaving_at.get(user, now + HOLD_OFF_SECONDS) for user in gone
        }
        leaving = {user for user, at in self._leaving_at.items() if at <= now}
        return here - self.told, leaving, self.told - leaving

    def note(self, joined: set[str], left: set[str]) -> None:
        """Take note of what Redis knows now."""
        self.told = (self.told | joined) - left
        for user in left:
            self._leaving_at.pop(user, None)


def users_on(topic: str) -> list[str]:
    """
    Return the users on a topic that has presence, over all nodes, from synchronous code: what was
    said of those who joined and left adds up to this.

    Raises:
        redis.RedisError: If Redis is away.
    """
    layer = get_channel_layer()
    if not isinstance(layer, TopicLayer):
        return []
    client = layer.client(layer.shard_of(group_name(topic + PRESENCE)))
    ((_, users),) = execute_all(client, [_call(layer, topic, "", ())], SCRIPTS)
    return sorted(user.decode() for user in users)


def _call(layer: TopicLayer, topic: str, node: str, wanted: Sequence[Any]) -> Call:
    destination = topic + PRESENCE
    group = group_name(destination)
    names = layer.publisher.heard_as(group, destination)
    life = str(int(LEASE_SECONDS * 1000))
    arguments = (node, life, str(len(names)), *names, *wanted)
    return Call(SCRIPT, presence_keys(layer.channel_of(group)), arguments)


async def _set_before(event: asyncio.Event, at: float) -> None:
    """Return when an event is set, or at a time of the loop's clock."""
    try:
        async with asyncio.timeout_at(at):
            await event.wait()
    except TimeoutError:
        pass
