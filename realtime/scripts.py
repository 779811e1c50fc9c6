"""
What Redis does for a history, in one atomic step: publish, and read.

The keys of a destination share a hash slot: its position (a hash: ``epoch``, ``offset``, the
``run`` in which the epoch began, the epochs that ``ended``, the ``time`` of the newest entry; and
for each route of the bridges its ``fence:`` and newest ``entry:``) and its entries (a stream).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from .redis import Script


class Fence(NamedTuple):
    """
    Who publishes, where only one at a time may: see :class:`.Fenced`.

    Args:
        route: For what.
        number: Greater than those of all who did before.
        entries: Which of its entries the messages are, one for each: a text greater than those of
            all entries before. What is not greater than the newest one published is not published
            again. Without entries everything is.
        after: Which entry was begun before them for this destination, and may not have been taken.
            If it was not, these are not published, and the answers are :data:`TOO_EARLY`.
    """

    route: str
    number: int
    entries: Sequence[str] = ()
    after: str = ""


#: The answer for an entry that would overtake the one before it.
TOO_EARLY: Final = 0


# Returns where a history stands. Another epoch begins, if the server process that runs this is
# another than the last time.
_STAND: Final = """
local function stand()
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
    local unlike_others = ARGV[1] .. ' ' .. clock[1] .. ' ' .. clock[2] .. ' ' .. KEYS[1]
    epoch = string.sub(redis.sha1hex(unlike_others), 1, 12)
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', offset, 'run', ARGV[1], 'ended', ended)
    if offset == 0 then redis.call('EXPIRE', KEYS[1], 86400) end
  end
  return epoch, offset, ended, now
end
"""

#: Publishes messages to one destination; returns a list of their ids.
#:
#: KEYS: position, entries[, once]. ARGV: run, the entry before, size, ttl in ms, route, fence, how
#: many Redis channels, these, and for each message: payload, id (which counts without a history)
#: and entry. With the key ``once`` it is one message; if the key is there already, it is not
#: published, and has the id of the first one. What was published for the route before has an
#: empty id.
#:
#: What is published travels together: see :mod:`realtime.redis.bundles`.
PUBLISH: Final = Script(
    _STAND
    + """
local after, size, ttl, route = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local messages = 8 + ARGV[7]
local fence, newest = 'fence:' .. route, 'entry:' .. route
local published = ''
if route ~= '' then
  local known = redis.call('HMGET', KEYS[1], fence, newest)
  if known[1] and tonumber(known[1]) > tonumber(ARGV[6]) then
    return redis.error_reply('FENCED ' .. route .. ' has another holder')
  end
  published = known[2] or ''
end
if KEYS[3] then
  local entry = ARGV[messages + 2]
  local earlier = after <= published and redis.call('GET', KEYS[3])
  if earlier then
    redis.call('SET', KEYS[3], earlier, 'KEEPTTL')  -- or WAIT would not wait for the first time
    if entry > published then redis.call('HSET', KEYS[1], newest, entry) end
    return {earlier}
  end
end
local epoch, offset, ended, now, at
if size > 0 then
  epoch, offset, ended, now = stand()
  at = string.format('%.0f-', now)
end
local ids, bundle, first = {}, {}, ''
for each = messages, #ARGV, 3 do
  local payload, id, entry = unpack(ARGV, each, each + 2)
  if entry ~= '' and entry <= published then
    id = ''
  elseif after > published then
    id = 0
  else
    if size > 0 then
      offset = offset + 1
      id = epoch .. '-' .. offset
      redis.call('XADD', KEYS[2], 'MAXLEN', size, at .. offset, 'd', payload)
      if #bundle == 0 then first = id end
    end
    bundle[#bundle + 1] = struct.pack('>I4', #payload)
    bundle[#bundle + 1] = payload
    if entry ~= '' then published = entry end
  end
  ids[#ids + 1] = id
end
if #bundle > 0 then
  local together = '\\1' .. first .. '\\n' .. table.concat(bundle)
  for channel = 8, messages - 1 do redis.call('PUBLISH', ARGV[channel], together) end
end
if size > 0 then
  redis.call('HSET', KEYS[1], 'offset', offset, 'time', string.format('%.0f', now))
  if redis.call('PTTL', KEYS[2]) < ttl then
    redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', now - ttl))
    redis.call('PEXPIRE', KEYS[2], 2 * ttl)
  end
end
if route ~= '' then redis.call('HSET', KEYS[1], fence, ARGV[6], newest, published) end
if (size > 0 or route ~= '') and redis.call('TTL', KEYS[1]) < 2588400 then
  redis.call('EXPIRE', KEYS[1], 2592000)
end
if KEYS[3] and ids[1] ~= 0 then redis.call('SET', KEYS[3], ids[1], 'EX', 300) end
return ids
"""
)

#: Returns the epoch, the offset, the epochs that ended ("EPOCH:OFFSET ..."), the time in ms, and
#: the newest entries, newest first. KEYS: position, entries. ARGV: run, how many, ttl in ms.
READ: Final = Script(
    _STAND
    + """
local epoch, offset, ended, now = stand()
if offset == 0 then redis.call('EXPIRE', KEYS[1], 86400) end
local entries = {}
if tonumber(ARGV[2]) > 0 then
  local oldest = string.format('%.0f', now - tonumber(ARGV[3]))
  entries = redis.call('XREVRANGE', KEYS[2], '+', oldest, 'COUNT', ARGV[2])
end
return {epoch, offset, ended, string.format('%.0f', now), entries}
"""
)

SCRIPTS: Final = (PUBLISH, READ)


@lru_cache(maxsize=65536)
def publishing_to(
    channels: tuple[str, ...], size: int, ttl: int, route: str, number: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """
    Return the keys of PUBLISH, and its arguments between the entry before and the messages;
    ``ttl`` is in seconds.
    """
    arguments = (str(size), str(ttl * 1000), route, str(number), str(len(channels)), *channels)
    return history_keys(channels[0]), arguments


@lru_cache(maxsize=65536)
def history_keys(channel: str) -> tuple[str, ...]:
    """Return where the position and the entries of a group are; in one slot of a cluster."""
    return f"{{{channel}}}:position", f"{{{channel}}}:entries"
