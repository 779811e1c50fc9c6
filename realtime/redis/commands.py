"""Commands: what is sent to Redis, alone or together with others."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from hashlib import sha1
from typing import Any, Final, NamedTuple, Protocol

import redis
from redis.exceptions import RedisError

#: What a command can raise when Redis is away, hangs or refuses.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

#: Seconds until a connection attempt, or the answer to a command, counts as lost.
CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0


class Script:
    """
    A Lua script. Its first argument is which server process runs it: see :func:`server_run`.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


class Call(NamedTuple):
    """A call of a script that travels by itself, with its arguments after the first."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[Any, ...]


class Joinable(Protocol):
    """A command that may travel together with others of its kind that follow it."""

    @property
    def size(self) -> int:
        """How many bytes it has, about."""

    @property
    def key(self) -> str:
        """Its first key, which tells where it goes in a cluster."""

    @property
    def followed(self) -> bool:
        """Whether another command may follow its answer: see :meth:`Joined.further`."""

    @property
    def waits(self) -> bool:
        """Whether it must not be done between one that may be followed, of its slot, and that."""

    def alone(self, by_slot: bool) -> Joined:
        """
        Return it as what is sent; others may be added.

        Args:
            by_slot: Whether it is for a cluster, where all keys have to be in one slot.
        """


class Joined(ABC):
    """Commands that are sent, and answered, as one."""

    __slots__ = ()

    #: How many replies there are to what is sent; if several, the answer is the list of them.
    replies: int = 1

    @abstractmethod
    def __len__(self) -> int:
        """Return how many they are."""

    @abstractmethod
    def add(self, command: Command) -> bool:
        """Take in the next command, if it can travel with these; return whether it can."""

    @abstractmethod
    def pack(self, run: str, *, whole: bool = False) -> bytes:
        """
        Return what is sent, for the server process whose ``run`` it is.

        Args:
            whole: Whether to send the text of a script: Redis has forgotten it, and keeps it then.
        """

    def further(self, replies: list[Any]) -> Joined | None:
        """
        Return what is to be sent next, seeing several replies; what is answered to that counts.
        """
        return None

    @abstractmethod
    def answers(self, answer: Any) -> list[Any]:
        """Return the answer to each of the commands; it may be an error."""


class Fenced(redis.ResponseError):
    """A script refuses: somebody else has taken over since."""


Command = tuple[Any, ...] | Call | Joinable


def naming(purpose: str) -> tuple[Any, ...]:
    """Return the command that gives a connection its name in CLIENT LIST."""
    return ("CLIENT", "SETNAME", f"gateway:{os.getpid()}:{purpose}")


def preparation(scripts: Iterable[Script]) -> list[tuple[str, ...]]:
    """Return what a new connection is to do before it calls scripts; the last tells the server."""
    loading = [("SCRIPT", "LOAD", script.text) for script in scripts]
    return [*loading, ("INFO", "server")] if loading else []


def server_run(info: bytes) -> str:
    """Return the id of the server process: another after every restart and failover."""
    match = re.search(rb"run_id:(\w+)", info)
    return match[1].decode() if match is not None else ""
