-- Needs: keys, clock, types

-- The token before the first of `count` new ones.
--
-- A failover, and a restart without `appendfsync always`, may take back the last claims together with the counter. A token
-- that was given out must not be given again even then, or its first holder could settle the second's message. So the asker
-- says the highest it has seen (a lease is addressed by owner and token, so no other owner's matter), and the clock keeps
-- tokens growing from owner to owner, which decides whose result is newer. Microseconds fit into Lua's numbers until 2255.
local function new_tokens(count, seen_by_owner)
  local last = math.max(numbers[key('token')], seen_by_owner, clock()[1] * 1000000 + clock()[2])
  redis.call('SET', key('token'), string.format('%d', last + count))
  return last
end
