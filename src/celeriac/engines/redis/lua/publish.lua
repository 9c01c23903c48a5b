-- Add messages that go the same way, and now: to one list, all or none, once per receipt.
-- Needs: keys, types, receipts, bells
--
-- ARGV   1  key prefix
--        2  packed { producer, number, queue, priority, last raw }; the first raw is ARGV[3]
-- Reply  1, or 0 if this receipt (or a later one of the producer) was seen before

local producer, number, queue, priority, last = unpack(cmsgpack.unpack(ARGV[2]))
local receipt = receipt_of(producer)
if wrong then return refusal() end
if was_seen(receipt, number) then return 0 end

-- Needs no look at the types of its keys: what is written before the push means nothing without it.
local list = ready(queue, step_of(priority))
local listed = redis.pcall('SADD', key('queues'), queue)
local pushed = type(listed) == 'table' and listed or redis.pcall('LPUSH', list, ARGV[3])
if type(pushed) == 'table' then -- an error
  expect(key('queues'), 'set') expect(list, 'list')
  return wrong and refusal() or pushed
end
for first = 4, last, 1000 do -- Lua unpacks some thousands at most
  redis.call('LPUSH', list, unpack(ARGV, first, math.min(first + 999, last)))
end
sign(receipt, number)
ring(queue, last - 2)
return 1
