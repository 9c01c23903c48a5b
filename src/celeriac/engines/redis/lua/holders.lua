-- The children of a node that hold leases.
-- Needs: keys, types
--
-- ARGV   1  key prefix
--        2  packed { node }
-- Reply  { child, ... }

local node = unpack(cmsgpack.unpack(ARGV[2]))
local leased = key('leased:' .. node)
expect(leased, 'hash')
if wrong then return refusal() end

local found, known = {}, {}
for _, field in ipairs(redis.call('HKEYS', leased)) do
  local child = string.match(field, '^%d+')
  if not known[child] then
    known[child] = true
    found[#found + 1] = tonumber(child)
  end
end
return found
