"""
What Redis does for a history, in one atomic step: publish, and read.

The keys of a destination share a hash slot: its position (a hash: ``epoch``, ``offset``, the
``run`` in which the epoch began, the epochs that ``ended``, the ``time`` of the newest entry; and
for each route of the bridges its ``fence:`` and newest ``entry:``) and its entries (a stream).
"""

from __future__ import annotations

from typing import Final

from realtime.redis import Script

# Returns where a history stands: its epoch, offset, epochs that ended, and time. Another epoch
# begins, if the server process that runs this is another than the last time.
_STAND: Final = """
local clock = redis.call('TIME')
local milliseconds = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function stand(position, entries)
  local meta = redis.call('HMGET', position, 'epoch', 'offset', 'run', 'ended', 'time')
  local epoch, offset, ended = meta[1], tonumber(meta[2] or 0), meta[4] or ''
  local now = math.max(milliseconds, tonumber(meta[5] or 0))
  if meta[3] ~= ARGV[1] then
    if epoch then
      local kept = {}
      for each in string.gmatch(ended, '%S+') do kept[#kept + 1] = each end
      kept[#kept + 1] = epoch .. ':' .. offset
      ended = table.concat(kept, ' ', math.max(1, #kept - 31))
    else
      redis.call('DEL', entries)
    end
    local unlike_others = ARGV[1] .. ' ' .. clock[1] .. ' ' .. clock[2] .. ' ' .. position
    epoch = string.sub(redis.sha1hex(unlike_others), 1, 12)
    redis.call('HSET', position, 'epoch', epoch, 'offset', offset, 'run', ARGV[1], 'ended', ended)
    if offset == 0 then redis.call('EXPIRE', position, 86400) end
  end
  return epoch, offset, ended, string.format('%.0f', now)
end
"""

#: Publishes messages; the answer to each section, messages to one destination, are their ids.
#:
#: KEYS: for each section position, entries. ARGV: run, and for each section the entry before, size,
#: ttl in ms, route, fence, how many Redis channels, these, how many messages, and for each message:
#: payload, id (which counts without a history) and entry. What was published for the route before
#: has an empty id.
#:
#: With a third key, ``once``, it is one message, and its ids are the answer; if that key is there
#: already, it is not published, and has the id of the first one.
#:
#: What is published together travels together: see :mod:`realtime.redis.bundles`.
PUBLISH: Final = Script(
    _STAND
    + """
local next_argument = 2

local function publish(position, entries, once)
  local after, size, ttl, route, holder, channels = unpack(ARGV, next_argument, next_argument + 5)
  local channel = next_argument + 6
  local count = channel + channels
  local last = count + 3 * ARGV[count]
  next_argument = last + 1
  size, ttl = tonumber(size), tonumber(ttl)

  local fence, newest = 'fence:' .. route, 'entry:' .. route
  local published = ''
  if route ~= '' then
    local known = redis.call('HMGET', position, fence, newest)
    if known[1] and tonumber(known[1]) > tonumber(holder) then
      return redis.error_reply('FENCED ' .. route .. ' has another holder')
    end
    published = known[2] or ''
  end
  if once then
    local entry = ARGV[last]
    local earlier = after <= published and redis.call('GET', once)
    if earlier then
      redis.call('SET', once, earlier, 'KEEPTTL')  -- or WAIT would not wait for the first time
      if entry > published then redis.call('HSET', position, newest, entry) end
      return {earlier}
    end
  end

  local epoch, offset, ended, now
  if size > 0 then epoch, offset, ended, now = stand(position, entries) end
  local ids, bundle, first = {}, {}, ''
  for each = count + 1, last, 3 do
    local payload, id, entry = ARGV[each], ARGV[each + 1], ARGV[each + 2]
    if entry ~= '' and entry <= published then
      id = ''
    elseif after > published then
      id = 0
    else
      if size > 0 then
        offset = offset + 1
        id = epoch .. '-' .. offset
        redis.call('XADD', entries, 'MAXLEN', size, now .. '-' .. offset, 'd', payload)
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
    for each = channel, count - 1 do redis.call('PUBLISH', ARGV[each], together) end
  end
  if size > 0 then
    redis.call('HSET', position, 'offset', offset, 'time', now)
    if redis.call('PTTL', entries) < ttl then
      redis.call('XTRIM', entries, 'MINID', string.format('%.0f', now - ttl))
      redis.call('PEXPIRE', entries, 2 * ttl)
      redis.call('PEXPIRE', position, math.max(2592000000, 2 * ttl))
    end
  end
  if route ~= '' then
    redis.call('HSET', position, fence, holder, newest, published)
    if size == 0 then redis.call('EXPIRE', position, 2592000) end
  end
  if once and ids[1] ~= 0 then redis.call('SET', once, ids[1], 'EX', 300) end
  return ids
end

if #KEYS == 3 then return publish(unpack(KEYS)) end
local answers = {}
for each = 1, #KEYS, 2 do
  local done, answer = pcall(publish, KEYS[each], KEYS[each + 1])
  if not done then answer = redis.error_reply(type(answer) == 'table' and answer.err or answer) end
  answers[#answers + 1] = answer
end
return answers
"""
)

#: Returns the epoch, the offset, the epochs that ended ("EPOCH:OFFSET ..."), the time in ms, and
#: the newest entries, newest first. KEYS: position, entries. ARGV: run, how many, ttl in ms.
READ: Final = Script(
    _STAND
    + """
local epoch, offset, ended, now = stand(KEYS[1], KEYS[2])
if offset == 0 then redis.call('EXPIRE', KEYS[1], 86400) end
local entries = {}
if tonumber(ARGV[2]) > 0 then
  local oldest = string.format('%.0f', now - tonumber(ARGV[3]))
  entries = redis.call('XREVRANGE', KEYS[2], '+', oldest, 'COUNT', ARGV[2])
end
return {epoch, offset, ended, now, entries}
"""
)

SCRIPTS: Final = (PUBLISH, READ)


def history_keys(channel: str) -> tuple[str, ...]:
    """Return where the position and the entries of a group are; in one slot of a cluster."""
    return f"{{{channel}}}:position", f"{{{channel}}}:entries"
