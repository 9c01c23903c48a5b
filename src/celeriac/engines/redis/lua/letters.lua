-- Dead letters: read, replace by a message, delete.
--
-- ARGV   1  key prefix
--        2  packed { 'list', most, queue or '' } | { 'get', id } | { 'exhume', id, {queue, priority, raw, due or -1} } | { 'drop', {id, ...} }
--           | { 'trim', buried before in ms, how many to keep, most }
-- Reply  list, get: { {id, queue, reason, detail, buried, deliveries, raw}, ... } newest first; else how many

local verb, first, second, most = unpack(cmsgpack.unpack(ARGV[2]), 1, 4)
local dead, letters = key('dead'), key('dead:letters')
expect(dead, 'zset') expect(letters, 'hash')
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
  for start = 0, redis.call('ZCARD', dead) - 1, 100 do
    for _, id in ipairs(redis.call('ZRANGE', dead, start, start + 99, 'REV')) do
      if #found < first then read(id, found, second) end
    end
    if #found == first then break end
  end
  return found
end
if verb == 'get' then
  read(first, found, '')
  return found
end
if verb == 'drop' then return drop(first) end
if verb == 'trim' then
  local old = drop(redis.call('ZRANGEBYSCORE', dead, '-inf', first, 'LIMIT', 0, most))
  local excess = redis.call('ZCARD', dead) - second
  if excess > 0 then old = old + drop(redis.call('ZRANGE', dead, 0, math.min(excess, most) - 1)) end
  return old
end
if drop({ first }) == 0 then return 0 end
add({ second }, now_ms(), {})
ring(second[1], 1)
return 1
