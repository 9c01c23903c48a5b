-- Add messages, all or none, once per receipt.
--
-- ARGV   1  key prefix
--        2  packed { producer, number, messages: {{queue, priority, raw, due in ms or -1}, ...} }
-- Reply  1, or 0 if this receipt (or a later one of the producer) was seen before

local producer, number, messages = unpack(cmsgpack.unpack(ARGV[2]))
local receipt = key('producer:' .. producer)

expect_number(receipt) expect(key('queues'), 'set')
for i, message in ipairs(messages) do
  if i == 1 or message[1] ~= messages[i - 1][1] then expect_queue(message[1]) end
end
if wrong then return refusal() end
-- A failover may take a receipt back, and then its messages with it: both were written in one step, and repeating adds them
-- again. It never takes back a receipt and leaves its messages. A producer sends one number at a time, so no higher number
-- can stand there while this one's messages are missing.
if tonumber(redis.call('GET', receipt) or -1) >= number then
  redis.call('EXPIRE', receipt, 86400) -- a write, for whoever WAITs on this connection until it is replicated
  return 0
end

redis.call('SET', receipt, number, 'EX', 86400)
local came = {}
add(messages, now_ms(), came)
for queue, count in pairs(came) do ring(queue, count) end
return 1
