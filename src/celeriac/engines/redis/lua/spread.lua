-- Add messages that go several ways, or later: all or none, once per receipt.
-- Needs: keys, clock, types, receipts, queues, adding, bells
--
-- ARGV   1  key prefix
--        2  packed { producer, number, runs: {{queue, priority, first raw, last raw, due in ms or -1}, ...} }, in which a
--           run is of messages that go the same way
-- Reply  1, or 0 if this receipt (or a later one of the producer) was seen before

local producer, number, runs = unpack(cmsgpack.unpack(ARGV[2]))
local receipt = receipt_of(producer)
expect(key('queues'), 'set')
for i, run in ipairs(runs) do
  if i == 1 or run[1] ~= runs[i - 1][1] then expect_queue(run[1]) end
end
if wrong then return refusal() end
if was_seen(receipt, number) then return 0 end

sign(receipt, number)
local came = {}
for _, run in ipairs(runs) do
  for raw = run[3], run[4] do add({ { run[1], run[2], raw, run[5] } }, now_ms(), came) end
end
for queue, count in pairs(came) do ring(queue, count) end
return 1
