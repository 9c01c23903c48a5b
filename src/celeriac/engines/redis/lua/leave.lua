-- Take an idle child that has found work elsewhere off the list of a queue's waiters.
-- Needs: keys, clock, types, queues, bells
--
-- ARGV   1  key prefix
--        2  packed { queue, bell }
-- Reply  1, or 0 if it was rung already: then the next waiter is rung in its place

local queue, bell = unpack(cmsgpack.unpack(ARGV[2]))
expect_queue(queue)
if wrong then return refusal() end
if redis.call('ZREM', of_queue(queue, 'waiting'), bell) == 1 then return 1 end
if anything(queue, now_ms()) then ring(queue, 1) end
return 0
