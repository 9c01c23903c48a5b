-- Take over the leases of a dead child, or of one node whose lease has run out, under new tokens.
-- Needs: keys, clock, types, queues, leases, tokens, full, past
--
-- ARGV   1  key prefix
--        2  packed { from node or '', from child or -1, to node, to child, highest token that `to` has seen,
--                    {token, ...} or nil for all }
--           with no node named: from a node that has expired, if `to` has itself renewed without a gap for a full lease
-- Reply  { {token, tail, past or '', raw}, ... } with the tails of their fields, or nil when no node has expired
--
-- After an outage the living renew first: nobody may take over who has not been steady for as long as a lease lasts, its own
-- and that of whom it takes over from (who renews no oftener than that asks for).
-- A server's clock may be turned back. No lease then lasts longer than it was given for: what lies further ahead is cut.

local from, from_child, to, to_child, seen_token, only = unpack(cmsgpack.unpack(ARGV[2]), 1, 6)
local nodes, own, queues = key('nodes'), key('leased:' .. to), {}
expect(nodes, 'zset') expect(own, 'hash') expect(key('node:' .. to), 'hash') expect_number(key('token'))
expect(key('past'), 'hash')
if wrong then return refusal() end

-- The queues a node serves, whose keys are then checked.
local function served_by(node)
  expect(key('node:' .. node), 'hash')
  if wrong then return {} end
  local packed = redis.call('HGET', key('node:' .. node), 'queues')
  local served = packed and cmsgpack.unpack(packed) or {}
  for _, queue in ipairs(served) do expect_queue(queue) end
  return served
end

local function lease_of(node) return tonumber(redis.call('HGET', key('node:' .. node), 'lease') or 0) end

-- Who counts as alive for longer than its lease: { node, its queues, until when it should }.
local too_far_ahead = {}
local function look_ahead(now, lease)
  local ahead = redis.call('ZRANGEBYSCORE', nodes, '(' .. (now + lease), '+inf', 'WITHSCORES')
  for i = 1, #ahead, 2 do
    local served = served_by(ahead[i])
    if wrong then return end
    local latest = now + lease_of(ahead[i])
    if tonumber(ahead[i + 1]) > latest then too_far_ahead[#too_far_ahead + 1] = { ahead[i], served, latest } end
  end
end

local function expired_node(now)
  local expiry = tonumber(redis.call('ZSCORE', nodes, to) or 0)
  local about = redis.call('HMGET', key('node:' .. to), 'steady', 'lease')
  if expiry < now or not about[1] then return nil end
  local steady_for, lease = now - about[1], tonumber(about[2])
  look_ahead(now, lease)
  if wrong or steady_for < lease then return nil end
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', '(' .. now)) do
    expect(key('node:' .. node), 'hash')
    if wrong then return nil end
    if steady_for >= lease_of(node) then return node end
  end
end

local whole_node = from == ''
if whole_node then
  from = expired_node(now_ms())
  if from and not wrong then queues = served_by(from) end
end
local theirs = key('leased:' .. (from or to))
expect(theirs, 'hash')
if wrong then return refusal() end

go_on_when_full()
for _, node in ipairs(too_far_ahead) do
  redis.call('ZADD', nodes, node[3], node[1])
  for _, queue in ipairs(node[2]) do redis.call('ZADD', of_queue(queue, 'nodes'), node[3], node[1]) end
end
if not from then return nil end

local wanted
if only then
  wanted = {}
  for _, token in ipairs(only) do wanted[token] = true end
end
local taken = {}
local all = redis.call('HGETALL', theirs)
for i = 1, #all, 2 do
  local owner, token = read_lease(all[i])
  if whole_node or (owner == from_child and (not wanted or wanted[token])) then
    taken[#taken + 1] = { token, all[i], all[i + 1] }
  end
end
table.sort(taken, function(a, b) return a[1] < b[1] end)

local leases = {}
if #taken > 0 then
  local token = new_tokens(#taken, seen_token)
  for i, lease in ipairs(taken) do
    redis.call('HDEL', theirs, lease[2])
    local _, previous, _, queue, step, deliveries, begun = read_lease(lease[2])
    local tail, raw = lease_tail(queue, step, deliveries, begun, previous), lease[3]
    redis.call('HSET', own, lease_field(to_child, token + i, tail), raw)
    local _, told = 0, ''
    if was_there(key('past')) then _, told = past_of(raw) end
    leases[i] = { token + i, tail, told, raw }
  end
end
if not whole_node and from == to and not only then
  -- The child is dead, and another number is never given twice. Should a claim of it arrive yet, what it takes is found as
  -- that of a child which does not live.
  redis.call('HDEL', key('node:' .. from), 'generation:' .. from_child)
end
if whole_node then
  for _, queue in ipairs(queues) do redis.call('ZREM', of_queue(queue, 'nodes'), from) end
  redis.call('ZREM', nodes, from)
  redis.call('DEL', key('node:' .. from))
end
return leases
