-- Needs: keys, types

-- Ring one waiter of the queue for each of `count` messages that came. Who parked last is rung first: the dead sink down.
local function ring(queue, count)
  local waiting = of_queue(queue, 'waiting')
  if not was_there(waiting) or redis.call('EXISTS', waiting) == 0 or redis.call('EXISTS', of_queue(queue, 'paused')) == 1 then return end
  local bells = redis.pcall('ZPOPMAX', waiting, count) -- what came is written: nothing may fail any more
  if #bells == 0 then return end
  for i = 1, #bells, 2 do
    local bell = key('bell:' .. bells[i])
    redis.pcall('LPUSH', bell, '1')
    redis.pcall('LTRIM', bell, 0, 7)
    redis.pcall('EXPIRE', bell, 60)
  end
  -- Who looks for messages of foreign producers leaves these to those who were rung (glance.lua).
  redis.call('SET', of_queue(queue, 'rung'), '1', 'PX', 1000)
end
