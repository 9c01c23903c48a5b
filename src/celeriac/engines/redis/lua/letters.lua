-- Dead letters: read, replace by a message, delete.
-- Needs: keys, clock, types, queues, adding, bells
--
-- ARGV   1  key prefix
--        2  packed { 'list', most, queue or '', nil or {buried in ms, id} of the letter they come after } | { 'trimmed' } | { 'get', id } | { 'exhume', id, {queue, priority, raw, due or -1} } | { 'drop', {id, ...} }
--           | { 'trim', most age in ms, how many to keep, most }
-- Reply  list, get: { {id, queue, reason, detail, buried, deliveries, raw}, ... } newest first; else how many

local verb, first, second, third = unpack(cmsgpack.unpack(ARGV[2]), 1, 4)
local dead, letters = key('dead'), key('dead:letters')
expect(dead, 'zset') expect(letters, 'hash') expect_number(key('trimmed'))
if verb == 'exhume' then
  expect(key('queues'), 'set')
  expect_queue(second[1])
end
if wrong then return refusal() end

local function read(id, found, wanted)
  local packed = redis.call('HGET', letters, id)
  if not packed then return end
  local queue, reason, detail, buried, deliveries, raw = unpack(cmsgpack.unpack(packed))
  if wanted == '' or wanted == queue then
    found[#found + 1] = { tonumber(id), queue, reason, detail, buried, deliveries, raw }
  end
end

local function drop(ids)
  local count = 0
  for _, id in ipairs(ids) do
    redis.call('ZREM', dead, id)
    count = count + redis.call('HDEL', letters, id)
  end
  return count
end

local found = {}
if verb == 'list' then
  -- In the order of the set, so that a letter which is gone still says where to go on: by time, then by id as text.
  local start, newest = 0, third and third[1] or '+inf'
  repeat
    local page = redis.call('ZRANGE', dead, newest, '-inf', 'BYSCORE', 'REV', 'LIMIT', start, 100, 'WITHSCORES')
    for i = 1, #page, 2 do
      local is_after = not third or tonumber(page[i + 1]) < third[1] or page[i] < third[2]
      if is_after and #found < first then read(page[i], found, second) end
    end
    start = start + 100
  until #page == 0 or #found == first
  return found
end
if verb == 'get' then
  read(first, found, '')
  return found
end
if verb == 'drop' then return drop(first) end
if verb == 'trim' then
  local old = drop(redis.call('ZRANGEBYSCORE', dead, '-inf', now_ms() - first, 'LIMIT', 0, third))
  local excess = redis.call('ZCARD', dead) - second
  if excess > 0 then old = old + drop(redis.call('ZRANGE', dead, 0, math.min(excess, third) - 1)) end
  if old > 0 then redis.call('INCRBY', key('trimmed'), old) end
  return old
end
if verb == 'trimmed' then return tonumber(redis.call('GET', key('trimmed')) or 0) end
if drop({ first }) == 0 then return 0 end
add({ second }, now_ms(), {})
ring(second[1], 1)
return 1
