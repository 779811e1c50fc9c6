"""
History: what was published lately, so that who was away, or lost a message, gets it after all.

Redis keeps a stream of entries for each destination that has a history, bounded by size and age,
and its position. A position is an epoch and an offset: offsets count the messages of a destination
without a gap, and an epoch ends when Redis may have forgotten some of them (another server
process has taken over: a restart, an older snapshot, a replica that lagged). Then the offset at
which the old epoch ended is kept, so that what is older still counts.

Entries of the routing table say which destinations have one; by default all topics do::

    routes = [
        History("/topic/orders/**", size=1000, ttl=3600),
        History("/topic/prices/**", size=0),  # none
    ]
"""

from __future__ import annotations

import itertools
import secrets
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

from .destinations import covers
from .redis import Script
from .routing import load_routes

#: How many messages are delivered at most to who comes back.
MAX_REPLAY: Final = 300

#: What becomes of live subscribers when messages are lost for good.
OnGap = Literal["tell", "close"]

#: Why not everything can be delivered to who comes back.
Reason = Literal["epoch", "expired", "limit"]


@dataclass(frozen=True)
class History:
    """
    An entry of the routing table: how much of some destinations is kept.

    Args:
        pattern: A destination, or a pattern of them.
        size: How many messages are kept; 0 for none.
        ttl: For how many seconds.
        on_gap: What becomes of subscribers when messages for them are lost for good: they are
            told with a MESSAGE, or closed with a code that says "reconnect".
    """

    pattern: str
    size: int = 100
    ttl: int = 300
    on_gap: OnGap = "tell"


_DEFAULT: Final = History("/topic/**")


@lru_cache(maxsize=65536)
def history_of(destination: str) -> History | None:
    """Return how much of a destination is kept, or None; the first entry that covers it counts."""
    routes = (route for route in load_routes() if isinstance(route, History))
    for route in (*routes, _DEFAULT):
        if covers(route.pattern, destination):
            return route if route.size > 0 else None
    return None


@dataclass(slots=True)
class Position:
    """A value: where in the history of a destination a message stands: its ``message-id``."""

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return the position that a ``message-id`` is, or None if it is none."""
        epoch, _, offset = text.rpartition("-")
        if not epoch or not (offset.isascii() and offset.isdigit() and len(offset) <= 18):
            return None
        return cls(epoch, int(offset))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"

    def follows(self, other: Position) -> bool:
        """Return whether this is the very next."""
        return self.offset == other.offset + 1 and self.epoch == other.epoch

    def before(self, count: int) -> Position:
        """Return where one stands before the last messages, so many of them."""
        return Position(self.epoch, self.offset - count)


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in a history; ``expires`` is on the clock of ``time.monotonic``."""

    offset: int
    expires: float
    message: Any


