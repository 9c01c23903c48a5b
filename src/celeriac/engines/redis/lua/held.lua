-- What a child holds; from here on, claims of an older generation are refused.
-- Needs: keys, types, leases, full, past
--
-- ARGV   1  key prefix
--        2  packed { node, child, generation }
-- Reply  { {token, tail, past or '', raw}, ... } with the tails of their fields, in order of token

local node, child, generation = unpack(cmsgpack.unpack(ARGV[2]))
local leased, info = key('leased:' .. node), key('node:' .. node)
expect(leased, 'hash') expect(info, 'hash') expect(key('past'), 'hash')
if wrong then return refusal() end

go_on_when_full()
if was_there(info) and tonumber(redis.call('HGET', info, 'generation:' .. child) or 0) < generation then
  redis.call('HSET', info, 'generation:' .. child, generation)
end
local noted = was_there(key('past'))
local held, all = {}, redis.call('HGETALL', leased)
for i = 1, #all, 2 do
  local owner, token, tail = read_lease(all[i])
  if owner == child then
    local raw, _, told = all[i + 1], 0, ''
    if noted then _, told = past_of(raw) end
    held[#held + 1] = { token, tail, told, raw }
  end
end
table.sort(held, function(a, b) return a[1] < b[1] end)
return held
