-- What is known of a lease stands in its field, so that the message is stored as it is: to pack a message with something
-- else is to copy it, which costs more than to store it. `tail` is what follows child and token.
-- %d, since Lua writes large numbers as 1.7e+15.
-- (And not %s, since that ends at a zero byte.)
local function lease_field(child, token, tail) return string.format('%d:%d:', child, token) .. tail end
local function lease_tail(queue, step, deliveries, begun, previous)
  return string.format('%d:%d:%s:', step, deliveries, begun and 'b' or '') .. (previous and string.format('%d:', previous) or ':') .. queue
end

-- Child, token, tail, queue, step, deliveries, whether begun, previous token or nil.
local function read_lease(field)
  local child, token, tail = string.match(field, '^(%d+):(%d+):(.*)$')
  local step, deliveries, begun, previous, queue = string.match(tail, '^(%d):(%d+):(b?):(%d*):(.*)$')
  return tonumber(child), tonumber(token), tail, queue, tonumber(step), tonumber(deliveries), begun == 'b', tonumber(previous)
end

-- The field of a lease as it is now, or nil. Who asks mostly remembers it; else (it was another process that claimed, or the
-- run has begun since) knows its beginning, and all fields are read, once in a script.
local fields_by_lease
local function lease_in(field) return string.match(field, '^%d+:%d+') end
local function find_lease(leased, remembered)
  if redis.call('HEXISTS', leased, remembered) == 1 then return remembered end
  if not fields_by_lease then
    fields_by_lease = {}
    for _, field in ipairs(redis.call('HKEYS', leased)) do fields_by_lease[lease_in(field)] = field end
  end
  local field = fields_by_lease[lease_in(remembered)]
  if field and redis.call('HEXISTS', leased, field) == 1 then return field end
end
