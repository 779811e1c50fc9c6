-- Where a history stands, and how something is told; what the other scripts begin with.
--
-- The position of a destination is a hash: its `epoch` and `offset`, the `run` of the server process
-- in which the epoch began, the epochs that `ended` ("EPOCH:OFFSET ..."), the `time` of the newest
-- entry, and for each route of the bridges its `fence:` and newest `entry:`.
--
-- A destination that nothing was published to has none, and reading it makes none: it stands at offset
-- 0 of an epoch for a while, made of its name, the data's generation and the time. The first publish
-- begins one with the same stem (see realtime/history/positions.py), unlike all others, and says that
-- those of the last whiles ended at 0. Those of earlier ones don't count: a position may have come and
-- expired since, with messages that nobody would miss.
--
-- IDEMPOTENCY_KEY_SECONDS stands before this text: see scripts.py.

local LEAST_LIFE = 3600 * 1000           -- a position outlives its newest entry by so many milliseconds,
local LIVES = 12                         -- and by so many times the time that entries are kept
local SLACK = 13 / 12                    -- so much more is given, so that it isn't renewed each time
local FENCE_SECONDS = 30 * 24 * 3600     -- what came by a bridge is remembered for longer
local KEPT_EPOCHS = 32                   -- so many that ended are remembered
local WHILE_SECONDS = 1200               -- so long an empty destination has the same epoch,
local WHILES = 3                         -- and so many count: together no longer than any position lives

local run = ARGV[1]
local clock = redis.call('TIME')
local milliseconds = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function integer(number)
  return string.format('%.0f', number)
end

-- Returns what names the data that this server has: a replica that takes over has the same, one that
-- comes back without data another. On a cluster a script can't read such a key, and each server
-- process counts for itself: who listens where nothing was published is told when another takes over.
local function generation(position)
  local key = (string.match(position, '^{(.-)__group__') or '') .. '__generation'
  local known = redis.pcall('GET', key)
  if known then return type(known) == 'string' and known or run end
  known = redis.sha1hex(run .. ' ' .. clock[1] .. ' ' .. clock[2])
  return redis.pcall('SET', key, known).ok and known or run
end

-- Returns the stem of a position's epochs in this generation, the epoch in which it is empty now,
-- and all in which it was lately ("EPOCH:0 ...").
local function empty(position)
  local stem = string.sub(redis.sha1hex(generation(position) .. ' ' .. position), 1, 8)
  local now, lately, epoch = math.floor(clock[1] / WHILE_SECONDS), {}, nil
  for each = now - WHILES + 1, now do
    epoch = stem .. string.format('%04x', each % 65536)
    lately[#lately + 1] = epoch .. ':0'
  end
  return stem, epoch, table.concat(lately, ' ')
end

-- Returns the epoch, the offset, the time in milliseconds, and, if it is only `read`, the epochs that
-- ended and whether there is a position. Another epoch begins if this server process is another than
-- the last time; and where nothing was published, unless it is only read.
local function stand(position, entries, read)
  local meta = redis.call('HMGET', position, 'epoch', 'offset', 'run', 'time')
  local epoch, offset = meta[1], tonumber(meta[2] or 0)
  local now = integer(math.max(milliseconds, tonumber(meta[4] or 0)))
  if meta[3] == run and not read then return epoch, offset, now end

  local ended = epoch and redis.call('HGET', position, 'ended') or ''
  if meta[3] == run then return epoch, offset, now, ended, true end
  local stem, none, lately = empty(position)
  if epoch then
    local kept = {}
    for each in string.gmatch(ended, '%S+') do kept[#kept + 1] = each end
    kept[#kept + 1] = epoch .. ':' .. offset
    ended = table.concat(kept, ' ', math.max(1, #kept - KEPT_EPOCHS + 1))
  elseif read then
    return none, 0, now, lately, false
  else
    redis.call('DEL', entries)
    ended = lately
  end
  epoch = stem .. string.sub(redis.sha1hex(clock[1] .. ' ' .. clock[2] .. ' ' .. position), 1, 8)
  redis.call('HSET', position, 'epoch', epoch, 'offset', offset, 'run', run, 'ended', ended)
  return epoch, offset, now, ended, true
end

-- Publishes on what so many arguments from there on name: Redis channels. Or, after '', a sharded
-- channel of a cluster, which one node hears; and where patterns may hear it too, the channel for
-- them, and their marks: Redis sends it to all nodes, so only while a mark is heard here.
local function tell(from, count, data)
  if ARGV[from] ~= '' then
    for each = from, from + count - 1 do redis.call('PUBLISH', ARGV[each], data) end
    return
  end
  redis.call('SPUBLISH', ARGV[from + 1], data)
  if tonumber(count) == 2 then return end
  local heard = redis.call('PUBSUB', 'NUMSUB', unpack(ARGV, from + 3, from + count - 1))
  for each = 2, #heard, 2 do
    if heard[each] > 0 then return redis.call('PUBLISH', ARGV[from + 2], data) end
  end
end
