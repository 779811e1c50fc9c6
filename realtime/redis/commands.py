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
        more: Further arguments, for each of ``parts`` things. Calls with some that follow each
            other and differ in nothing else may travel as one, with those of all. The script
            answers with a list; each call's answer is its part.
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


def join(commands: Iterable[Command]) -> list[list[Command]]:
    """Return the commands in their order, those that travel as one together."""
    joined: list[list[Command]] = []
    parts = size = 0
    for command in commands:
        more_parts, more_size = _weight(command)
        parts, size = parts + more_parts, size + more_size
        fits = more_parts > 0 and parts <= MAX_JOINED and size <= MAX_JOINED_BYTES
        if fits and joined and _are_alike(joined[-1][0], command):
            joined[-1].append(command)
        else:
            joined.append([command])
            parts, size = more_parts, more_size
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


def pack(commands: list[Command], run: str = "") -> bytes:
    """Return commands that travel as one, of strings and bytes, as they do."""
    packed: bytes = hiredis.pack_command(_as_one(commands, run))
    return packed


def _as_one(commands: list[Command], run: str) -> tuple[Any, ...]:
    command = commands[0]
    if isinstance(command, Call):
        script, keys, arguments, more, *_ = command
        if len(commands) > 1:
            calls = [each.more for each in commands if isinstance(each, Call)]
            more = list(itertools.chain.from_iterable(calls))
        return ("EVALSHA", script.sha, len(keys), *keys, run, *arguments, *more)
    if len(commands) > 1:
        payloads = [each.payload for each in commands if isinstance(each, Publication)]
        return (*command[:2], bundle(payloads))
    return command


def answers_to(commands: list[Command], answer: Any) -> list[Any]:
    """Return the answer to each of the commands that travelled as one."""
    if isinstance(answer, Exception):
        return [answer] * len(commands)
    if len(commands) == 1 or not isinstance(commands[0], Call):
        return [answer] * len(commands)
    rest = iter(answer)
    calls = [command for command in commands if isinstance(command, Call)]
    return [list(itertools.islice(rest, call.parts)) for call in calls]


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
) -> list[Any]:
    """
    Return the answer to each command, which may be an error; all travel in one round trip, and
    none is sent twice.

    redis-py's own pipeline (8.1) needs twice the processor time.

    Raises:
        redis.RedisError: If it is not known what became of them, or fewer replicas have it.
    """
    connection = client.connection_pool.get_connection()
    try:
        run = _prepare(connection, scripts)
        joined = join(commands)
        packed = [pack(together, run) for together in joined]
        wait = pack([wait_command(replicas)]) if replicas else b""
        connection.send_packed_command([b"".join(packed) + wait])
        answers = [answers_to(together, _read(connection)) for together in joined]
        if replicas:
            check_replicas(connection.read_response(), replicas)
        return list(itertools.chain.from_iterable(answers))
    except BaseException:
        connection.disconnect()  # what was not read is no answer to the next caller
        raise
    finally:
        client.connection_pool.release(connection)


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
