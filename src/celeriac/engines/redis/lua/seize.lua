-- Take over the leases of a dead child, or of one node whose lease has run out, under new tokens.
--
-- ARGV   1  key prefix
--        2  packed { from node or '', from child or -1, to node, to child }
--           with no node named: from a node that has expired, if `to` has itself renewed without a gap for a full lease
-- Reply  { {token, queue, deliveries, begun, raw, old token}, ... }, or nil when no node has expired
--
-- After an outage the living renew first: nobody may take over who has not been steady for as long as a lease lasts.

local from, from_child, to, to_child = unpack(cmsgpack.unpack(ARGV[2]))
local nodes, own, queues = key('nodes'), key('leased:' .. to), {}
expect(nodes, 'zset') expect(own, 'hash') expect(key('node:' .. to), 'hash') expect_number(key('token'))
if wrong then return refusal() end

local whole_node = from == ''
if whole_node then
  local now = now_ms()
  local expiry = tonumber(redis.call('ZSCORE', nodes, to) or 0)
  local about = redis.call('HMGET', key('node:' .. to), 'steady', 'lease')
  if expiry < now or not about[1] or now - about[1] < tonumber(about[2]) then return nil end
  from = redis.call('ZRANGEBYSCORE', nodes, '-inf', '(' .. now, 'LIMIT', 0, 1)[1]
  if not from then return nil end
end
local theirs = key('leased:' .. from)
expect(theirs, 'hash') expect(key('node:' .. from), 'hash')
if wrong then return refusal() end
if whole_node then
  local packed = redis.call('HGET', key('node:' .. from), 'queues')
  if packed then queues = cmsgpack.unpack(packed) end
  for _, queue in ipairs(queues) do expect_queue(queue) end
  if wrong then return refusal() end
end

local taken = {}
local all = redis.call('HGETALL', theirs)
for i = 1, #all, 2 do
  local owner, token = string.match(all[i], '^(%d+):(%d+)$')
  if whole_node or tonumber(owner) == from_child then taken[#taken + 1] = { tonumber(token), all[i], all[i + 1] } end
end
table.sort(taken, function(a, b) return a[1] < b[1] end)

local leases = {}
if #taken > 0 then
  local token = redis.call('INCRBY', key('token'), #taken) - #taken
  for i, lease in ipairs(taken) do
    redis.call('HDEL', theirs, lease[2])
    local queue, step, deliveries, begun, raw = unpack(cmsgpack.unpack(lease[3]))
    redis.call('HSET', own, to_child .. ':' .. (token + i), cmsgpack.pack({ queue, step, deliveries, begun, raw, lease[1] }))
    leases[i] = { token + i, queue, deliveries, begun, raw, lease[1] }
  end
end
if whole_node then
  for _, queue in ipairs(queues) do redis.call('ZREM', of_queue(queue, 'nodes'), from) end
  redis.call('ZREM', nodes, from)
  redis.call('DEL', key('node:' .. from))
end
return leases
