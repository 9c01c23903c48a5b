-- What a child holds; from here on, claims of an older generation are refused.
--
-- ARGV   1  key prefix
--        2  packed { node, child, generation }
-- Reply  { {token, queue, deliveries, begun, raw, past or '', token of the owner it was taken over from or -1}, ... } in order of token

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
  local owner, token = string.match(all[i], '^(%d+):(%d+)$')
  if tonumber(owner) == child then
    local queue, _, deliveries, begun, raw, previous = unpack(cmsgpack.unpack(all[i + 1]), 1, 6)
    local _, told = 0, ''
    if noted then _, told = past_of(raw) end
    held[#held + 1] = { tonumber(token), queue, deliveries, begun, raw, told, previous or -1 }
  end
end
table.sort(held, function(a, b) return a[1] < b[1] end)
return held
