"""
Replicas: those that are waited for, and those that a connection must not lead to.

What only the primary has is lost when it dies. Redis answers WAIT when so many replicas have what
was written before on the same connection, or after a while with how many have. Only then are the
answers to what was written given out.

An address may lead to another server from one moment to the next, as behind a load balancer, and
what was connected before stays where it is: at a replica now. That refuses what is written with
READONLY; but it takes a PUBLISH, which those at the new primary do not hear. So a connection asks
for the role of its server before what it sends, once a second at most. As soon as one knows that it
is at a replica, all that were made before are given up, also those that only hear.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final

import hiredis
import redis
from redis.exceptions import RedisError

#: Milliseconds that replicas have.
WAIT_MS: Final = 1000

#: Seconds between two questions for the role of a server, while something is sent.
ROLE_SECONDS: Final = 1.0

#: Asks for it; unlike ROLE and INFO it is allowed to nearly everybody.
ROLE: Final[bytes] = hiredis.pack_command(("HELLO",))

#: By address: when a server there was found to be a replica, on the monotonic clock.
_found: dict[object, float] = {}


class NotReplicated(RedisError):
    """Too few replicas have what the primary has taken: it is lost if the primary dies now."""


def wait_command(replicas: int) -> tuple[str, str, str]:
    """Return the command that asks whether so many replicas have what was written before."""
    return ("WAIT", str(replicas), str(WAIT_MS))


def check_replicas(answer: int, replicas: int) -> None:
    """
    Take the answer of WAIT.

    Raises:
        NotReplicated: If it is too small.
    """
    if answer < replicas:
        raise NotReplicated(
            f"{answer} of {replicas} replicas have it; the primary may have taken it"
        )


class Batch:
    """Commands of one write whose answers are given out after the answer of WAIT."""

    def __init__(self) -> None:
        self._replicas = 0
        self._held: list[tuple[asyncio.Future[Any], asyncio.Future[Any]]] = []
        #: Gets the answer of WAIT, or why there is none.
        self.answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.answered.add_done_callback(self._give_out)

    @property
    def command(self) -> tuple[str, str, str]:
        """The WAIT that ends the batch."""
        return wait_command(self._replicas)

    @property
    def incomplete(self) -> bool:
        """Whether some commands have no answer yet."""
        return any(not taken.done() for taken, _ in self._held)

    def hold(self, given: asyncio.Future[Any], replicas: int) -> asyncio.Future[Any]:
        """Return the future for the answer of a command, which ``given`` gets in time."""
        self._replicas = max(self._replicas, replicas)
        taken: asyncio.Future[Any] = given.get_loop().create_future()
        self._held.append((taken, given))
        return taken

    def _give_out(self, answered: asyncio.Future[int]) -> None:
        failure = answered.exception() or self._shortage(answered.result())
        for taken, given in self._held:
            error = taken.exception() or failure
            if given.done():
                continue
            if error is None:
                given.set_result(taken.result())
            else:
                given.set_exception(error)

    def _shortage(self, answer: int) -> NotReplicated | None:
        try:
            check_replicas(answer, self._replicas)
        except NotReplicated as error:
            return error
        return None


def check_role(answer: Any) -> None:
    """
    Take the answer to :data:`ROLE`; a server that does not know the question is a primary.

    Raises:
        redis.ReadOnlyError: If it is a replica.
    """
    said = dict(zip(answer[::2], answer[1::2], strict=False)) if isinstance(answer, list) else {}
    if said.get(b"role") in (b"replica", b"slave"):
        raise redis.ReadOnlyError("the server is a replica now")


def note_replica(connection: Any) -> None:
    """Take note that a connection of redis-py leads to a replica."""
    _found[_address(connection)] = time.monotonic()


def is_left(connection: Any, since: float) -> bool:
    """Return whether a replica was found at the address of a connection since it was made."""
    return _found.get(_address(connection), -math.inf) >= since


def _address(connection: Any) -> object:
    path = getattr(connection, "path", None)  # of a Unix socket
    return path or (connection.host, connection.port)
