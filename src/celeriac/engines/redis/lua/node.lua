-- Make a node known, renew it, or forget it.
-- Needs: keys, clock, types, queues, full
--
-- ARGV   1  key prefix
--        2  packed { 'register', id, info, lease in ms, {queue, ...} } | { 'renew', id } | { 'unregister', id }
-- Reply  1, or 0 when the node is not known (renewal never brings one back: its work has been given away)

local verb, id, about, lease, queues = unpack(cmsgpack.unpack(ARGV[2]), 1, 5)
local nodes, node, leased = key('nodes'), key('node:' .. id), key('leased:' .. id)
expect(nodes, 'zset') expect(node, 'hash') expect(leased, 'hash') expect(key('queues'), 'set')
if wrong then return refusal() end
if verb ~= 'register' then
  local packed = redis.call('HGET', node, 'queues')
  if not packed or not redis.call('ZSCORE', nodes, id) then return 0 end
  lease, queues = tonumber(redis.call('HGET', node, 'lease')), cmsgpack.unpack(packed)
end
for _, queue in ipairs(queues) do expect_queue(queue) end
if wrong then return refusal() end
go_on_when_full()
local now = now_ms()

if verb == 'unregister' then
  -- Never while it holds something: its lease then runs out, and the next worker takes over.
  if redis.call('EXISTS', leased) == 1 then return 1 end
  redis.call('ZREM', nodes, id)
  redis.call('DEL', node)
  for _, queue in ipairs(queues) do redis.call('ZREM', of_queue(queue, 'nodes'), id) end
  return 1
end
if verb == 'register' then
  redis.call('HSET', node, 'info', about, 'lease', lease, 'steady', now, 'started', now, 'queues', cmsgpack.pack(queues))
  for _, queue in ipairs(queues) do redis.call('SADD', key('queues'), queue) end
elseif tonumber(redis.call('ZSCORE', nodes, id)) < now or tonumber(redis.call('HGET', node, 'steady')) > now then
  -- A gap; or the server's clock was turned back, which is one for all that we can tell.
  redis.call('HSET', node, 'steady', now)
end
redis.call('ZADD', nodes, now + lease, id)
redis.call('HSET', node, 'renewed', now)
for _, queue in ipairs(queues) do
  redis.call('ZADD', of_queue(queue, 'nodes'), now + lease, id)
  redis.call('ZREMRANGEBYSCORE', of_queue(queue, 'nodes'), '-inf', now - 86400000)
  -- Waiters park anew every second or so; who has not for this long is dead.
  redis.call('ZREMRANGEBYSCORE', of_queue(queue, 'waiting'), '-inf', now - 600000)
end
-- Queues that nobody serves and in which nothing lies are forgotten, some at a time: names may be made up for a day's use.
-- (Whatever comes to them enters them again.)
for _, queue in ipairs(redis.call('SRANDMEMBER', key('queues'), 100)) do
  local traces = { of_queue(queue, 'nodes'), of_queue(queue, 'delayed'), of_queue(queue, 'paused') }
  if not any_ready(queue) and redis.call('EXISTS', unpack(traces)) == 0 then redis.call('SREM', key('queues'), queue) end
end
return 1
