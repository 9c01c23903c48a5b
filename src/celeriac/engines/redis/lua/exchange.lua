-- Settle what has finished and claim more: one round trip per batch.
--
-- ARGV   1  key prefix
--        2  packed { node, child, generation, highest token seen, results' database, own database, commits, claim or nil }
--           commit  { token, kind, first, second, record or nil, messages, past or nil }
--             kind  0 acknowledge | 1 requeue (delay in ms, counted) | 2 bury (reason, detail) | 3 keep (begun)
--             record { key, document, time to live in ms or -1 }
--             messages as in publish.lua; past: what is told of earlier runs from now on (requeue)
--           claim   { queues, limit, most bytes, own bell or '', whether to park it }
-- Reply  { {1 or 0 for each commit}, { {token, queue, deliveries, begun, raw, past or ''}, ... }, ms until the next is due or -1,
--          { {token, id}, ... } of those that are revoked }
--
-- A claim of an older generation than one seen is refused: its sender has given it up as unanswered and has asked what it
-- holds, so what it would take now, nobody would know of. A failover may take the generation back, which opens no way for
-- such a claim: it was sent to the old master, and nobody carries it to the new one.

local node, child, generation, seen_token, results_db, own_db, commits, claim = unpack(cmsgpack.unpack(ARGV[2]), 1, 8)
local leased, info, past = key('leased:' .. node), key('node:' .. node), key('past')
local letters, dead = key('dead:letters'), key('dead')

expect(leased, 'hash') expect(info, 'hash') expect(key('queues'), 'set') expect(key('nodes'), 'zset')
expect_rare({ past, key('revoked') }, { 'hash', 'zset' })
local stores = false
for _, commit in ipairs(commits) do
  for _, message in ipairs(commit[6]) do expect_queue(message[1]) end
  if commit[5] then stores = true end
  if commit[2] == 1 and not wrong then
    local packed = redis.call('HGET', leased, lease_field(child, commit[1]))
    if packed then expect_queue(cmsgpack.unpack(packed)[1]) end
  elseif commit[2] == 2 then
    expect(letters, 'hash') expect(dead, 'zset') expect_number(key('letter'))
  end
end
if claim then
  expect_number(key('token'))
  for _, queue in ipairs(claim[1]) do expect_queue(queue) end
end
if wrong then return refusal() end
if stores and results_db ~= own_db then
  redis.call('SELECT', results_db) -- fails here, before anything is written, if there is no such database
  redis.call('SELECT', own_db)
end

local newest = tonumber(redis.call('HGET', info, 'generation:' .. child) or 0)
if generation < newest then return redis.error_reply('STALE a newer connection of this child has taken over') end

go_on_when_full()
local now = now_ms()
local noted = was_there(past)
local came, applied, documents, back = {}, {}, {}, {}

local function note(raw, crashes, told, begun)
  redis.call('HSET', past, redis.sha1hex(raw), crashes .. told .. (begun == 1 and 'b' or ''))
  -- For whatever ends elsewhere (a Celery worker took it). A message may lie for long before it is claimed again.
  redis.call('EXPIRE', past, 31536000)
  noted = true
end

-- By the clock, since a failover may take the counter back: no id that people have seen may come to mean another letter.
local function new_letter()
  local name = key('letter')
  numbers[name] = math.max(numbers[name] + 1, now)
  redis.call('SET', name, string.format('%d', numbers[name]))
  return numbers[name]
end

local function settle(commit)
  local field, kind = lease_field(child, commit[1]), commit[2]
  if kind == 0 and not noted then return redis.call('HDEL', leased, field) == 1 end
  local packed = redis.call('HGET', leased, field)
  if not packed then return false end
  local queue, step, deliveries, begun, raw, previous = unpack(cmsgpack.unpack(packed), 1, 6)
  if kind == 3 then
    if commit[3] then redis.call('HSET', leased, field, cmsgpack.pack({ queue, step, deliveries, 1, raw, previous })) end
    return true
  end
  redis.call('HDEL', leased, field)
  if kind == 1 then
    if commit[4] or commit[7] or begun == 1 then
      local _, told = past_of(raw)
      note(raw, commit[4] and deliveries or deliveries - 1, commit[7] or told, begun)
    end
    if commit[3] > 0 then
      redis.call('ZADD', of_queue(queue, 'delayed'), now + commit[3] + 1, step .. raw)
    else
      back[#back + 1] = { commit[1], ready(queue, step), raw }
    end
    came[queue] = (came[queue] or 0) + 1
    return true
  end
  if noted then redis.call('HDEL', past, redis.sha1hex(raw)) end
  if kind == 2 then
    local id = new_letter()
    redis.call('HSET', letters, id, cmsgpack.pack({ queue, commit[3], commit[4], now, deliveries, raw }))
    redis.call('ZADD', dead, now, id)
  end
  return true
end

for i, commit in ipairs(commits) do
  if settle(commit) then
    applied[i] = 1
    if commit[5] then documents[#documents + 1] = commit[5] end
    add(commit[6], now, came)
  else
    applied[i] = 0
  end
end
-- To the head, the oldest last, so that what is given back together stands there as it did before.
table.sort(back, function(a, b) return a[1] > b[1] end)
for _, returned in ipairs(back) do redis.call('RPUSH', returned[2], returned[3]) end

local leases, next_due, revoked = {}, -1, {}

-- What is due goes to the heads of the lists: it has waited longer than what came meanwhile. No more than is claimed, so
-- that hardly any of it has to wait there behind what is due later.
local function promote(queue, most)
  local delayed = of_queue(queue, 'delayed')
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, most)
  for i = #due, 1, -1 do
    redis.call('ZREM', delayed, due[i])
    redis.call('RPUSH', ready(queue, tonumber(string.sub(due[i], 1, 1))), string.sub(due[i], 2))
  end
end

local function take(queues, limit, most_bytes)
  local bytes = 0
  for _, step in ipairs(STEPS) do
    for _, queue in ipairs(queues) do
      local list = ready(queue, step)
      while #leases < limit do
        -- One by one: how large they are shows only then, and the server stands still while it copies megabytes.
        local raw = redis.call('RPOP', list)
        if not raw then break end
        bytes = bytes + #raw
        local crashes, told, had_begun = 0, '', ''
        if noted then crashes, told, had_begun = past_of(raw) end
        -- A message that was in a crash is lent alone, so that it takes no innocent one along.
        if #leases > 0 and (crashes > 0 or bytes > most_bytes) then
          redis.call('RPUSH', list, raw)
          return
        end
        leases[#leases + 1] = { 0, queue, crashes + 1, had_begun == 'b' and 1 or 0, raw, told, step }
        if crashes > 0 then return end
      end
    end
  end
end

local function lend()
  local token, fields = new_tokens(#leases, seen_token), {}
  for i, lease in ipairs(leases) do
    lease[1] = token + i
    fields[#fields + 1] = lease_field(child, lease[1])
    fields[#fields + 1] = cmsgpack.pack({ lease[2], lease[7], lease[3], lease[4], lease[5] })
    lease[7] = nil
    if #fields == 1000 then
      redis.call('HSET', leased, unpack(fields))
      fields = {}
    end
  end
  if #fields > 0 then redis.call('HSET', leased, unpack(fields)) end
end

if claim and redis.call('ZSCORE', key('nodes'), node) then
  local bell, park, queues = claim[4], claim[5], {}
  if generation > newest then redis.call('HSET', info, 'generation:' .. child, generation) end
  for _, queue in ipairs(claim[1]) do
    if not was_there(of_queue(queue, 'paused')) then queues[#queues + 1] = queue end
  end
  for _, queue in ipairs(queues) do
    -- What the commits have delayed is not due yet.
    if was_there(of_queue(queue, 'delayed')) then promote(queue, math.min(claim[2], 500)) end
  end
  take(queues, claim[2], claim[3])
  if #leases > 0 then
    lend()
    if was_there(key('revoked')) then
      for _, lease in ipairs(leases) do
        local id = revoked_id(lease[5], now)
        if id then revoked[#revoked + 1] = { lease[1], id } end
      end
    end
  end
  for _, queue in ipairs(claim[1]) do
    if #leases > 0 then
      if bell ~= '' then redis.call('ZREM', of_queue(queue, 'waiting'), bell) end
    elseif park then
      -- Also on paused queues: whoever resumes one wakes who waits for it.
      redis.call('ZADD', of_queue(queue, 'waiting'), now, bell)
    end
  end
  for _, queue in ipairs(queues) do
    local first = redis.call('ZRANGE', of_queue(queue, 'delayed'), 0, 0, 'WITHSCORES')[2]
    if first then
      local left = math.max(0, first - now)
      if next_due < 0 or left < next_due then next_due = left end
    end
    local is_due = first and tonumber(first) <= now
    if not is_due and not any_ready(queue) then
      came[queue] = nil
      redis.call('DEL', of_queue(queue, 'rung'))
    elseif #leases > 0 and not came[queue] then
      -- We may have been woken for one message and taken another: whoever waits next is woken if anything is left.
      came[queue] = 1
    end
  end
end
for queue, count in pairs(came) do ring(queue, count) end

store_documents(documents, results_db, own_db)
return { applied, leases, next_due, revoked }
