-- Where a history stands; what the other scripts begin with.
--
-- The position of a destination is a hash: its `epoch` and `offset`, the `run` of the server process
-- in which the epoch began, the epochs that `ended` ("EPOCH:OFFSET ..."), the `time` of the newest
-- entry, and for each route of the bridges its `fence:` and newest `entry:`.
--
-- IDEMPOTENCY_KEY_SECONDS stands before this text: see scripts.py.

local POSITION_SECONDS = 30 * 24 * 3600  -- a position outlives its entries by far
local UNUSED_SECONDS = 24 * 3600         -- but not where nothing was ever published
local KEPT_EPOCHS = 32                   -- so many that ended are remembered

local run = ARGV[1]
local clock = redis.call('TIME')
local milliseconds = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function integer(number)
  return string.format('%.0f', number)
end

local function with_ended(ended, epoch, offset)
  local kept = {}
  for each in string.gmatch(ended, '%S+') do kept[#kept + 1] = each end
  kept[#kept + 1] = epoch .. ':' .. offset
  return table.concat(kept, ' ', math.max(1, #kept - KEPT_EPOCHS + 1))
end

-- Returns the epoch, the offset, the epochs that ended, and the time in milliseconds. Another epoch
-- begins if this server process is another than the last time.
local function stand(position, entries)
  local meta = redis.call('HMGET', position, 'epoch', 'offset', 'run', 'ended', 'time')
  local epoch, offset, ended = meta[1], tonumber(meta[2] or 0), meta[4] or ''
  local now = math.max(milliseconds, tonumber(meta[5] or 0))
  if meta[3] ~= run then
    if epoch then
      ended = with_ended(ended, epoch, offset)
    else
      redis.call('DEL', entries)
    end
    local unlike_others = run .. ' ' .. clock[1] .. ' ' .. clock[2] .. ' ' .. position
    epoch = string.sub(redis.sha1hex(unlike_others), 1, 12)
    redis.call('HSET', position, 'epoch', epoch, 'offset', offset, 'run', run, 'ended', ended)
    if offset == 0 then redis.call('EXPIRE', position, UNUSED_SECONDS) end
  end
  return epoch, offset, ended, integer(now)
end
