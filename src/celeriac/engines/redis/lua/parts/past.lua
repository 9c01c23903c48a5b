-- Needs: keys

-- Of what `celeriac:past` has for a message: crashes, what is told of them or '', and whether "b" or ''.
local function past_of(raw)
  local crashes, told, begun = string.match(redis.call('HGET', key('past'), redis.sha1hex(raw)) or '0', '^(%d+)(.-)(b?)$')
  return tonumber(crashes), told, begun
end
