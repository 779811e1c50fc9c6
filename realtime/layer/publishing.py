"""Publisher: hand messages to Redis, those of one loop turn in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from realtime.destinations.groups import is_hashed, marks_of, readable_name
from realtime.destinations.names import TOPIC
from realtime.destinations.remembered import REMEMBERED
from realtime.messages.envelope import packer
from realtime.redis.commands import Command
from realtime.redis.connect import execute_all
from realtime.routes.topics import History

from .commands import Plain, Scripted, Section, Sharded
from .fence import Fence
from .scripts import SCRIPTS, history_keys

if TYPE_CHECKING:
    from .layer import TopicLayer

#: Stands before the names of groups, where something is published for patterns alone.
FOR_PATTERNS: Final = "patterns."

_NO_FENCE: Final = Fence("", 0)


class Publication(NamedTuple):
    """
    A message to a group: an envelope, and how it is published.

    Args:
        history: How much of the group is kept; None for nothing.
        idempotency_key: If it was used for the group lately, the message is not published.
        fence: What keeps others from publishing for the same route.
    """

    group: str
    message: dict[str, Any]
    history: History | None = None
    idempotency_key: str | None = None
    fence: Fence | None = None


class Publisher:
    """
    Publish for one channel layer.

    Args:
        layer: Knows the links to each Redis.
        prefix: Stands before the names of groups.
    """

    def __init__(self, layer: TopicLayer, prefix: str) -> None:
        self._layer = layer
        self._prefix = prefix
        self._section = lru_cache(maxsize=REMEMBERED)(self._find_section)

    def publish(self, publications: Sequence[Publication]) -> asyncio.Future[list[Any]]:
        """
        Begin to publish messages, at least one, in the order of the calls.

        The future gets the answer to each once Redis took it, or its error: the position as bytes
        where it is kept, b"" for an entry that had been published, :data:`.TOO_EARLY` for one that
        may not be yet. It fails, with one of :data:`.REDIS_ERRORS`, if nothing is known of any.
        """
        layer = self._layer
        links = layer.links.get(asyncio.get_running_loop()) or layer.open_links()
        commands, places = self._by_shard(publications)
        answers = {
            shard: links.shards[shard].pipeline.submit_all(of_shard, replicas=layer.replicas)
            for shard, of_shard in commands.items()
        }
        shard, last = places[-1]
        if len(answers) == 1 and last == len(publications) - 1:
            return answers[shard]  # all in one, one command each
        return asyncio.ensure_future(_in_places(answers, places))

    def publish_sync(self, publications: Sequence[Publication]) -> list[Any]:
        """
        Publish messages from synchronous code, in one round trip to each Redis, on connections
        that threads share; return the answers.

        Raises:
            redis.RedisError: If Redis did not take all of them.
        """
        layer = self._layer
        commands, places = self._by_shard(publications, at_once=True)
        answers = {
            shard: execute_all(layer.client(shard), of_shard, SCRIPTS, layer.replicas)
            for shard, of_shard in commands.items()
        }
        return [answers[shard][place] for shard, place in places]

    @property
    def busy(self) -> bool:
        """Whether :meth:`ready` would wait."""
        layer = self._layer
        links = layer.links.get(asyncio.get_running_loop()) or layer.open_links()
        for shard in links.shards:
            link = shard.subscriber.link
            if shard.pipeline.full or (link is not None and link.held is not None):
                return True
            if shard.sharded is not None and shard.sharded.behind:
                return True
        return False

    async def ready(self) -> None:
        """
        Return when more may be published: too much on its way to Redis would pile up here, and
        more than this process can hear would pile up there.
        """
        for shard in self._layer.open_links().shards:
            await shard.pipeline.ready()
            await shard.caught_up()

    def _by_shard(
        self, publications: Sequence[Publication], *, at_once: bool = False
    ) -> tuple[dict[int, list[Command]], list[tuple[int, int]]]:
        """Return each Redis' commands, and which and where the one is whose answer counts."""
        commands: dict[int, list[Command]] = {}
        places = []
        several = self._layer.has_several_shards
        for publication in publications:
            shard = self._layer.shard_of(publication.group) if several else 0
            of_shard = commands.setdefault(shard, [])
            of_shard += self._commands(publication, at_once)
            places.append((shard, len(of_shard) - 1))
        return commands, places

    def _commands(self, publication: Publication, at_once: bool) -> Sequence[Command]:
        """
        Return what publishes a message; the answer to the last command counts.

        Args:
            at_once: Whether one round trip has to do for it.
        """
        group, message, history, idempotency_key, fence = publication
        size, ttl = (history.size, history.ttl) if history is not None else (0, 0)
        route, token, entry, after = fence or _NO_FENCE
        destination = message.get("destination", "")
        section = self._section(group, destination, size, ttl, route, token)
        serialize = packer.pack if self._layer.is_plain else self._layer.serialize
        payload = serialize(message)
        names = section.names
        if history is not None or idempotency_key is not None or fence is not None:
            id = message["headers"]["message-id"]
            return (Scripted(section, payload, id, entry, after, idempotency_key),)
        if names[0]:
            return [Plain(channel, payload) for channel in reversed(names)]
        if not at_once:
            return (Sharded(names[1], payload, names[2:]),)
        id = message.get("headers", {}).get("message-id", "")
        return (Scripted(section, payload, id, "", "", None),)

    def _find_section(
        self, group: str, destination: str, size: int, ttl: int, route: str, token: int
    ) -> Section:
        """Return the section for a group; ``ttl`` is in seconds."""
        names = self.heard_as(group, destination)
        texts = map(intern, (str(size), str(ttl * 1000), route, str(token), str(len(names))))
        return Section(names, history_keys(self._prefix + group), (*texts, *names))

    def heard_as(self, group: str, destination: str) -> tuple[str, ...]:
        """
        Return what the scripts have to know of where a group is heard: ``tell`` in stand.lua.

        What is published to a hash, which no pattern can match, is also published for patterns.
        """
        channel = self._prefix + group
        if self._layer.publishes_sharded:
            if not str(destination).startswith(TOPIC):
                return "", channel
            name = readable_name(destination)
            marks = map(self._layer.mark_channel, marks_of(name))
            return "", channel, f"{self._prefix}{FOR_PATTERNS}{name}", *marks
        if destination and is_hashed(group):
            return channel, self._prefix + readable_name(destination)
        return (channel,)


async def _in_places(
    answers: Mapping[int, Awaitable[list[Any]]], places: Sequence[tuple[int, int]]
) -> list[Any]:
    """Return the answers at places in the lists of several Redis; one may fail as a whole."""
    given = await asyncio.gather(*answers.values(), return_exceptions=True)
    lists = dict(zip(answers, given, strict=True))
    return [
        found if isinstance(found := lists[shard], BaseException) else found[place]
        for shard, place in places
    ]
