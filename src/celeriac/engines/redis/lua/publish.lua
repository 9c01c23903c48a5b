-- Add messages, all or none, once per receipt.
--
-- ARGV   1  key prefix
--        2  packed { producer, number, runs: {{queue, priority, first raw, last raw, due in ms or -1}, ...} }, in which a
--           run is of messages that go the same way
-- Reply  1, or 0 if this receipt (or a later one of the producer) was seen before

local producer, number, runs = unpack(cmsgpack.unpack(ARGV[2]))
local receipt = key('producer:' .. producer)

expect_number(receipt)
-- One run for one list needs no look at the types of its keys: what is written before the push means nothing without it.
local run = runs[1]
local alone = #runs == 1 and run[5] < 0
if not alone then
  expect(key('queues'), 'set')
  for i, other in ipairs(runs) do
    if i == 1 or other[1] ~= runs[i - 1][1] then expect_queue(other[1]) end
  end
end
if wrong then return refusal() end
-- A failover may take a receipt back, and then its messages with it: both were written in one step, and repeating adds them
-- again. It never takes back a receipt and leaves its messages. A producer sends one number at a time, so no higher number
-- can stand there while this one's messages are missing.
if was_there(receipt) and numbers[receipt] >= number then
  redis.call('EXPIRE', receipt, 86400) -- a write, for whoever WAITs on this connection until it is replicated
  return 0
end

if alone then
  local list = ready(run[1], step_of(run[2]))
  local listed = redis.pcall('SADD', key('queues'), run[1])
  local pushed = type(listed) == 'table' and listed or redis.pcall('LPUSH', list, ARGV[run[3]])
  if type(pushed) == 'table' then -- an error
    expect(key('queues'), 'set') expect(list, 'list')
    return wrong and refusal() or pushed
  end
  for first = run[3] + 1, run[4], 1000 do -- Lua unpacks some thousands at most
    redis.call('LPUSH', list, unpack(ARGV, first, math.min(first + 999, run[4])))
  end
  redis.call('SET', receipt, number, 'EX', 86400)
  ring(run[1], run[4] - run[3] + 1)
  return 1
end

redis.call('SET', receipt, number, 'EX', 86400)
local came = {}
for _, one in ipairs(runs) do
  for raw = one[3], one[4] do add({ { one[1], one[2], raw, one[5] } }, now_ms(), came) end
end
for queue, count in pairs(came) do ring(queue, count) end
return 1
