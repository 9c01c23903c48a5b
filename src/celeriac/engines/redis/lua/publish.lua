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
if tonumber(redis.call('GET', receipt) or -1) >= number then return 0 end

redis.call('SET', receipt, number, 'EX', 86400)
local came = {}
add(messages, now_ms(), came)
for queue, count in pairs(came) do ring(queue, count) end
return 1
