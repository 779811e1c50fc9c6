"""Messages to groups as commands for Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

from realtime.destinations.groups import is_hashed, readable_name
from realtime.redis import Call, Command
from realtime.redis.commands import Publication
from realtime.routes.topics import History

from .fence import Fence
from .scripts import PUBLISH, history_keys


class Submission(NamedTuple):
    """What :meth:`.TopicLayer.submit` takes."""

    group: str
    messages: Sequence[dict[str, Any]]
    history: History | None = None
    once: str | None = None
    fence: Fence | None = None


class _Section(NamedTuple):
    """What all calls of PUBLISH to one group, from one route, have in common."""

    channels: tuple[str, ...]
    keys: tuple[str, ...]
    arguments: tuple[str, ...]


_NO_FENCE: Final = Fence("", 0)


class Publications:
    """
    Make commands of submissions.

    Args:
        prefix: What stands before the names of groups.
        serialize: Makes bytes of a message.
    """

    def __init__(self, prefix: str, serialize: Callable[[dict[str, Any]], bytes]) -> None:
        self._prefix = prefix
        self._serialize = serialize
        self._section = lru_cache(maxsize=65536)(self._find_section)

    def commands(self, submission: Submission) -> list[Command]:
        """Return what publishes; the answer to the last command counts."""
        group, messages, history, once, fence = submission
        plain = history is None and once is None and fence is None and len(messages) == 1
        size, ttl = (history.size, history.ttl) if history is not None else (0, 0)
        route, number, entries, after = fence or _NO_FENCE
        hashed = messages[0].get("destination", "") if is_hashed(group) else ""
        channels, keys, arguments = self._section(group, hashed, size, ttl, route, number)
        if plain:
            payload = self._serialize(messages[0])
            return [Publication("PUBLISH", channel, payload) for channel in reversed(channels)]
        if after:
            arguments = (after, *arguments[1:])
        content: list[str | bytes] = []
        weight = 0
        for message, entry in zip(messages, entries or [""] * len(messages), strict=True):
            payload = self._serialize(message)
            weight += len(payload)
            content += (payload, message["headers"]["message-id"], entry)
        if once is None:
            return [Call(PUBLISH, keys, arguments, content, len(messages), weight)]
        keys = (*keys, f"{keys[0]}:once:{sha256(once.encode()).hexdigest()}")
        return [Call(PUBLISH, keys, (*arguments, "1", *content), size=weight)]

    def _find_section(
        self, group: str, hashed: str, size: int, ttl: int, route: str, number: int
    ) -> _Section:
        """
        Return the section for a group, whose name is the hash of a destination or has none;
        ``ttl`` is in seconds.

        What is published to a hash, which no pattern can match, is also published for patterns.
        """
        channels: tuple[str, ...] = (self._prefix + group,)
        if hashed:
            channels += (self._prefix + readable_name(hashed),)
        kept = (str(size), str(ttl * 1000))
        arguments = ("", *kept, route, str(number), str(len(channels)), *channels)
        return _Section(channels, history_keys(channels[0]), arguments)
