"""Commands for Redis, and how synchronous code has them done."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from hashlib import sha1
from typing import Any, Final, NamedTuple

import hiredis
import redis
from redis.exceptions import RedisError

from .bundles import bundle
from .replicas import check_replicas, wait_command

#: What a command can raise when Redis is away, hangs or refuses.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

#: Seconds until a connection attempt, or the answer to a command, counts as lost.
CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0

#: How many things, and about how many bytes, travel in one call at most: Redis does nothing else
#: meanwhile.
MAX_JOINED: Final = 100
MAX_JOINED_BYTES: Final = 64 * 1024


class Script:
    """
    A Lua script. Its first argument is which server process runs it: see :func:`server_run`.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


class Call(NamedTuple):
    """
    A call of a script, with its arguments after the first.

    Args:
        more: Further arguments, for each of ``parts`` things. A script of such calls takes any
            number of sections: keys; arguments, how many things, and those of each thing. It
            answers with a list of the sections' answers: a list with an answer for each thing, or
            an error. So calls that follow each other can travel as one, and those that differ in
            nothing but their things can share a section.
        size: How many bytes it has, about.
    """

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[Any, ...]
    more: Sequence[Any] = ()
    parts: int = 0
    size: int = 0


class Publication(NamedTuple):
    """
    What publishes a payload to those who can :func:`.unbundle`. Those of one Redis channel that
    follow each other may travel as one.
    """

    command: str
    channel: str
    payload: bytes


class Fenced(redis.ResponseError):
    """A script refuses: somebody else has taken over since."""


Command = tuple[Any, ...] | Call | Publication


class Joined:
    """
    Commands that travel as one, in sections of those that differ only in what can go together.

    Args:
        command: The first of them.
        by_slot: Whether they are for a cluster, where all keys have to be in one slot.
    """

    __slots__ = ("_by_slot", "_parts", "_size", "sections")

    def __init__(self, command: Command, by_slot: bool = False) -> None:
        self.sections: list[list[Any]] = [[command]]
        self._by_slot = by_slot
        self._parts, self._size = _weight(command)

    def __len__(self) -> int:
        return sum(map(len, self.sections))

    def add(self, command: Command) -> bool:
        """Take in the next command, if it can travel with these; return whether it can."""
        more_parts, more_size = _weight(command)
        parts, size = self._parts + more_parts, self._size + more_size
        if not (more_parts and self._parts) or parts > MAX_JOINED or size > MAX_JOINED_BYTES:
            return False
        section = self.sections[-1]
        if _are_alike(section[0], command):
            section.append(command)
        elif self._may_follow(section[0], command):
            self.sections.append([command])
        else:
            return False
        self._parts, self._size = parts, size
        return True

    def _may_follow(self, before: Command, command: Command) -> bool:
        if not isinstance(command, Call) or not isinstance(before, Call):
            return False
        same_slot = not self._by_slot or command.keys == before.keys
        return command.script is before.script and same_slot

    def pack(self, run: str = "") -> bytes:
        """Return what is sent; the server process whose ``run`` it is gets it."""
        packed: bytes = hiredis.pack_command(self._as_one(run))
        return packed

    def _as_one(self, run: str) -> tuple[Any, ...]:
        section = self.sections[0]
        first = section[0]
        if isinstance(first, Call):
            return self._one_call(first.script, run)
        if len(section) == 1:
            return first
        return (*first[:2], bundle([each.payload for each in section]))

    def _one_call(self, script: Script, run: str) -> tuple[Any, ...]:
        keys: list[str] = []
        arguments: list[Any] = []
        for section in self.sections:
            first = section[0]
            keys += first.keys
            arguments += first.arguments
            if len(section) > 1:
                arguments.append(sum([call.parts for call in section]))
                arguments += itertools.chain.from_iterable([call.more for call in section])
            elif first.parts:
                arguments.append(first.parts)
                arguments += first.more
        return ("EVALSHA", script.sha, len(keys), *keys, run, *arguments)

    def answers(self, answer: Any) -> list[Any]:
        """Return the answer to each of the commands; it may be an error."""
        if isinstance(answer, Exception) or not isinstance(self.sections[0][0], Call):
            return [answer] * len(self)
        if not self._parts:
            return [answer]
        answers: list[Any] = []
        for section, given in zip(self.sections, answer, strict=True):
            if len(section) == 1:
                answers.append(given)
            elif isinstance(given, Exception):
                answers += [given] * len(section)
            else:
                rest = iter(given)
                answers += [list(itertools.islice(rest, call.parts)) for call in section]
        return answers


