"""
Publisher: hand messages to Redis, those of one loop turn in one call.

Messages that follow each other travel together, up to 100 of them or 64 KiB: those to one
destination in one section of a call of the script, those to several in a section each; what is not
kept, as one message of its Redis channel. Redis pays for an entry each, and for all else once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from sys import intern
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from realtime.destinations.groups import is_hashed, marks_of, readable_name
from realtime.destinations.names import TOPIC
from realtime.destinations.remembered import REMEMBERED
from realtime.messages.envelope import bundle, packer
from realtime.redis.commands import Command, Joined
from realtime.redis.connect import execute_all
from realtime.redis.pipeline import pack_call, pack_command
from realtime.routes.topics import History

from .fence import Fence
from .scripts import PUBLISH, SCRIPTS, history_keys

if TYPE_CHECKING:
    from .layer import TopicLayer

#: How many messages, and about how many bytes, travel in one call at most: Redis does nothing else
#: meanwhile.
MAX_JOINED: Final = 100
MAX_JOINED_BYTES: Final = 64 * 1024

#: Stands before the names of groups, where something is published for patterns alone.
FOR_PATTERNS: Final = "patterns."

#: How much of a group is kept then, as the script takes it.
NOTHING_KEPT: Final = "0"

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


class Section(NamedTuple):
    """What all publications to one group, from one route, have in common."""

    names: tuple[str, ...]
    keys: tuple[str, str]
    arguments: tuple[str, ...]


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


class Plain:
    """A message that is not kept: a PUBLISH, which may carry others of its Redis channel."""

    __slots__ = ("key", "payload", "size")

    followed = False
    waits = False

    def __init__(self, channel: str, payload: bytes) -> None:
        self.key = channel
        self.payload = payload
        self.size = len(payload)

    def alone(self, by_slot: bool) -> Joined:
        return Bundle(self)


class Sharded(Plain):
    """
    A message that is not kept, to a sharded channel: an SPUBLISH.

    Args:
        patterns: The Redis channel on which patterns hear it, and their marks; or nothing.
    """

    __slots__ = ("patterns",)

    followed = True  # by what patterns hear

    def __init__(self, channel: str, payload: bytes, patterns: tuple[str, ...]) -> None:
        super().__init__(channel, payload)
        self.patterns = patterns

    def alone(self, by_slot: bool) -> Joined:
        return MarkedBundles(self) if self.patterns else ShardedBundle(self)


class Bundle(Joined):
    """Messages of one Redis channel, as one."""

    __slots__ = ("_channel", "_payloads", "_size")

    command: ClassVar[str] = "PUBLISH"

    def __init__(self, first: Plain) -> None:
        self._channel = first.key
        self._payloads = [first.payload]
        self._size = first.size

    def __len__(self) -> int:
        return len(self._payloads)

    def add(self, command: Command) -> bool:
        if not isinstance(command, Plain) or command.key != self._channel:
            return False
        size = self._size + command.size
        if len(self._payloads) == MAX_JOINED or size > MAX_JOINED_BYTES:
            return False
        self._payloads.append(command.payload)
        self._size = size
        return True

    def pack(self, run: str, *, whole: bool = False) -> bytes:
        return pack_command(self.command, self._channel, self.payload)

    def answers(self, answer: Any) -> list[Any]:
        return [answer] * len(self._payloads)

    @property
    def payload(self) -> bytes:
        """What is published."""
        payloads = self._payloads
        return payloads[0] if len(payloads) == 1 else bundle(payloads)


class ShardedBundle(Bundle):
    """Messages of one sharded channel, as one."""

    __slots__ = ()

    command = "SPUBLISH"


class MarkedBundles(Joined):
    """
    Messages of sharded channels that patterns may hear, too: where one of their marks is heard,
    they are then published for these. Redis sends that to all nodes, so it is asked first.

    As plain commands it costs Redis a third of what a script costs that does the same. The marks
    are asked for after the messages: who has left one by then misses none of the next.
    """

    __slots__ = ("_bundles", "_count", "_patterns", "_size", "replies")

    def __init__(self, first: Sharded) -> None:
        self._bundles = [ShardedBundle(first)]
        self._patterns = [first.patterns]
        self._count = 1
        self._size = first.size
        self.replies = 2

    def __len__(self) -> int:
        return self._count

    def add(self, command: Command) -> bool:
        if not isinstance(command, Sharded) or not command.patterns:
            return False
        size = self._size + command.size
        if self._count == MAX_JOINED or size > MAX_JOINED_BYTES:
            return False
        if not self._bundles[-1].add(command):
            self._bundles.append(ShardedBundle(command))
            self._patterns.append(command.patterns)
            self.replies += 1
        self._count += 1
        self._size = size
        return True

    def pack(self, run: str, *, whole: bool = False) -> bytes:
        marks = dict.fromkeys(mark for _, *marks in self._patterns for mark in marks)
        question = pack_command("PUBSUB", "NUMSUB", *marks)
        return b"".join([*(each.pack(run) for each in self._bundles), question])

    def further(self, replies: list[Any]) -> Joined | None:
        *taken, heard = replies
        if isinstance(heard, Exception) or not any(heard[1::2]):
            return None
        marks = {
            mark.decode() for mark, count in zip(heard[::2], heard[1::2], strict=True) if count
        }
        told = {
            place: pack_command("PUBLISH", patterns[0], self._bundles[place].payload)
            for place, patterns in enumerate(self._patterns)
            if not marks.isdisjoint(patterns) and not isinstance(taken[place], Exception)
        }
        return ForPatterns(self, taken, told) if told else None

    def answers(self, answer: Any) -> list[Any]:
        *taken, heard = answer
        failed = heard if isinstance(heard, Exception) else None
        given = [each.answers(failed or of) for each, of in zip(self._bundles, taken, strict=True)]
        return list(itertools.chain.from_iterable(given))


class ForPatterns(Joined):
    """
    What is published for patterns, of what has been published to sharded channels.

    Args:
        taken: What was replied to each of these.
        told: The commands that publish for patterns, and for which place in ``taken`` each does.
    """

    __slots__ = ("_first", "_taken", "_told", "replies")

    def __init__(self, first: MarkedBundles, taken: list[Any], told: dict[int, bytes]) -> None:
        self._first = first
        self._taken = taken
        self._told = told
        self.replies = len(told)

    def __len__(self) -> int:
        return len(self._first)

    def add(self, command: Command) -> bool:
        return False

    def pack(self, run: str, *, whole: bool = False) -> bytes:
        return b"".join(self._told.values())

    def answers(self, answer: Any) -> list[Any]:
        replies = answer if self.replies > 1 else [answer]
        for place, reply in zip(self._told, replies, strict=True):
            self._taken[place] = reply
        return self._first.answers([*self._taken, []])


class Scripted:
    """A message that the script publishes."""

    __slots__ = ("after", "entry", "id", "key", "once", "payload", "section", "size")

    followed = False

    @property
    def waits(self) -> bool:
        """Patterns hear what is not kept here at once, and of a :class:`Sharded` message later."""
        return self.section.arguments[0] == NOTHING_KEPT

    def __init__(
        self,
        section: Section,
        payload: bytes,
        id: str,
        entry: str,
        after: str,
        idempotency_key: str | None,
    ) -> None:
        self.section = section
        self.key = section.keys[0]
        self.payload = payload
        self.id = id
        self.entry = entry
        self.after = after
        self.size = len(payload)
        self.once: tuple[str, ...] = ()
        if idempotency_key is not None:
            self.once = (f"{self.key}:once:{sha256(idempotency_key.encode()).hexdigest()}",)

    def alone(self, by_slot: bool) -> ScriptCall:
        return ScriptCall(self, by_slot)


class ScriptCall(Joined):
    """
    Messages that travel as one call of the script, in sections of those to one group.

    One with an idempotency key travels alone. In a cluster all keys of a call have to be in one
    slot, which those of two groups are not.
    """

    __slots__ = ("_by_slot", "_count", "_sections", "_size")

    def __init__(self, first: Scripted, by_slot: bool) -> None:
        self._sections = [[first]]
        self._by_slot = by_slot
        self._count = 1
        self._size = first.size

    def __len__(self) -> int:
        return self._count

    def add(self, command: Command) -> bool:
        newest = self._sections[-1][-1]
        if not isinstance(command, Scripted) or command.once or newest.once:
            return False
        size = self._size + command.size
        if self._count == MAX_JOINED or size > MAX_JOINED_BYTES:
            return False
        # Within a section what was begun before is there; only the first says what that was.
        if command.section is newest.section and command.after in (newest.after, newest.entry):
            self._sections[-1].append(command)
        elif self._by_slot and command.key != newest.key:
            return False
        else:
            self._sections.append([command])
        self._count += 1
        self._size = size
        return True

    def pack(self, run: str, *, whole: bool = False) -> bytes:
        keys: list[str] = []
        arguments: list[Any] = []
        for messages in self._sections:
            first = messages[0]
            keys += first.section.keys
            keys += first.once
            arguments.append(first.after)
            arguments += first.section.arguments
            arguments.append(len(messages))
            for message in messages:
                arguments += (message.payload, message.id, message.entry)
        return pack_call(PUBLISH, keys, run, arguments, whole)

    def answers(self, answer: Any) -> list[Any]:
        if isinstance(answer, Exception):
            return [answer] * self._count
        if self._sections[0][0].once:
            return list(answer)
        answers: list[Any] = []
        for messages, given in zip(self._sections, answer, strict=True):
            failed = isinstance(given, Exception)
            answers += [given] * len(messages) if failed else given
        return answers


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
