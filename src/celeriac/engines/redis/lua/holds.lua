-- Which leases a child still holds. A cluster asks before it publishes and stores elsewhere what a run has caused.
--
-- ARGV   1  key prefix
--        2  packed { node, child, {token, ...} }
-- Reply  {1 or 0 for each token}

local node, child, tokens = unpack(cmsgpack.unpack(ARGV[2]))
local leased, held = key('leased:' .. node), {}
expect(leased, 'hash')
if wrong then return refusal() end
for i, token in ipairs(tokens) do held[i] = redis.call('HEXISTS', leased, lease_field(child, token)) end
return held