def join(commands: Iterable[Command], by_slot: bool = False) -> list[Joined]:
    """Return the commands in their order, those together that can travel as one."""
    joined: list[Joined] = []
    for command in commands:
        if not joined or not joined[-1].add(command):
            joined.append(Joined(command, by_slot))
    return joined


def _weight(command: Command) -> tuple[int, int]:
    """Return how many things a command has that may go with others, and their bytes."""
    if isinstance(command, Call):
        return command.parts, command.size
    return (1, len(command.payload)) if isinstance(command, Publication) else (0, 0)


def _are_alike(before: Command, command: Command) -> bool:
    """Return whether commands differ only in what can go together."""
    if isinstance(command, Call):
        return isinstance(before, Call) and command[:3] == before[:3]
    return isinstance(before, Publication) and command[:2] == before[:2]


def preparation(scripts: Iterable[Script]) -> list[tuple[str, ...]]:
    """Return what a new connection is to do before it calls scripts; the last tells the server."""
    loading = [("SCRIPT", "LOAD", script.text) for script in scripts]
    return [*loading, ("INFO", "server")] if loading else []


def server_run(info: bytes) -> str:
    """Return the id of the server process: another after every restart and failover."""
    match = re.search(rb"run_id:(\w+)", info)
    return match[1].decode() if match is not None else ""


def execute_each(
    client: redis.Redis,
    commands: Sequence[Command],
    scripts: Iterable[Script] = (),
    replicas: int = 0,
    by_slot: bool = False,
) -> list[Any]:
    """
    Return the answer to each command, which may be an error; all travel in one round trip, and
    none is sent twice. ``by_slot`` as for :class:`Joined`.

    redis-py's own pipeline (8.1) needs twice the processor time.

    Raises:
        redis.RedisError: If it is not known what became of them, or fewer replicas have it.
    """
    connection = client.connection_pool.get_connection()
    try:
        run = _prepare(connection, scripts)
        return _exchange(connection, join(commands, by_slot), run, replicas)
    except BaseException:
        connection.disconnect()  # what was not read is no answer to the next caller
        raise
    finally:
        client.connection_pool.release(connection)


def _exchange(connection: Any, joined: list[Joined], run: str, replicas: int) -> list[Any]:
    packed = [together.pack(run) for together in joined]
    if replicas:
        packed.append(Joined(wait_command(replicas)).pack())
    connection.send_packed_command([b"".join(packed)])
    answers = [together.answers(_read(connection)) for together in joined]
    if replicas:
        check_replicas(connection.read_response(), replicas)
    return list(itertools.chain.from_iterable(answers))


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except (redis.exceptions.NoScriptError, redis.ReadOnlyError):
        raise  # a new connection loads the scripts, or finds the primary
    except redis.ResponseError as error:
        return error


def _prepare(connection: Any, scripts: Iterable[Script]) -> str:
    """Prepare a connection when it is new, and whenever redis-py has made it anew."""
    connection.connect()
    known, run = getattr(connection, "prepared", (None, ""))
    if known is not connection._sock:
        for command in preparation(scripts):
            connection.send_command(*command)
            run = server_run(connection.read_response())
        connection.prepared = (connection._sock, run)
    return str(run)
