"""Exchange: commands and answers of a synchronous client, in one round trip."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError

from .commands import Command, Joined, Script, preparation, server_run
from .pipeline import Alone, join
from .replicas import check_replicas, wait_command


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
        run = _prepare(connection, scripts)
        return _exchange(connection, join(commands, by_slot), run, replicas)
    except BaseException:
        connection.disconnect()  # what was not read is no answer to the next caller
        raise
    finally:
        client.connection_pool.release(connection)


def _exchange(connection: Any, joined: list[Joined], run: str, replicas: int) -> list[Any]:
    answers = _ask(connection, [together.pack(run) for together in joined], replicas)
    forgotten = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if forgotten:  # nothing ran
        whole = [joined[at].pack(run, whole=True) for at in forgotten]
        for at, answer in zip(forgotten, _ask(connection, whole, replicas), strict=True):
            answers[at] = answer
    given = [each.answers(answer) for each, answer in zip(joined, answers, strict=True)]
    return list(itertools.chain.from_iterable(given))


def _ask(connection: Any, packed: list[bytes], replicas: int) -> list[Any]:
    """Return the answers to commands that are sent together, once so many replicas have it all."""
    wait = [Alone(wait_command(replicas)).pack("")] if replicas else []
    connection.send_packed_command([b"".join([*packed, *wait])])
    answers = [_read(connection) for _ in packed]
    if replicas:
        check_replicas(connection.read_response(), replicas)
    return answers


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ReadOnlyError:
        raise  # a new connection finds the primary
    except redis.ResponseError as error:
        return error


def _prepare(connection: Any, scripts: Iterable[Script]) -> str:
    """
    Prepare a connection when it is new, whenever redis-py has made it anew, and when it has
    carried only commands that need no scripts.
    """
    connection.connect()
    known, loaded, run = getattr(connection, "prepared", (None, frozenset(), ""))
    wanted = frozenset(scripts := tuple(scripts))
    if known is not connection._sock or not wanted <= loaded:
        for command in preparation(scripts):
            connection.send_command(*command)
            run = server_run(connection.read_response())
        connection.prepared = (connection._sock, wanted, run)
    return str(run)
