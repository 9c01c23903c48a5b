-- Single messages that wait: look for them, list what is delayed, take them out, hasten them.
-- Needs: keys, clock, types, queues, bells, revoked, documents
--
-- ARGV   1  key prefix
--        2  packed { 'queues' } | { 'ready', queue, step, how many were looked at, {id, ...} } | { 'delayed', queue, cursor, {id, ...} }
--           | { 'list', queue, most } | { 'withdraw', { {queue, step, raw, was delayed, record or nil}, ... }, results' database, own database }
--           | { 'hasten', { {queue, step, raw, new raw}, ... } }
--           record { key, document, time to live in ms or -1 }
-- Reply  queues: names; ready: { how many were looked at by now or -1 at the end, {raw, ...} };
--        delayed: { next cursor ('0' at the end), { {step and raw, due in ms}, ... } }; list: { {step and raw, due in ms}, ... };
--        withdraw, hasten: 1 for each that was (still) there, else 0

local verb, first, second, third, fourth = unpack(cmsgpack.unpack(ARGV[2]), 1, 5)
local MOST, MOST_BYTES, TOGETHER = 2000, 500000, 50

expect(key('queues'), 'set') expect(key('past'), 'hash')
if verb == 'withdraw' or verb == 'hasten' then
  for i, item in ipairs(first) do
    if i == 1 or item[1] ~= first[i - 1][1] then expect_queue(item[1]) end
  end
elseif verb ~= 'queues' then
  expect_queue(first)
end
if wrong then return refusal() end
if verb == 'queues' then return redis.call('SMEMBERS', key('queues')) end

local function pairs_of(flat)
  local found = {}
  for i = 1, #flat, 2 do found[#found + 1] = { flat[i], flat[i + 1] } end
  return found
end

if verb == 'list' then
  return pairs_of(redis.call('ZRANGE', of_queue(first, 'delayed'), 0, second - 1, 'WITHSCORES'))
end

local wanted = {}
local function is_wanted(raw)
  for _, id in ipairs(ids_in(raw)) do
    if wanted[id] then return true end
  end
  return false
end

-- From the newest on: what comes meanwhile is put before it and what goes is taken behind it, so none is passed over.
if verb == 'ready' then
  for _, id in ipairs(fourth) do wanted[id] = true end
  local list, at, bytes, found = ready(first, second), third, 0, {}
  while at - third < MOST and bytes < MOST_BYTES do
    local raws = redis.call('LRANGE', list, at, at + TOGETHER - 1)
    for _, raw in ipairs(raws) do
      bytes = bytes + #raw
      if is_wanted(raw) then found[#found + 1] = raw end
    end
    at = at + #raws
    if #raws < TOGETHER then return { -1, found } end
  end
  return { at, found }
end

if verb == 'delayed' then
  for _, id in ipairs(third) do wanted[id] = true end
  local found = {}
  local cursor, flat = unpack(redis.call('ZSCAN', of_queue(first, 'delayed'), second, 'COUNT', 500))
  for _, member in ipairs(pairs_of(flat)) do
    if is_wanted(member[1]) then found[#found + 1] = member end
  end
  return { cursor, found }
end

local done = {}

if verb == 'hasten' then
  local came, now = {}, now_ms()
  for i, item in ipairs(first) do
    local queue, step, raw, new = item[1], item[2], ARGV[item[3]], ARGV[item[4]]
    done[i] = redis.call('ZREM', of_queue(queue, 'delayed'), step .. raw)
    if done[i] == 1 then
      local past = redis.call('HGET', key('past'), redis.sha1hex(raw))
      if past then
        redis.call('HDEL', key('past'), redis.sha1hex(raw))
        redis.call('HSET', key('past'), redis.sha1hex(new), past)
      end
      came[queue] = (came[queue] or 0) + 1
    end
  end
  -- To the head, the first of them last.
  for i = #first, 1, -1 do
    if done[i] == 1 then redis.call('RPUSH', ready(first[i][1], first[i][2]), ARGV[first[i][4]]) end
  end
  for queue, count in pairs(came) do ring(queue, count) end
  return done
end

local results_db, own_db, documents = second, third, {}
if results_db ~= own_db then
  redis.call('SELECT', results_db) -- fails here, before anything is written, if there is no such database
  redis.call('SELECT', own_db)
end
for i, item in ipairs(first) do
  local queue, step, raw, was_delayed, record = item[1], item[2], ARGV[item[3]], item[4], item[5]
  done[i] = was_delayed and redis.call('ZREM', of_queue(queue, 'delayed'), step .. raw) or 0
  if done[i] == 0 then done[i] = redis.call('LREM', ready(queue, step), 1, raw) end
  if done[i] == 1 then
    redis.call('HDEL', key('past'), redis.sha1hex(raw))
    if record then keep_document(documents, record) end
  end
end
store_documents(documents, results_db, own_db)
return done
