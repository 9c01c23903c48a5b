-- Which leases a child still holds. A cluster asks before it publishes and stores elsewhere what a run has caused.
-- Needs: keys, types, leases
--
-- ARGV   1  key prefix
--        2  packed { node, {field as far as it is known, ...} }
-- Reply  {1 or 0 for each}

local node, fields = unpack(cmsgpack.unpack(ARGV[2]))
local leased, held = key('leased:' .. node), {}
expect(leased, 'hash')
if wrong then return refusal() end
for i, field in ipairs(fields) do held[i] = find_lease(leased, field) and 1 or 0 end
return held
