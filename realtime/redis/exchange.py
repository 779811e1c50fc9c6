"""Exchange: commands and answers of a synchronous client, in one round trip."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError

from .commands import Command, Fenced, Joined, Script, preparation, server_run
from .pipeline import Alone, join
from .replicas import (
    ROLE,
    ROLE_SECONDS,
    check_replicas,
    check_role,
    is_left,
    note_replica,
    wait_command,
)


def execute_each(
    client: redis.Redis,
    commands: Sequence[Command],
    scripts: Iterable[Script] = (),
    replicas: int = 0,
    by_slot: bool = False,
) -> list[Any]:
    """
    Return the answer to each command, which may be an error; all travel in one round trip, and
    none is sent twice. ``by_slot`` as for :class:`.Joinable`.

    redis-py's own pipeline (8.1) needs twice the processor time.

    Raises:
        redis.RedisError: If it is not known what became of them, or fewer replicas have it.
    """
    connection = client.connection_pool.get_connection()
    try:
        prepared = _prepare(connection, scripts)
        asks = not by_slot and (replicas > 0 or prepared.is_to_ask())
        answers = _exchange(connection, join(commands, by_slot), prepared.run, replicas, asks)
        if any(isinstance(answer, redis.ReadOnlyError) for answer in answers):
            _leave(connection)
        return answers
    except redis.ReadOnlyError:
        _leave(connection)
        raise
    except BaseException:
        connection.disconnect()  # what was not read is no answer to the next caller
        raise
    finally:
        client.connection_pool.release(connection)


def _leave(connection: Any) -> None:
    """Give up a connection, and all others that were made until now, to what is a replica."""
    note_replica(connection)
    connection.disconnect()


def _exchange(
    connection: Any, joined: list[Joined], run: str, replicas: int, asks: bool
) -> list[Any]:
    answers = _ask(connection, [together.pack(run) for together in joined], replicas, asks)
    forgotten = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if forgotten:  # nothing ran
        whole = [joined[at].pack(run, whole=True) for at in forgotten]
        for at, answer in zip(forgotten, _ask(connection, whole, replicas), strict=True):
            answers[at] = answer
    given = [each.answers(answer) for each, answer in zip(joined, answers, strict=True)]
    return list(map(_with_its_kind, itertools.chain.from_iterable(given)))


def _with_its_kind(answer: Any) -> Any:
    """Return an answer; redis-py knows not all kinds of errors."""
    if isinstance(answer, redis.ResponseError) and str(answer).startswith("FENCED "):
        return Fenced(str(answer))
    return answer


def _ask(connection: Any, packed: list[bytes], replicas: int, asks: bool = False) -> list[Any]:
    """
    Return the answers to commands that are sent together, once so many replicas have it all.

    Args:
        asks: Whether the server is asked before them if it is a primary.
    """
    role = [ROLE] if asks else []
    wait = [Alone(wait_command(replicas)).pack("")] if replicas else []
    connection.send_packed_command([b"".join([*role, *packed, *wait])])
    if asks:
        check_role(_read(connection))
    answers = [_read(connection) for _ in packed]
    if replicas:
        check_replicas(connection.read_response(), replicas)
    return answers


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _prepare(connection: Any, scripts: Iterable[Script]) -> _Prepared:
    """
    Prepare a connection when it is new, whenever redis-py has made it anew, and when it has
    carried only commands that need no scripts.
    """
    connection.connect()
    prepared = getattr(connection, "prepared", None)
    if prepared is not None and is_left(connection, prepared.since):
        connection.disconnect()
        connection.connect()
    if prepared is None or prepared.sock is not connection._sock:
        prepared = connection.prepared = _Prepared(connection._sock)
    wanted = frozenset(scripts := tuple(scripts))
    if not wanted <= prepared.scripts:
        for command in preparation(scripts):
            connection.send_command(*command)
            prepared.run = server_run(connection.read_response())
        prepared.scripts = wanted
    return prepared


class _Prepared:
    """What is known of a connection, for as long as it has this socket."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.since = time.monotonic()
        self.scripts: frozenset[Script] = frozenset()
        self.run = ""
        self._asked_at = -math.inf

    def is_to_ask(self) -> bool:
        """Return whether it is time to ask for the role of the server; then it is being asked."""
        now = time.monotonic()
        if now - self._asked_at < ROLE_SECONDS:
            return False
        self._asked_at = now
        return True
