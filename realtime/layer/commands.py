"""
Commands that publish a message, and how those that follow each other travel together.

Up to 100 of them or 64 KiB: those to one destination in one section of a call of the script, those
to several in a section each; what is not kept, as one message of its Redis channel. Redis pays for
an entry each, and for all else once.
"""

from __future__ import annotations

import itertools
from hashlib import sha256
from typing import Any, ClassVar, Final, NamedTuple

from realtime.messages.envelope import bundle
from realtime.redis.commands import Command, Joined
from realtime.redis.pipeline import pack_call, pack_command

from .scripts import PUBLISH

#: How many messages, and about how many bytes, travel in one call at most: Redis does nothing else
#: meanwhile.
MAX_JOINED: Final = 100
MAX_JOINED_BYTES: Final = 64 * 1024

#: How much of a group is kept if nothing is, as the script takes it.
NOTHING_KEPT: Final = "0"


class Section(NamedTuple):
    """What all publications to one group, from one route, have in common."""

    names: tuple[str, ...]
    keys: tuple[str, str]
    arguments: tuple[str, ...]


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
