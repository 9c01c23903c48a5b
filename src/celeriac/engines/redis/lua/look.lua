-- Look at queues and nodes, and change them by hand.
-- Needs: keys, clock, types, queues, leases, bells
--
-- ARGV   1  key prefix
--        2  packed { 'queues' } | { 'nodes' } | { 'peek', queue, most } | { 'pause', queue } | { 'resume', queue }
--           | { 'purge', queue }
-- Reply  queues: { {name, ready, delayed, paused, oldest raw message or ''}, ... } and { {queue, leased}, ... } and
--        { {queue, dead}, ... }; nodes: { {info, expiry, started, renewed, leased}, ... }, now; peek: raw messages; purge: how many

local verb, queue, most = unpack(cmsgpack.unpack(ARGV[2]), 1, 3)
if queue then expect_queue(queue) end
expect(key('queues'), 'set') expect(key('nodes'), 'zset') expect(key('dead'), 'zset')
expect(key('dead:letters'), 'hash') expect(key('past'), 'hash')
if wrong then return refusal() end
local now = now_ms()

-- What is due but not promoted yet is as good as ready.
local function waiting(name)
  local count = redis.call('ZCOUNT', of_queue(name, 'delayed'), '-inf', now)
  for _, step in ipairs(STEPS) do count = count + redis.call('LLEN', ready(name, step)) end
  return count
end

if verb == 'pause' then
  redis.call('SADD', key('queues'), queue)
  redis.call('SET', of_queue(queue, 'paused'), '1')
  return 1
end
if verb == 'resume' then
  redis.call('DEL', of_queue(queue, 'paused'))
  local count = waiting(queue)
  if count > 0 then ring(queue, count) end
  return 1
end
-- What is told of purged messages goes too; hardly ever is there any.
local function forget_pasts(raws, cut)
  for _, raw in ipairs(raws) do redis.call('HDEL', key('past'), redis.sha1hex(string.sub(raw, cut))) end
end

if verb == 'purge' then
  if was_there(key('past')) then
    for _, step in ipairs(STEPS) do
      local list = ready(queue, step)
      for start = 0, redis.call('LLEN', list) - 1, 100 do forget_pasts(redis.call('LRANGE', list, start, start + 99), 1) end
    end
    local delayed = of_queue(queue, 'delayed')
    for start = 0, redis.call('ZCARD', delayed) - 1, 100 do forget_pasts(redis.call('ZRANGE', delayed, start, start + 99), 2) end
  end
  local count = waiting(queue) + redis.call('ZCOUNT', of_queue(queue, 'delayed'), '(' .. now, '+inf')
  for _, step in ipairs(STEPS) do redis.call('DEL', ready(queue, step)) end
  redis.call('DEL', of_queue(queue, 'delayed'))
  return count
end
if verb == 'peek' then
  local found = {}
  local due = redis.call('ZRANGEBYSCORE', of_queue(queue, 'delayed'), '-inf', now, 'LIMIT', 0, most)
  for _, step in ipairs(STEPS) do
    for _, member in ipairs(due) do
      if #found < most and tonumber(string.sub(member, 1, 1)) == step then found[#found + 1] = string.sub(member, 2) end
    end
    local raws = redis.call('LRANGE', ready(queue, step), -most, -1)
    for i = #raws, 1, -1 do
      if #found < most then found[#found + 1] = raws[i] end
    end
  end
  return found
end
if verb == 'nodes' then
  local found = {}
  local nodes = redis.call('ZRANGE', key('nodes'), 0, -1, 'WITHSCORES')
  for i = 1, #nodes, 2 do
    expect(key('node:' .. nodes[i]), 'hash') expect(key('leased:' .. nodes[i]), 'hash')
    if wrong then return refusal() end
    local about = redis.call('HMGET', key('node:' .. nodes[i]), 'info', 'started', 'renewed')
    if about[1] then
      found[#found + 1] = { about[1], nodes[i + 1], about[2], about[3], redis.call('HLEN', key('leased:' .. nodes[i])) }
    end
  end
  return { found, now }
end

local queues, leased, dead, names = {}, {}, {}, {}
local function meet(queue)
  names[queue] = true
  return queue
end
for _, node in ipairs(redis.call('ZRANGE', key('nodes'), 0, -1)) do
  expect(key('leased:' .. node), 'hash')
  if wrong then return refusal() end
  for _, field in ipairs(redis.call('HKEYS', key('leased:' .. node))) do
    local _, _, _, queue = read_lease(field)
    leased[#leased + 1] = meet(queue)
  end
end
for _, packed in ipairs(redis.call('HVALS', key('dead:letters'))) do dead[#dead + 1] = meet(cmsgpack.unpack(packed)[1]) end
for _, name in ipairs(redis.call('SMEMBERS', key('queues'))) do meet(name) end
for name in pairs(names) do
  expect_queue(name)
  if wrong then return refusal() end
  local oldest = ''
  for _, step in ipairs(STEPS) do
    if oldest == '' then oldest = redis.call('LINDEX', ready(name, step), -1) or '' end
  end
  queues[#queues + 1] = {
    name,
    waiting(name),
    redis.call('ZCOUNT', of_queue(name, 'delayed'), '(' .. now, '+inf'),
    redis.call('EXISTS', of_queue(name, 'paused')),
    oldest,
  }
end
return { queues, leased, dead }
