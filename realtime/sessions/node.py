"""Node: what one server process holds once for all of its sessions."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, Protocol
from weakref import WeakSet

from realtime.access.limits import again_in, refusals
from realtime.concurrency import per_loop
from realtime.conf import conf
from realtime.counters import counters, sampler
from realtime.hub.hub import Hub
from realtime.messages.message import Message
from realtime.stomp import ProtocolError, StompError, TooMany

from .heartbeats import TICK_SECONDS
from .records import SessionWriter
from .revocation import Revocation
from .session import Session

logger = logging.getLogger(__name__)

#: Seconds until a clock that failed is looked at again.
FAILED_SECONDS: Final = 1.0

#: So many clocks are looked at in a turn of the event loop: to end a session takes 60 us, and
#: thousands may be due at once.
TICKS_PER_TURN: Final = 50

#: Seconds after which a user with too many sessions may try again, at least.
RETRY_SECONDS: Final = 10.0


class Member(Protocol):
    """A session of a node, as the node knows it."""

    session: Session

    def tick(self, now: float) -> float:
        """Do what is due at ``now``, on the loop's clock; return when to look again."""

    async def recheck(self, user: Any) -> None:
        """Ask the rules again for what is heard, for the user as the database has it now."""

    def fail(self, error: StompError) -> None:
        """End, and say why."""

    def unsubscribe(self, key: str, error: StompError) -> None:
        """End one of its subscriptions, and say why."""

    def tell(self, key: str, message: Message) -> None:
        """Send it a message, which others don't get, on one of its subscriptions."""


class Load(NamedTuple):
    """How much a node has to do: its sessions, what they hear, and what waits for them."""

    sessions: int
    subscriptions: int
    slow: int  # sessions that read more slowly than messages come for them
    waiting_bytes: int


#: What else runs on each node, as long as it does; the app adds what lies above.
services: Final[list[Callable[[Any], Coroutine[Any, Any, None]]]] = []


class Node:
    """
    One server process: its :class:`Hub`, its sessions, and one clock for all of them.

    Get it with :func:`this_node`; it starts with the first session.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.id = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(3)}"
        self.hub = Hub()
        #: It is told to end: nobody should send it new clients.
        self.draining = False
        self._writer = SessionWriter(self.id)
        self._revocation = Revocation(self.hub, lambda: self.members)
        self._due: dict[Member, float] = {}
        self._silent: dict[Member, None] = {}  # those that have not sent CONNECT, in their order
        self._users: dict[Member, Any] = {}
        self._counts: Counter[Any] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        nodes.add(self)

    def start(self) -> None:
        """Begin to look after sessions, and to be seen by operators; once."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._tick(), name="realtime-clock"),
                asyncio.create_task(self._writer.run(), name="realtime-sessions"),
                asyncio.create_task(self._revocation.run(), name="realtime-revocation"),
                *(asyncio.create_task(serve(self), name="realtime-nodes") for serve in services),
            ]

    def add(self, member: Member) -> None:
        """Take in a session: look after its clock."""
        self.start()
        counters.sessions += 1
        self._due[member] = 0.0

    def expect_connect(self, member: Member) -> None:
        """Wait for CONNECT, which honest clients send at once; who waited longest makes room."""
        self._silent[member] = None
        if 0 < conf.STOMP_SILENT_CONNECTIONS < len(self._silent):
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            text = f"{conf.STOMP_SILENT_CONNECTIONS} others wait without a CONNECT"
            refusals.note("silent-connections", (oldest.session.address,), text)
            oldest.fail(ProtocolError(f"CONNECT did not come, and {text}", code="connect-timeout"))

    def heard_connect(self, member: Member) -> None:
        """Take note that CONNECT has come."""
        self._silent.pop(member, None)

    def enter(self, member: Member) -> None:
        """
        Let a session in, once it is known whose it is: count it, and show it to operators. Those
        that come and never log in are not worth a row.

        Raises:
            TooMany: If its user has one too many.
        """
        self.logged_in(member)
        self._count(member)
        self._writer.opened(member.session)
        logger.debug("connected", extra=member.session.log_fields)

    def _count(self, member: Member) -> None:
        session, most = member.session, conf.STOMP_CONNECTIONS_PER_USER
        if session.user is None or most <= 0:
            return
        if self._counts[session.user.pk] >= most:
            text = f"more than {most} connections of {session.user_name!r}"
            refusals.note("too-many-connections", (session.address,), text)
            raise TooMany(text, code="too-many-connections", retry_after=again_in(RETRY_SECONDS))
        self._counts[session.user.pk] += 1
        self._users[member] = session.user.pk

    def logged_in(self, member: Member) -> None:
        """Look at a login again whose user was looked at while it was under way."""
        self._revocation.check(member.session.login)

    @property
    def members(self) -> list[Member]:
        """The sessions that live here."""
        return list(self._due)

    def load(self) -> Load:
        """Return how much there is to do now; from any thread."""
        now = self.loop.time()
        sessions = [member.session for member in self.members]
        outboxes = [session.outbox for session in sessions if session.outbox is not None]
        return Load(
            len(sessions),
            sum([session.subscriptions for session in sessions]),
            sum([outbox.is_slow(now) for outbox in outboxes]),
            sum([outbox.unsent_bytes for outbox in outboxes]),
        )

    def wake(self, member: Member) -> None:
        """Look at this session's clock at the next tick: something changed."""
        self._due[member] = 0.0

    def discard(self, member: Member) -> None:
        """Forget a session that ended."""
        self._due.pop(member, None)
        self._silent.pop(member, None)
        if member in self._users:
            user = self._users.pop(member)
            self._counts[user] -= 1
            if not self._counts[user]:
                del self._counts[user]
        logger.debug("disconnected", extra=member.session.log_fields)
        self._writer.closed(member.session)

    async def close(self) -> None:
        """End the node: its rows leave the database."""
        await self.hub.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            await self._writer.close()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        expected = loop.time()
        while True:
            now = loop.time()
            counters.loop_seconds.observe(max(0.0, now - expected))
            sampler.arm()
            due = [member for member, at in self._due.items() if at <= now]
            while due:
                self._look(due[-TICKS_PER_TURN:], now)
                del due[-TICKS_PER_TURN:]
                await asyncio.sleep(0)
            expected = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)

    def _look(self, members: Sequence[Member], now: float) -> None:
        for member in members:
            if member in self._due:
                self._tick_one(member, now)

    def _tick_one(self, member: Member, now: float) -> None:
        """Let one see the time; whatever becomes of it, the clock of the others goes on."""
        try:
            due = member.tick(now)
        except Exception:
            logger.exception("the clock of a session failed")
            due = now + FAILED_SECONDS
        if member in self._due:
            self._due[member] = due


#: Those of this process, for who is on none of their event loops.
nodes: Final[WeakSet[Node]] = WeakSet()

#: Return the node of this event loop.
this_node = per_loop(Node)
