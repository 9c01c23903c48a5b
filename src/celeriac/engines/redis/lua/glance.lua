-- Whether a waiter should get up for a message that nobody was rung for, as Celery's producers ring no bells.
-- Needs: keys, clock, types, queues
--
-- ARGV   1  key prefix
--        2  packed { {queue, ...} }
-- Reply  1 for one waiter in a second, 0 for the others and while somebody who was rung is on the way

local queues = unpack(cmsgpack.unpack(ARGV[2]))
for _, queue in ipairs(queues) do expect_queue(queue) end
if wrong then return refusal() end
local now = now_ms()
for _, queue in ipairs(queues) do
  if anything(queue, now) and redis.call('EXISTS', of_queue(queue, 'paused')) == 0
    and redis.call('SET', of_queue(queue, 'rung'), '1', 'NX', 'PX', 1000) then
    return 1
  end
end
return 0
