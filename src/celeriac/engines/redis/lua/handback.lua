-- Give everything that lies in our keys back to the lists that Celery reads, for a project that moves back.
-- Needs: keys, clock, types, queues, leases, full
--
-- ARGV   1  key prefix
--        2  packed { at most so many, whether dead letters too }
-- Reply  how many messages were moved (call again until 0), or -1 while a node of ours is alive
--
-- When there is nothing left to move, what we know of nodes and queues goes too. Dead letters that are to stay, stay.

local most, with_dead = unpack(cmsgpack.unpack(ARGV[2]))
local now, moved = now_ms(), 0
expect(key('queues'), 'set') expect(key('nodes'), 'zset') expect(key('dead'), 'zset') expect(key('dead:letters'), 'hash')
if wrong then return refusal() end
local queues = redis.call('SMEMBERS', key('queues'))
for _, queue in ipairs(queues) do expect_queue(queue) end
local nodes = redis.call('ZRANGE', key('nodes'), 0, -1)
for _, node in ipairs(nodes) do expect(key('leased:' .. node), 'hash') end
if wrong then return refusal() end
for _, node in ipairs(nodes) do
  for _, field in ipairs(redis.call('HKEYS', key('leased:' .. node))) do
    local _, _, _, queue = read_lease(field)
    expect_queue(queue)
  end
end
if wrong then return refusal() end
if redis.call('ZCOUNT', key('nodes'), now, '+inf') > 0 then return -1 end

-- { id, queue, raw }
local letters = {}
for _, id in ipairs(with_dead and redis.call('ZRANGE', key('dead'), 0, most - 1) or {}) do
  local packed = redis.call('HGET', key('dead:letters'), id)
  if packed then
    local queue, _, _, _, _, raw = unpack(cmsgpack.unpack(packed))
    letters[#letters + 1] = { id, queue, raw }
    expect_queue(queue)
  end
end
if wrong then return refusal() end
go_on_when_full()

for _, node in ipairs(nodes) do
  local leased = key('leased:' .. node)
  local fields = redis.call('HKEYS', leased)
  local function number(field) return select(2, read_lease(field)) end
  table.sort(fields, function(a, b) return number(a) > number(b) end) -- the oldest last, as it goes to the head
  for _, field in ipairs(fields) do
    if moved == most then return moved end
    local _, _, _, queue, step = read_lease(field)
    redis.call('RPUSH', ready(queue, step), redis.call('HGET', leased, field))
    redis.call('HDEL', leased, field)
    moved = moved + 1
  end
end
for _, queue in ipairs(queues) do
  for _, member in ipairs(redis.call('ZRANGE', of_queue(queue, 'delayed'), 0, most - moved - 1)) do
    redis.call('LPUSH', ready(queue, tonumber(string.sub(member, 1, 1))), string.sub(member, 2))
    redis.call('ZREM', of_queue(queue, 'delayed'), member)
    moved = moved + 1
  end
  if moved == most then return moved end
end
for _, letter in ipairs(letters) do
  if moved == most then return moved end
  redis.call('LPUSH', ready(letter[2], 0), letter[3])
  redis.call('HDEL', key('dead:letters'), letter[1])
  redis.call('ZREM', key('dead'), letter[1])
  moved = moved + 1
end
if moved > 0 then return moved end

for _, queue in ipairs(queues) do
  for _, name in ipairs({ 'nodes', 'waiting', 'rung', 'paused' }) do redis.call('DEL', of_queue(queue, name)) end
end
for _, node in ipairs(nodes) do redis.call('DEL', key('node:' .. node)) end
for _, name in ipairs({ 'nodes', 'past', 'token' }) do redis.call('DEL', key(name)) end
if redis.call('EXISTS', key('dead:letters')) == 0 then
  for _, name in ipairs({ 'queues', 'dead', 'letter', 'trimmed' }) do redis.call('DEL', key(name)) end
end
return 0
