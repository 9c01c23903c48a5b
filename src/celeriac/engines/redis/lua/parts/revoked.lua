-- Needs: keys

-- The ids that may be a message's: its header and its correlation id. Texts within strings have their quotes escaped, so
-- only keys are found, and none of the body, which is itself such a text. Whoever acts on it decodes it and compares.
local function ids_in(raw)
  local found = {}
  for _, name in ipairs({ '"id"', '"correlation_id"' }) do
    local _, at = string.find(raw, name, 1, true)
    local id = at and string.match(raw, '^%s*:%s*"([^"]*)"', at + 1)
    if id and string.find(id, '\\', 1, true) then
      local read, envelope = pcall(cjson.decode, raw)
      local headers = read and type(envelope) == 'table' and envelope.headers
      id = type(headers) == 'table' and type(headers.id) == 'string' and headers.id or nil
    end
    if id and id ~= found[1] then found[#found + 1] = id end
  end
  return found
end

-- The id of a message that is revoked, or nil.
local function revoked_id(raw, now)
  for _, id in ipairs(ids_in(raw)) do
    if tonumber(redis.call('ZSCORE', key('revoked'), id) or 0) > now then return id end
  end
end
