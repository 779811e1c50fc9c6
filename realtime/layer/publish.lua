-- Publishes messages, in sections: each is what goes to one destination, with its own answer.
--
-- KEYS  for each section: position, entries.
-- ARGV  run; then for each section:
--         after     the entry that was begun before these; "" for none
--         size      how many messages are kept; 0 for none
--         ttl       for how many milliseconds
--         route     of the bridges; "" for none
--         token     the fencing token of the route's owner
--         channels  how many names of what hears them, and these: see `tell`
--         messages  how many messages, and for each: payload, id, entry
--
-- The answer is a list of the sections' answers: the ids of the messages, or an error. Kept messages
-- get a position as id. The id of an entry that was published before is empty; that of one which
-- would overtake the entry before it is 0.
--
-- With a third key, `once`, it is one section of one message, and its ids are the answer. If that
-- key is known, nothing is published, and the id is that of the first time.

local cursor = 2  -- where the next section begins

-- Returns the newest entry of a route that was published, or an error: another owner has come since.
local function pass_fence(position, route, token)
  local known = redis.call('HMGET', position, 'fence:' .. route, 'entry:' .. route)
  if known[1] and tonumber(known[1]) > tonumber(token) then
    return nil, redis.error_reply('FENCED ' .. route .. ' has another holder')
  end
  return known[2] or ''
end

-- Returns the id of the message that was published with this key, if there is one.
local function published_with(once, position, route, published, entry)
  local earlier = redis.call('GET', once)
  if earlier then
    redis.call('SET', once, earlier, 'KEEPTTL')  -- or WAIT would not wait for the first time
    if entry > published then redis.call('HSET', position, 'entry:' .. route, entry) end
  end
  return earlier
end

-- Appends what is new of messages; returns their ids, the newest entry that is published then, the
-- new offset, and what is to be heard: the first id, and the bundle of payloads.
local function append(from, to, entries, size, epoch, offset, now, after, published)
  local ids, bundle, first = {}, {}, ''
  for each = from, to, 3 do
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
  return ids, published, offset, first, bundle
end

-- What is published together travels together: see realtime/messages/envelope.py.
local function announce(channel, channels, first, bundle)
  if #bundle == 0 then return end
  local together = '\1' .. first .. '\n' .. table.concat(bundle)
  tell(channel, channels, together)
end

-- Gives back what Redis reserves for the first entries of a stream, too: 4 KiB, which few topics fill.
-- A copy is as large as what is in it. Where that is refused, only the memory is lost.
local function expire(position, entries, now, ttl)
  local left = redis.call('PTTL', entries)
  if left >= ttl then return end
  local copy = entries .. ':copy'
  if left == -1 and redis.pcall('COPY', entries, copy, 'REPLACE') == 1 then
    redis.call('RENAME', copy, entries)
  end
  redis.call('XTRIM', entries, 'MINID', integer(now - ttl))
  redis.call('PEXPIRE', entries, 2 * ttl)
  local life = SLACK * math.max(LEAST_LIFE, LIVES * ttl)
  if redis.call('PTTL', position) < life then redis.call('PEXPIRE', position, integer(life)) end
end

local function publish(position, entries, once)
  local after, size, ttl, route, token, channels = unpack(ARGV, cursor, cursor + 5)
  local channel = cursor + 6
  local messages = channel + channels
  local last = messages + 3 * ARGV[messages]
  cursor = last + 1
  size, ttl = tonumber(size), tonumber(ttl)

  local published, fenced = '', nil
  if route ~= '' then
    published, fenced = pass_fence(position, route, token)
    if fenced then return fenced end
  end
  if once and after <= published then
    local earlier = published_with(once, position, route, published, ARGV[last])
    if earlier then return {earlier} end
  end

  local epoch, offset, now, ids, first, bundle
  if size > 0 then epoch, offset, now = stand(position, entries) end
  ids, published, offset, first, bundle =
    append(messages + 1, last, entries, size, epoch, offset, now, after, published)
  announce(channel, channels, first, bundle)
  if route ~= '' then
    redis.call('HSET', position, 'fence:' .. route, token, 'entry:' .. route, published)
    redis.call('EXPIRE', position, FENCE_SECONDS)
  end
  if size > 0 then
    redis.call('HSET', position, 'offset', offset, 'time', now)
    expire(position, entries, now, ttl)
  end
  if once and ids[1] ~= 0 then redis.call('SET', once, ids[1], 'EX', IDEMPOTENCY_KEY_SECONDS) end
  return ids
end

if #KEYS == 3 then return publish(KEYS[1], KEYS[2], KEYS[3]) end
local answers = {}
for each = 1, #KEYS, 2 do
  local done, answer = pcall(publish, KEYS[each], KEYS[each + 1])
  if not done then answer = redis.error_reply(type(answer) == 'table' and answer.err or answer) end
  answers[#answers + 1] = answer
end
return answers
