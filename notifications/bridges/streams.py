"""
Reading a Redis stream, for as long as a route is held.

Entries are read with a consumer group, in which every owner is a consumer of its own, and
acknowledged once what they hold was taken. A new owner first takes over all that is pending, in
order. So it does again, as another consumer, whenever anything failed, or when it sees that
others have entries: a former owner that was asleep, or a connection given up, may still have
been reading. Nothing after them is published before.

A stream that was deleted and begun anew may have ids that were there before. So it is seen, before
it is read, whether the entry that was consumed last is still what it was; if not, ids count anew.

They are published while the next are read and begun. Each says which one was begun
before it for its destination, and is not taken unless that was: so what failed can be tried again
in order, whatever has become of what came after it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import Any, Final

from redis import ResponseError

from realtime import broker
from realtime.layer.publishing import MAX_JOINED
from realtime.redis import REDIS_ERRORS, Call, Script, create_pool, open_pipeline, pipeline_to

from .publisher import Begun, Publisher, settled
from .routes import Arrival
from .store import digest_of

#: How many entries are read at once, and about how many bytes.
MAX_ENTRIES: Final = 1000
MAX_BYTES: Final = 1024 * 1024

#: How many of them are begun at once: then Redis gets them, while the next are begun; and how many
#: such parts may have been begun and not ended.
PART_ENTRIES: Final = MAX_JOINED
MAX_PARTS: Final = 16

#: How long a reading waits for entries; who is to end waits for it.
BLOCK_MILLISECONDS: Final = 500

#: Seconds until a Redis that was away is asked again.
RETRY_SECONDS: Final = 1.0

#: Milliseconds after which a consumer that does nothing is forgotten, unless it has entries.
FORGET_MILLISECONDS: Final = 3600 * 1000

#: KEYS: the stream. ARGV: run, group, ms.
_FORGET: Final = Script(
    """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[2])) do
  local name, pending, idle = consumer[2], consumer[4], consumer[6]
  if pending == 0 and idle > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[2], name)
  end
