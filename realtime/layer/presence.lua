-- Who is on a topic, over all nodes: each node has a lease for each of its users there, and renews it.
-- Whose last lease ends, or is given back, has left; leases of a node that died end by themselves.
--
-- KEYS  leases (a sorted set: node and user, by when they end), users (a hash: how many nodes each is
--       on), goodbyes (a hash: what is published when each leaves).
-- ARGV  run, node (16 characters), life of a lease in milliseconds, how many names of what hears it,
--       and these (see `tell`); then, in fours:
--         join, user, what is published for it, and when it leaves; nothing if another node has it
--         stay, user, '', ''    renews a lease
--         leave, user, '', ''   gives one back
--
-- The answer: the users whose lease there was none to renew, and all users on the topic.

local leases, users, goodbyes = KEYS[1], KEYS[2], KEYS[3]
local node, life, names = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local until_ = integer(milliseconds + life)
local NODE_CHARACTERS = 16
local KEPT = 3600 * 1000  -- so long it is known who was there, though no node asks

local function leave(lease)
  if redis.call('ZREM', leases, lease) == 0 then return end
  local user = string.sub(lease, NODE_CHARACTERS + 1)
  if redis.call('HINCRBY', users, user, -1) > 0 then return end
  local goodbye = redis.call('HGET', goodbyes, user)
  redis.call('HDEL', users, user)
  redis.call('HDEL', goodbyes, user)
  if goodbye then tell(5, names, goodbye) end
end

local function join(user, hello, goodbye)
  if redis.call('ZADD', leases, until_, node .. user) == 0 then return end
  if redis.call('HINCRBY', users, user, 1) > 1 then return end
  redis.call('HSET', goodbyes, user, goodbye)
  tell(5, names, hello)
end

for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', integer(milliseconds))) do
  leave(lease)
end
local missing = {}
for each = 5 + names, #ARGV, 4 do
  local what, user = ARGV[each], ARGV[each + 1]
  if what == 'join' then
    join(user, ARGV[each + 2], ARGV[each + 3])
  elseif what == 'leave' then
    leave(node .. user)
  elseif redis.call('ZSCORE', leases, node .. user) then
    redis.call('ZADD', leases, until_, node .. user)
  else
    missing[#missing + 1] = user
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEPT) end
return {missing, redis.call('HKEYS', users)}