class Lost(Exception):
    """Not everything after a position is there any more."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(slots=True)
class Log:
    """
    The history of a destination as this process knows it: read once, then kept up to date with
    what is delivered.

    Args:
        position: Of the newest message, there or expired.
        ended: The epochs before, and up to which offset their messages are still part of it.
        size, ttl: As in :class:`History`.
    """

    position: Position
    ended: Mapping[str, int]
    size: int
    ttl: float
    entries: deque[Entry] = field(default_factory=deque)

    def append(self, position: Position, message: Any) -> bool:
        """Add the next message; return False if it is not the next."""
        if not position.follows(self.position):
            return False
        self.position = position
        self.entries.append(Entry(position.offset, time.monotonic() + self.ttl, message))
        if len(self.entries) > self.size:
            self.entries.popleft()
        return True

    def covers(self, position: Position) -> bool:
        """Return whether a position is part of this history; its messages may have expired."""
        ends = {**self.ended, self.position.epoch: self.position.offset}
        return position.offset <= ends.get(position.epoch, -1)

    def since(self, position: Position, most: int = MAX_REPLAY) -> list[Any]:
        """
        Return all messages after a position.

        Raises:
            Lost: If not all of them are there, or they are more than ``most``.
        """
        if not self.covers(position):
            raise Lost("epoch")
        missing = self.position.offset - position.offset
        if missing > most:
            raise Lost("limit")
        return self._newest(missing) if missing else []

    def left(self, position: Position) -> list[Any]:
        """
        Return what is certainly new of all after a position, where not all of it is there.

        Of a history that does not know the position's epoch, but others before its own, nothing
        is: it may be an older copy, whose messages were heard before.
        """
        if position.epoch == self.position.epoch:
            known = position.offset
        elif position.epoch in self.ended:
            known = self.ended[position.epoch]
        else:
            known = self.position.offset if self.ended else 0
        return self.newest(self.position.offset - known)

    def newest(self, count: int) -> list[Any]:
        """Return the newest messages, as many as are there and may be replayed."""
        self._expire()
        count = min(count, MAX_REPLAY, len(self.entries))
        return self._newest(count) if count else []

    def _newest(self, count: int) -> list[Any]:
        self._expire()
        if count > len(self.entries):
            raise Lost("expired")
        entries = itertools.islice(self.entries, len(self.entries) - count, None)
        return [entry.message for entry in entries]

    def _expire(self) -> None:
        now = time.monotonic()
        while self.entries and self.entries[0].expires <= now:
            self.entries.popleft()


# What Redis does. Keys of a destination share a hash slot. ARGV[1] is the id of the server process
# that we are connected to, ARGV[2] a name for an epoch, if one begins.

_BEGIN: Final = """
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'run', 'ended', 'time')
local epoch, offset, ended = meta[1], tonumber(meta[2] or 0), meta[4] or ''
local clock = redis.call('TIME')
local now = math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), tonumber(meta[5] or 0))
if meta[3] ~= ARGV[1] then
  if epoch then
    local kept = {}
    for each in string.gmatch(ended, '%S+') do kept[#kept + 1] = each end
    kept[#kept + 1] = epoch .. ':' .. offset
    ended = table.concat(kept, ' ', math.max(1, #kept - 31))
  else
    redis.call('DEL', KEYS[2])
  end
  epoch = ARGV[2]
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', offset, 'run', ARGV[1], 'ended', ended)
  if offset == 0 then redis.call('EXPIRE', KEYS[1], 86400) end
end
"""

#: KEYS: position, entries[, once]. ARGV: run, epoch, size, ttl in ms, payload, answer of a message
#: without history, channels... Publishes, and returns the message's id. With the key ``once``, and
#: if it is there already, only its value is returned.
PUBLISH: Final = Script(
    """
if KEYS[3] then
  local first = redis.call('GET', KEYS[3])
  if first then
    redis.call('SET', KEYS[3], first, 'KEEPTTL')  -- or WAIT would not wait for the first time
    return first
  end
end
local size, payload, id = tonumber(ARGV[3]), ARGV[5], ARGV[6]
if size > 0 then
"""
    + _BEGIN
    + """
  offset = offset + 1
  id = epoch .. '-' .. offset
  local ttl = tonumber(ARGV[4])
  redis.call('XADD', KEYS[2], 'MAXLEN', size, string.format('%.0f-%.0f', now, offset), 'd', payload)
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', now - ttl))
  redis.call('HSET', KEYS[1], 'offset', offset, 'time', string.format('%.0f', now))
  redis.call('EXPIRE', KEYS[1], 2592000)
  redis.call('PEXPIRE', KEYS[2], ttl)
  payload = '\\1' .. id .. '\\n' .. payload
end
for each = 7, #ARGV do redis.call('PUBLISH', ARGV[each], payload) end
if KEYS[3] then redis.call('SET', KEYS[3], id, 'EX', 300) end
return id
"""
)

#: KEYS: position, entries. ARGV: run, epoch, how many, ttl in ms. Returns the epoch, the offset,
#: the epochs that ended ("EPOCH:OFFSET ..."), the time in ms, and the newest entries, newest first.
READ: Final = Script(
    _BEGIN
    + """
if offset == 0 then redis.call('EXPIRE', KEYS[1], 86400) end
local entries = {}
if tonumber(ARGV[3]) > 0 then
  local oldest = string.format('%.0f', now - tonumber(ARGV[4]))
  entries = redis.call('XREVRANGE', KEYS[2], '+', oldest, 'COUNT', ARGV[3])
end
return {epoch, offset, ended, string.format('%.0f', now), entries}
"""
)

SCRIPTS: Final = (PUBLISH, READ)

#: What stands before a payload that has a position; no message of a channel layer starts so.
POSITION_MARK: Final = b"\x01"

_epochs = itertools.count(1)
_epoch_prefix = secrets.token_hex(4)


def new_epoch() -> str:
    """Return a name for an epoch that nobody has used."""
    return f"{_epoch_prefix}{next(_epochs):x}"


def split_position(data: bytes) -> tuple[str | None, bytes]:
    """Return the position that a script has put before a payload, if any, and the payload."""
    if not data.startswith(POSITION_MARK):
        return None, data
    position, _, payload = data[1:].partition(b"\n")
    return position.decode(), payload


def parse_ended(text: bytes) -> dict[str, int]:
    """
    Return up to which offset the messages of each epoch that ended are still part of the history.

    A script says at which each ended, the oldest first; a later one may have ended before that,
    where Redis has forgotten more.
    """
    still: dict[str, int] = {}
    least = sys.maxsize
    for each in reversed(text.decode().split()):
        epoch, _, offset = each.rpartition(":")
        least = still[epoch] = min(least, int(offset))
    return still