end
"""
)

#: What Redis says when somebody has deleted the group, or the stream.
_NO_GROUP: Final = ("NOGROUP", "UNBLOCKED")

#: An id, and names and values by turns; these are None if the entry was deleted.
Entry = tuple[bytes, list[bytes] | None]


async def consume_stream(publisher: Publisher) -> None:
    """
    Consume the entries of a route's stream until cancelled; what was begun by then is still
    acknowledged.

    Redis, the stream and the group may come and go.

    Raises:
        LeaseLost: If another process may consume the route.
    """
    reader = _Reader(publisher)
    publisher.ready()
    try:
        while True:
            await reader.read()
    finally:
        await reader.aclose()


class _Reader:
    def __init__(self, publisher: Publisher) -> None:
        route = publisher.route
        self._publisher = publisher
        self._stream, self._group = route.source, route.group
        self._consumer = ""
        self._numbers = itertools.count(1)
        #: By destination, the newest entry that was begun and is not known to be taken.
        self._latest: dict[str, str] = {}
        #: The parts that are being consumed, the oldest first.
        self._under_way: deque[asyncio.Task[str]] = deque()
        #: Nothing else can be asked while Redis waits for entries.
        self._reading = open_pipeline(create_pool(route.url), [_FORGET])
        self._pipeline = pipeline_to(route.url)
        self._count = 1
        self._newest_read = ""

    async def aclose(self) -> None:
        await self._reading.aclose()

    async def read(self) -> None:
        """Consume all entries in their order; return when it has to begin anew."""
        self._consumer = f"{self._publisher.lease.owner_id} {next(self._numbers)}"
        self._latest.clear()
        self._newest_read = ""
        try:
            await self._consume_all()
        except ResponseError as error:
            if not str(error).startswith(_NO_GROUP):
                await self._pause(error)
        except REDIS_ERRORS as error:
            await self._pause(error)

    async def _consume_all(self) -> None:
        try:
            made = await self._make_group()
            await self._recognise(made)
            await self._consume_pending()
            await self._consume_new()
        finally:
            await asyncio.gather(*self._under_way, return_exceptions=True)
            self._under_way.clear()

    async def _pause(self, error: BaseException) -> None:
        self._publisher.failed(error)
        await asyncio.sleep(RETRY_SECONDS)

    async def _make_group(self) -> bool:
        """Make the group if it is not there; return whether it was made."""
        made = True
        try:
            await self._submit("XGROUP", "CREATE", self._stream, self._group, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            made = False
        forget = (self._group, str(FORGET_MILLISECONDS))
        await self._reading.submit(Call(_FORGET, (self._stream,), forget))
        return made

    async def _recognise(self, made: bool) -> None:
        """
        See whether the stream is the one that was consumed before.

        Args:
            made: Whether the group was missing, as after the stream was deleted.
        """
        life = self._publisher.life
        if not life.newest:
            return
        found = await self._submit("XRANGE", self._stream, life.newest, life.newest)
        if found:
            same = digest_of(found[0][1]) == life.digest
        else:  # trimmed, unless nothing has ever been where it was
            same = not made and await self._last_id() >= life.text(life.newest.encode())
        if not same:
            self._publisher.lease.check()
            await self._publisher.begin_anew()

    async def _last_id(self) -> str:
        about = await self._submit("XINFO", "STREAM", self._stream)
        said = dict(zip(about[::2], about[1::2], strict=True))
        return self._publisher.life.text(said[b"last-generated-id"])

    async def _consume_pending(self) -> None:
        """Take over and consume what was read and not acknowledged, by whomever."""
        cursor = b"0-0"
        while True:
            claim = ("XAUTOCLAIM", self._stream, self._group, self._consumer, "0", cursor)
            cursor, entries, *deleted = await self._submit(*claim, "COUNT", str(self._count))
            if deleted and deleted[0]:
                self._publisher.failed(f"{len(deleted[0])} entries were deleted before their turn")
            await self._consume(entries)
            if cursor == b"0-0":
                return

    async def _consume_new(self) -> None:
        """Consume what comes; return when there may be older entries that nobody has consumed."""
        reading = asyncio.ensure_future(self._read_new())
        try:
            while (entries := await reading) is not None:
                reading = asyncio.ensure_future(self._read_new())
                await self._consume(entries)
        finally:
            reading.cancel()

    async def _read_new(self) -> list[Entry] | None:
        """
        Return the next entries, or None if another consumer has some that may come before, or they
        come after greater ids: then the stream is another.
        """
        options = ("COUNT", str(self._count), "BLOCK", str(BLOCK_MILLISECONDS))
        group = ("GROUP", self._group, self._consumer)
        read = self._submit("XREADGROUP", *group, *options, "STREAMS", self._stream, ">")
        look = self._submit("XPENDING", self._stream, self._group)
        await settled((read, look))
        streams, (_, _, _, consumers) = read.result(), look.result()
        if any(name.decode() != self._consumer for name, _ in consumers or ()):
            return None
        entries: list[Entry] = streams[0][1] if streams else []
        if entries:
            before, self._newest_read = self._newest_read, self._text(entries[-1][0])
            if self._text(entries[0][0]) <= before:
                return None
        return entries

    async def _consume(self, entries: list[Entry]) -> None:
        """
        Begin with entries; return when not too much is under way or, without entries, nothing.

        Raises:
            LeaseLost: If another process may consume them.
            One of :data:`.REDIS_ERRORS`, if not all of those before them were taken.
        """
        there = [(id, fields) for id, fields in filter(None, entries) if fields is not None]
        if there:
            self._adapt(there)
        for start in range(0, max(1, len(there)), PART_ENTRIES):
            await self._consume_part(there[start : start + PART_ENTRIES])

    async def _consume_part(self, there: list[tuple[bytes, list[bytes]]]) -> None:
        await broker.ready()
        self._publisher.lease.check()
        begun = self._publisher.begin(itertools.starmap(self._arrival, there), self._latest)
        if there:
            self._under_way.append(asyncio.create_task(self._acknowledge(there, begun)))
            await asyncio.sleep(0)
        while len(self._under_way) >= (MAX_PARTS if there else 1):
            self._forget(await asyncio.shield(self._under_way[0]))
            self._under_way.popleft()

    async def _acknowledge(
        self, entries: list[tuple[bytes, list[bytes]]], begun: list[Begun]
    ) -> str:
        """Acknowledge the entries that are taken; return the last, or raise if it is not all."""
        await settled([each.future for each in begun])
        errors = list(itertools.chain.from_iterable(map(self._publisher.settle, begun)))
        taken = [id for (id, _), error in zip(entries, errors, strict=True) if error is None]
        if taken:
            await self._pipeline.submit(("XACK", self._stream, self._group, *taken))
        if len(taken) == len(entries):
            self._publisher.life.consumed(*entries[-1])
        for error in filter(None, errors):
            self._publisher.lease.check()
            raise error
        return self._text(entries[-1][0])

    def _forget(self, taken: str) -> None:
        """Forget what nothing has to wait for: all entries up to this one are taken."""
        self._latest = {name: each for name, each in self._latest.items() if each > taken}

    def _adapt(self, entries: list[tuple[bytes, list[bytes]]]) -> None:
        """Read as many entries as fit into the memory that is for them, by the last ones' size."""
        size = sum(sum(map(len, fields)) for _, fields in entries) // len(entries)
        self._count = min(MAX_ENTRIES, MAX_BYTES // (size + 1) + 1)

    def _submit(self, *command: str | bytes) -> asyncio.Future[Any]:
        future = self._reading.submit(command)
        # It may wait for nobody; one that was cancelled would raise here.
        future.add_done_callback(lambda future: future.cancelled() or future.exception())
        return future

    def _arrival(self, id: bytes, fields: list[bytes]) -> Arrival:
        names_and_values = iter(fields)
        pairs = dict(zip(names_and_values, names_and_values, strict=True))
        return Arrival(pairs, entry=self._text(id))

    def _text(self, id: bytes) -> str:
        return self._publisher.life.text(id)
