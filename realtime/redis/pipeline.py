"""Commands sent over one connection to Redis, as fast as they come."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import hiredis
import redis
from redis.exceptions import NoScriptError

from realtime.concurrency import Backpressure

from .commands import (
    ANSWER_SECONDS,
    REDIS_ERRORS,
    Call,
    Command,
    Joined,
    Script,
)
from .link import Link, Pool
from .replicas import ROLE, ROLE_SECONDS, Batch, check_role
from .slots import Address

logger = logging.getLogger(__name__)

#: What may be on its way to Redis at most, from one pipeline; then :meth:`Pipeline.ready` waits.
MAX_COMMANDS: Final = 10_000
MAX_BYTES: Final = 32 * 1024 * 1024


class Pipeline(Backpressure):
    """
    Send commands in the order of :meth:`submit`, those of one loop turn in one write.

    Nobody waits for the answers to earlier ones. A command is never sent twice: if the link
    dies, each caller whose answer was not read gets the error. Only where Redis says that it has
    forgotten a script (somebody flushed them), so that nothing ran, it is called once more.

    Args:
        pool: Where connections come from.
        scripts: What may be called.
        by_slot: Whether it leads to a node of a cluster, where the keys of a call have to be in one
            slot.
    """

    def __init__(
        self, pool: Pool, scripts: Iterable[Script] = (), *, by_slot: bool = False
    ) -> None:
        super().__init__()
        self._pool = pool
        self._scripts = scripts
        self._by_slot = by_slot
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._asked_at = -math.inf  # for the role of its server
        self._connecting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._unsent: list[_Waiting] = []
        #: What was sent, and who waits; None was asked for the role.
        self._unanswered: deque[tuple[Joined | None, list[_Waiting]]] = deque()
        #: Of several to what was sent first.
        self._replies: list[Any] = []
        #: What did not run, and is sent again before anything else.
        self._again: list[tuple[Joined, list[_Waiting]]] = []
        self._batch: Batch | None = None  # of what is unsent
        self._sent_batch: Batch | None = None
        self._commands = 0
        self._bytes = 0

    def submit(self, command: Command, *, replicas: int = 0) -> asyncio.Future[Any]:
        """
        Queue a command, or the call of a script; the future gets its answer, once so many
        replicas have what it wrote.

        The future fails with one of :data:`.REDIS_ERRORS`.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue((command,), _Answer(self._held(future, replicas)))
        return future

    def submit_all(
        self, commands: Sequence[Command], *, replicas: int = 0
    ) -> asyncio.Future[list[Any]]:
        """
        Queue commands, at least one, as :meth:`submit` does; the future gets the list of their
        answers, where that to a command that failed is its error.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._queue(commands, _Answers(self._held(future, replicas), len(commands)))
        return future

    def _queue(self, commands: Sequence[Command], answer: _Answer) -> None:
        if not self._unsent and self._connecting is None:
            self._loop.call_soon(self._send)
        for place, command in enumerate(commands):
            size = _size_of(command)
            self._bytes += size
            self._unsent.append((command, size, answer, place))
        self._commands += len(commands)

    def _held(self, future: asyncio.Future[Any], replicas: int) -> asyncio.Future[Any]:
        """Return what gets the answer first; the future does when the replicas have it."""
        if not replicas:
            return future
        if self._batch is None:
            self._batch = Batch()
        return self._batch.hold(future, replicas)

    @property
    def full(self) -> bool:
        """Whether so much is on its way that the next should wait."""
        return self._commands >= MAX_COMMANDS or self._bytes >= MAX_BYTES

    async def places(self) -> set[Address | None]:
        """Return the nodes that have keys; None stands for the one server."""
        return {None}

    def place_of(self, key: str) -> Address | None:
        """Return which of them has a key."""
        return None

    async def aclose(self) -> None:
        """Close the connection; commands that wait are answered first."""
        while self._unsent or self._unanswered or self._again:
            sent = itertools.chain(self._unanswered, self._again)
            waiting = itertools.chain(self._unsent, *(each for _, each in sent))
            await asyncio.wait({answer.future for _, _, answer, _ in waiting})
        if self._link is not None:
            self._link.close()
        if self._watch is not None:
            self._watch.cancel()

    def _send(self) -> None:
        if self._again or not self._unsent:
            return
        if self._sent_batch and not self._sent_batch.answered.done():
            return  # Redis reads nothing until it has answered WAIT: what comes goes together
        if self._link is None or self._link.lost.done():
            self._connecting = asyncio.ensure_future(self._connect())
            return
        if not self._unanswered:
            self._link.heard = self._loop.time()
            self._look_later(ANSWER_SECONDS)
        unsent, run = self._take_unsent(), self._link.run
        joined = join([command for command, *_ in unsent], self._by_slot)
        packed = [together.pack(run) for together in joined]
        if not self._by_slot and self._loop.time() - self._asked_at > ROLE_SECONDS:
            self._asked_at = self._loop.time()
            packed.insert(0, ROLE)
            self._unanswered.append((None, []))
        self._link.write(b"".join(packed))
        waiting = iter(unsent)
        for together in joined:
            self._unanswered.append((together, list(itertools.islice(waiting, len(together)))))

    def _take_unsent(self) -> list[_Waiting]:
        unsent, self._unsent = self._unsent, []
        if self._batch is not None:
            self._sent_batch, self._batch = self._batch, None
            self._sent_batch.answered.add_done_callback(lambda answered: self._send())
            self._commands += 1
            unsent.append((self._sent_batch.command, 0, _Answer(self._sent_batch.answered), 0))
        return unsent

    async def _connect(self) -> None:
        try:
            self._link = await Link.connect(
                self._pool, self._answered, self._scripts, purpose="pipeline"
            )
            self._link.lost.add_done_callback(self._lost)
            self._asked_at = -math.inf
            self._send()
        except Exception as error:
            if not isinstance(error, REDIS_ERRORS):
                logger.exception("the connection to Redis failed")
            self._fail(self._take_unsent(), error)
        finally:
            self._connecting = None

    def _answered(self, answer: Any) -> None:
        assert self._link is not None
        together, waiting = self._unanswered[0]
        if together is not None and together.replies > 1:
            self._replies.append(answer)
            if len(self._replies) < together.replies:
                return
            answer, self._replies = self._replies, []
        self._unanswered.popleft()
        if together is None:
            self._take_role(answer)
        elif isinstance(answer, NoScriptError) or self._is_early(waiting):
            self._again.append((together, waiting))
        else:
            self._take(together, waiting, answer)
        if self._again and not self._unanswered and not self._link.lost.done():
            self._send_again()

    def _take_role(self, answer: Any) -> None:
        assert self._link is not None
        try:
            check_role(answer)
        except redis.ReadOnlyError as error:
            self._link.leave(error)

    def _take(self, together: Joined, waiting: list[_Waiting], answer: Any) -> None:
        assert self._link is not None
        if together.replies > 1 and (further := together.further(answer)) is not None:
            self._link.write(further.pack(self._link.run))
            self._unanswered.append((further, waiting))
            return
        answers = together.answers(answer)
        if isinstance(answers[0], redis.ReadOnlyError):
            self._link.leave(answers[0])
        for each, given in zip(waiting, answers, strict=True):
            self._settle(each, given)
        if self.waiting:
            self.release()

    def _is_early(self, waiting: list[_Waiting]) -> bool:
        """Return whether this is a WAIT that came before calls which were sent again."""
        batch = self._sent_batch
        return batch is not None and waiting[0][2].future is batch.answered and batch.incomplete

    def _send_again(self) -> None:
        """
        Send what did not run, once nothing is under way any more: what was sent after it, and what
        came meanwhile, would run before it otherwise.
        """
        assert self._link is not None
        again, self._again = self._again, []
        run = self._link.run
        self._link.write(b"".join([together.pack(run, whole=True) for together, _ in again]))
        self._unanswered += again
        self._send()

    def _settle(self, waiting: _Waiting, given: Any) -> None:
        _, size, answer, place = waiting
        self._commands -= 1
        self._bytes -= size
        answer.take(given, place)

    def _lost(self, lost: asyncio.Future[BaseException]) -> None:
        sent = [*self._again, *self._unanswered]
        waited, self._again, self._unanswered = bool(self._again), [], deque()
        self._replies.clear()
        for _, waiting in sent:
            self._fail(waiting, lost.result())
        if waited and self._unsent and self._connecting is None:
            self._loop.call_soon(self._send)

    def _fail(self, commands: list[_Waiting], error: BaseException) -> None:
        if not isinstance(error, redis.RedisError):
            error = redis.ConnectionError(f"the link to Redis died: {error!r}")
        for each in commands:
            self._settle(each, error)
        if self.waiting:
            self.release()

    def _look_later(self, seconds: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """End a link that owes answers and is silent."""
        self._watch = None
        if self._link is None or not self._unanswered:
            return
        silence = self._loop.time() - self._link.heard
        if silence >= ANSWER_SECONDS:
            self._link.close(redis.TimeoutError(f"no answer for {ANSWER_SECONDS:g} s"))
        else:
            self._look_later(ANSWER_SECONDS - silence)


class Alone(Joined):
    """A command that travels by itself."""

    __slots__ = ("_command",)

    def __init__(self, command: tuple[Any, ...] | Call) -> None:
        self._command = command

    def __len__(self) -> int:
        return 1

    def add(self, command: Command) -> bool:
        return False

    def pack(self, run: str, *, whole: bool = False) -> bytes:
        command = self._command
        if isinstance(command, Call):
            return pack_call(command.script, command.keys, run, command.arguments, whole)
        return pack_command(*command)

    def answers(self, answer: Any) -> list[Any]:
        return [answer]


def pack_call(
    script: Script, keys: Sequence[str], run: str, arguments: Iterable[Any], whole: bool
) -> bytes:
    """Return the call of a script as it is sent, with its text or only its hash."""
    called = ("EVAL", script.text) if whole else ("EVALSHA", script.sha)
    return pack_command(*called, len(keys), *keys, run, *arguments)


def pack_command(*command: Any) -> bytes:
    """Return a command as it is sent."""
    packed: bytes = hiredis.pack_command(command)
    return packed


def _size_of(command: Command) -> int:
    """Return how many bytes a command has, about."""
    if isinstance(command, Call):
        return sum(map(len, command.arguments))
    return sum(map(len, command)) if isinstance(command, tuple) else command.size


def join(commands: Iterable[Command], by_slot: bool = False) -> list[Joined]:
    """Return the commands in their order, those together that can travel as one."""
    joined: list[Joined] = []
    for command in commands:
        if not joined or not joined[-1].add(command):
            if isinstance(command, tuple):
                joined.append(Alone(command))
            else:
                joined.append(command.alone(by_slot))
    return joined


class _Answer:
    """What waits for the answer to a command."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self.future = future

    def take(self, answer: Any, place: int = 0) -> None:
        """Take the answer, or an error; nobody may wait any more."""
        if self.future.done():
            return
        if isinstance(answer, Exception):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


class _Answers(_Answer):
    """What waits for the answers to several commands, each for its place."""

    __slots__ = ("_missing", "_taken")

    def __init__(self, future: asyncio.Future[list[Any]], count: int) -> None:
        super().__init__(future)
        self._missing = count
        self._taken: list[Any] = [None] * count

    def take(self, answer: Any, place: int = 0) -> None:
        self._taken[place] = answer
        self._missing -= 1
        if not self._missing:
            super().take(self._taken)


#: A command, its size in bytes, what its answer is for, and in which place.
_Waiting = tuple[Command, int, _Answer, int]
