-- Put back a message that a Celery worker took and never acknowledged.
-- Needs: keys, types, queues, bells
--
-- ARGV   1  key prefix
--        2  packed { delivery tag, queue, priority, raw message }
-- Reply  1, or 0 if someone else did it first

local tag, queue, priority, raw = unpack(cmsgpack.unpack(ARGV[2]))
raw = ARGV[raw]
expect_queue(queue) expect(prefix .. 'unacked', 'hash') expect(prefix .. 'unacked_index', 'zset')
if wrong then return refusal() end
if redis.call('ZREM', prefix .. 'unacked_index', tag) == 0 then return 0 end
redis.call('HDEL', prefix .. 'unacked', tag)
redis.call('RPUSH', ready(queue, step_of(priority)), raw)
ring(queue, 1)
return 1
