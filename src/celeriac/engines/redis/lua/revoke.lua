-- What must not run: mark it, ask about it, see who holds it.
-- Needs: keys, clock, types, leases, tokens, revoked
--
-- ARGV   1  key prefix
--        2  packed { 'revoke', { {id, expires in ms, signal or ''}, ... } } | { 'unrevoke', {id, ...} } | { 'list', most }
--           | { 'held', node, version }
-- Reply  revoke: a fresh token; unrevoke: how many; list: { {id, expires in ms, signal or ''}, ... };
--        held: { version, { {child, token, queue, raw, id, signal or ''}, ... } }, nothing if the version is the one given

local verb, first, since = unpack(cmsgpack.unpack(ARGV[2]), 1, 3)
local marks, signals, version = key('revoked'), key('revoked:signals'), key('revoked:version')
expect(marks, 'zset') expect(signals, 'hash') expect_number(version) expect_number(key('token'))
if verb == 'held' then expect(key('leased:' .. first), 'hash') end
if wrong then return refusal() end
local now = now_ms()

local function forget(ids)
  local count = 0
  for _, id in ipairs(ids) do
    count = count + redis.call('ZREM', marks, id)
    redis.call('HDEL', signals, id)
  end
  return count
end

local function expire()
  forget(redis.call('ZRANGEBYSCORE', marks, '-inf', now, 'LIMIT', 0, 1000))
  local last = redis.call('ZRANGE', marks, -1, -1, 'WITHSCORES')[2]
  for _, name in ipairs({ marks, signals, version }) do
    if last then redis.call('PEXPIREAT', name, string.format('%.0f', last + 1)) else redis.call('DEL', name) end
  end
end

if verb == 'revoke' then
  for _, mark in ipairs(first) do
    redis.call('ZADD', marks, 'GT', mark[2], mark[1])
    if mark[3] ~= '' then redis.call('HSET', signals, mark[1], mark[3]) end
  end
  -- By the clock, so that it is not used again when it has expired and begins anew.
  local raised = math.max(now, numbers[version] + 1)
  redis.call('SET', version, string.format('%.0f', raised))
  expire()
  return new_tokens(1, 0) + 1
end
if verb == 'unrevoke' then
  local count = forget(first)
  expire()
  return count
end

local function signal_of(id) return redis.call('HGET', signals, id) or '' end

if verb == 'list' then
  local found = {}
  local rows = redis.call('ZRANGEBYSCORE', marks, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, first)
  for i = 1, #rows, 2 do found[#found + 1] = { rows[i], rows[i + 1], signal_of(rows[i]) } end
  return found
end

local newest = numbers[version]
if newest == since or not was_there(marks) then return { newest, {} } end
local held, all = {}, redis.call('HGETALL', key('leased:' .. first))
for i = 1, #all, 2 do
  local raw = all[i + 1]
  local id = revoked_id(raw, now)
  if id then
    local child, token, _, queue = read_lease(all[i])
    held[#held + 1] = { child, token, queue, raw, id, signal_of(id) }
  end
end
return { newest, held }
