-- Returns the epoch, the offset, the epochs that ended ("EPOCH:OFFSET ..."), the time in
-- milliseconds, and the newest entries, the newest first.
--
-- KEYS  position, entries.
-- ARGV  run, how many entries, ttl in milliseconds.

local count, ttl = tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch, offset, ended, now = stand(KEYS[1], KEYS[2])
if offset == 0 then redis.call('EXPIRE', KEYS[1], UNUSED_SECONDS) end
local entries = {}
if count > 0 then
  entries = redis.call('XREVRANGE', KEYS[2], '+', integer(now - ttl), 'COUNT', count)
end
return {epoch, offset, ended, now, entries}
