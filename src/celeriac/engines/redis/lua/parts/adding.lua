-- Needs: keys, types

-- Put a message into a list, at its head (who takes it) or its foot.
local function push(side, list, raw)
  redis.call(side, list, raw)
  kinds[list] = 'list'
end

-- Add messages {queue, priority, number of raw, due or -1}; `came` counts them by queue for the caller, who rings.
local function add(messages, now, came)
  for _, message in ipairs(messages) do
    local queue, step, raw, due = message[1], step_of(message[2]), ARGV[message[3]], message[4]
    if not came[queue] then
      came[queue] = 0
      redis.call('SADD', key('queues'), queue)
    end
    came[queue] = came[queue] + 1
    -- Work for later waits with us only while one of ours serves the queue; else a Celery worker must find it in the list.
    if due > now and redis.call('ZCOUNT', of_queue(queue, 'nodes'), now, '+inf') > 0 then
      redis.call('ZADD', of_queue(queue, 'delayed'), due, step .. raw)
      kinds[of_queue(queue, 'delayed')] = 'zset'
    else
      push('LPUSH', ready(queue, step), raw)
    end
  end
end
