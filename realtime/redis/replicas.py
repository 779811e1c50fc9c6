"""
Waiting for replicas: what only the primary has is lost when it dies.

Redis answers WAIT when so many replicas have what was written before on the same connection, or
after a while with how many have. Only then are the answers to what was written given out.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from redis.exceptions import RedisError

#: Milliseconds that replicas have.
WAIT_MS: Final = 1000


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
