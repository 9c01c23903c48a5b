-- In a cluster: publish what runs in another queue have caused, once for each commit, before those runs are settled there.
-- Needs: keys, clock, types, queues, adding, bells
--
-- ARGV   1  key prefix
--        2  packed { courier, { {commit, floor, messages as in publish.lua}, ... }, {commit that is settled, ...} }
-- Reply  1
--
--   celeriac:followed:<courier>   hash   commits seen and not known to be settled
--
-- The floor is the token of the run: a run that follows must have a higher one than the run that caused it, as results are
-- told apart by it, and the clocks of two masters need not agree.

local courier, commits, settled = unpack(cmsgpack.unpack(ARGV[2]))
local followed = key('followed:' .. courier)
expect(followed, 'hash') expect(key('queues'), 'set') expect_number(key('token'))
for _, commit in ipairs(commits) do
  for _, message in ipairs(commit[3]) do expect_queue(message[1]) end
end
if wrong then return refusal() end

for _, commit in ipairs(settled) do redis.call('HDEL', followed, commit) end
local now, came = now_ms(), {}
for _, commit in ipairs(commits) do
  if redis.call('HSETNX', followed, commit[1], '1') == 1 then
    add(commit[3], now, came)
    if tonumber(redis.call('GET', key('token')) or 0) < commit[2] then
      redis.call('SET', key('token'), string.format('%d', commit[2]))
    end
  end
end
redis.call('EXPIRE', followed, 86400)
for queue, count in pairs(came) do ring(queue, count) end
return 1
