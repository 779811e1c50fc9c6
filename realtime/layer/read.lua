-- Returns the epoch, the offset, the epochs that ended ("EPOCH:OFFSET ..."), the time in
-- milliseconds, and the newest entries, the newest first.
--
-- KEYS  position, entries.
-- ARGV  run, how many entries, ttl in milliseconds.
--
-- Where there is no position nothing is written. One that is there lives on while it is read: nobody
-- who hears is told that something was lost because nothing came for a long time.

local position, count, ttl = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch, offset, now, ended, there = stand(position, KEYS[2], true)
if not there then return {epoch, offset, ended, now, {}} end
if ended == '' then  -- another release began it
  local _, _, lately = empty(position)
  ended = lately
end
local life = math.max(LEAST_LIFE, LIVES * ttl)
if redis.call('PTTL', position) < life then
  redis.call('PEXPIRE', position, integer(SLACK * life))
end
local entries = {}
if count > 0 then
  entries = redis.call('XREVRANGE', KEYS[2], '+', integer(now - ttl), 'COUNT', count)
end
return {epoch, offset, ended, now, entries}
