-- Settle what has finished and claim more: one round trip per batch.
-- Needs: keys, clock, types, queues, leases, tokens, full, past, adding, bells, revoked, documents
--
-- ARGV   1  key prefix
--        2  packed { node, child, generation, highest token seen, results' database, own database, commits, claim or nil }
--           commits { 0, how many, number of the first's lease, time to live in ms or -1, or nil without documents }: acknowledge.
--                     Their arguments follow each other: lease, or lease, key, document
--                   or one of { kind, lease, first, second, record or nil, messages, past or nil }
--             kind    1 requeue (delay in ms, counted) | 2 bury (reason, detail) | 3 keep (begun) | 4 acknowledge
--             lease   its field; that, or only its beginning "<child>:<token>:", as far as the asker knows
--             record  { key, document, time to live in ms or -1 }
--             messages as in publish.lua; past: what is told of earlier runs from now on (requeue)
--           claim   { queues, limit, most bytes, own bell or '', whether to park it }
-- Reply  { {which of the commits are refused, counted from 1}, ms until the next is due or -1, { {token, id}, ... } of those that
--          are revoked, the first lease's token, { how many, tail, past or '', ... } of leases that have these in common,
--          {raw, ...} }
--
-- A claim of an older generation than one seen is refused: its sender has given it up as unanswered and has asked what it
-- holds, so what it would take now, nobody would know of. A failover may take the generation back, which opens no way for
-- such a claim: it was sent to the old master, and nobody carries it to the new one.

local node, child, generation, seen_token, results_db, own_db, commits, claim = unpack(cmsgpack.unpack(ARGV[2]), 1, 8)
local leased, info, past = key('leased:' .. node), key('node:' .. node), key('past')
local letters, dead = key('dead:letters'), key('dead')

expect(leased, 'hash') expect(info, 'hash') expect(key('queues'), 'set')
local is_known = read('zset', 'ZSCORE', key('nodes'), node)
expect_rare({ past, key('revoked') }, { 'hash', 'zset' })
local stores = false
for _, commit in ipairs(commits) do
  if commit[1] == 0 then
    if commit[4] then stores = true end
  else
    for _, message in ipairs(commit[6]) do expect_queue(message[1]) end
    if commit[5] then stores = true end
    if commit[1] == 1 and not wrong then
      local field = find_lease(leased, commit[2])
      if field then
        local _, _, _, queue = read_lease(field)
        expect_queue(queue)
      end
    elseif commit[1] == 2 then
      expect(letters, 'hash') expect(dead, 'zset') expect_number(key('letter'))
    end
  end
end
if claim then
  expect_number(key('token'))
  expect_queues(claim[1])
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
local came, refused, documents, back, settled = {}, {}, {}, {}, 0

local function note(raw, crashes, told, begun)
  redis.call('HSET', past, redis.sha1hex(raw), crashes .. told .. (begun and 'b' or ''))
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

local function acknowledge(field)
  if not noted and redis.call('HDEL', leased, field) == 1 then return true end
  field = find_lease(leased, field)
  if not field then return false end
  if noted then redis.call('HDEL', past, redis.sha1hex(redis.call('HGET', leased, field))) end
  redis.call('HDEL', leased, field)
  return true
end

local function acknowledge_all(count, first, ttl_ms)
  local n, width = #documents, ttl_ms and 3 or 1
  for i = first, first + (count - 1) * width, width do
    settled = settled + 1
    if not acknowledge(ARGV[i]) then
      refused[#refused + 1] = settled
    elseif ttl_ms then
      documents[n + 1], documents[n + 2], documents[n + 3] = ARGV[i + 1], ARGV[i + 2], ttl_ms
      n = n + 3
    end
  end
end

local function requeue(delay_ms, counted, told_now, raw, queue, step, deliveries, begun, token)
  if counted or told_now or begun then
    local _, told = past_of(raw)
    note(raw, counted and deliveries or deliveries - 1, told_now or told, begun)
  end
  redis.call('SADD', key('queues'), queue)
  if delay_ms > 0 then
    redis.call('ZADD', of_queue(queue, 'delayed'), now + delay_ms + 1, step .. raw)
    kinds[of_queue(queue, 'delayed')] = 'zset'
  else
    back[#back + 1] = { token, ready(queue, step), raw }
  end
  came[queue] = (came[queue] or 0) + 1
end

local function settle(kind, remembered, first, second, told)
  if kind == 4 then return acknowledge(remembered) end
  local field = find_lease(leased, remembered)
  if not field then return false end
  local child, token, _, queue, step, deliveries, begun, previous = read_lease(field)
  if kind == 3 then
    if first and not begun then
      local raw = redis.call('HGET', leased, field)
      redis.call('HDEL', leased, field)
      redis.call('HSET', leased, lease_field(child, token, lease_tail(queue, step, deliveries, true, previous)), raw)
      fields_by_lease = nil
    end
    return true
  end
  local raw = redis.call('HGET', leased, field)
  redis.call('HDEL', leased, field)
  if kind == 1 then
    requeue(first, second, told, raw, queue, step, deliveries, begun, token)
    return true
  end
  if noted then redis.call('HDEL', past, redis.sha1hex(raw)) end
  local id = new_letter()
  redis.call('HSET', letters, id, cmsgpack.pack({ queue, first, second, now, deliveries, raw }))
  redis.call('ZADD', dead, now, id)
  return true
end

for _, commit in ipairs(commits) do
  if commit[1] == 0 then
    acknowledge_all(commit[2], commit[3], commit[4])
  else
    settled = settled + 1
    if settle(commit[1], commit[2], commit[3], commit[4], commit[7]) then
      if commit[5] then keep_document(documents, commit[5]) end
      add(commit[6], now, came)
    else
      refused[#refused + 1] = settled
    end
  end
end
-- To the head, the oldest last, so that what is given back together stands there as it did before.
table.sort(back, function(a, b) return a[1] > b[1] end)
for _, returned in ipairs(back) do push('RPUSH', returned[2], returned[3]) end

local token, alike, raws, next_due, revoked = 0, {}, {}, -1, {}

-- What is due goes to the heads of the lists: it has waited longer than what came meanwhile. No more than is claimed, so
-- that hardly any of it has to wait there behind what is due later.
local function promote(queue, most)
  local delayed = of_queue(queue, 'delayed')
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, most)
  for i = #due, 1, -1 do
    redis.call('ZREM', delayed, due[i])
    push('RPUSH', ready(queue, tonumber(string.sub(due[i], 1, 1))), string.sub(due[i], 2))
  end
end

-- How many to pop at once: how large they are shows only then, and the server stands still while it copies megabytes.
local SMALL, SMALL_TOGETHER = 4096, 8

local function lend_out(raw, tail, told)
  raws[#raws + 1] = raw
  local last = #alike
  if alike[last - 1] == tail and alike[last] == told then
    alike[last - 2] = alike[last - 2] + 1
  else
    alike[last + 1], alike[last + 2], alike[last + 3] = 1, tail, told
  end
end

-- Lend from one list; false when no more is to be lent.
local bytes = 0
local function take_from(list, queue, step, limit, most_bytes)
  local together, usual = 1, lease_tail(queue, step, 1)
  while #raws < limit do
    local popped = redis.call('RPOP', list, math.min(together, limit - #raws))
    if not popped then return true end
    for i, raw in ipairs(popped) do
      bytes = bytes + #raw
      local crashes, told, begun = 0, '', ''
      if noted then crashes, told, begun = past_of(raw) end
      -- A message that was in a crash is lent alone, so that it takes no innocent one along.
      if #raws > 0 and (crashes > 0 or bytes > most_bytes) then
        for k = #popped, i, -1 do redis.call('RPUSH', list, popped[k]) end
        return false
      end
      local is_usual = crashes == 0 and begun == ''
      lend_out(raw, is_usual and usual or lease_tail(queue, step, crashes + 1, begun == 'b'), told)
      if crashes > 0 then return false end
    end
    together = (#popped[#popped] <= SMALL and not noted) and SMALL_TOGETHER or 1
  end
  return false
end

local function take(queues, limit, most_bytes)
  for _, step in ipairs(STEPS) do
    for _, queue in ipairs(queues) do
      local list = ready(queue, step)
      if was_there(list) and not take_from(list, queue, step, limit, most_bytes) then return end
    end
  end
end

local function lend()
  token = new_tokens(#raws, seen_token)
  local fields, k = {}, 0
  for i = 1, #alike, 3 do
    local tail = alike[i + 1]
    for _ = 1, alike[i] do
      k = k + 1
      fields[#fields + 1] = lease_field(child, token + k, tail)
      fields[#fields + 1] = raws[k]
      if #fields == 1000 then
        redis.call('HSET', leased, unpack(fields))
        fields = {}
      end
    end
  end
  if #fields > 0 then redis.call('HSET', leased, unpack(fields)) end
end

if claim and is_known then
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
  if #raws > 0 then
    lend()
    if was_there(key('revoked')) then
      for k, raw in ipairs(raws) do
        local id = revoked_id(raw, now)
        if id then revoked[#revoked + 1] = { token + k, id } end
      end
    end
  end
  for _, queue in ipairs(claim[1]) do
    if #raws > 0 then
      if bell ~= '' then redis.call('ZREM', of_queue(queue, 'waiting'), bell) end
    elseif park then
      -- Also on paused queues: whoever resumes one wakes who waits for it.
      redis.call('ZADD', of_queue(queue, 'waiting'), now, bell)
      kinds[of_queue(queue, 'waiting')] = 'zset'
    end
  end
  local empty = {}
  for _, queue in ipairs(queues) do
    local delayed = of_queue(queue, 'delayed')
    local first = was_there(delayed) and redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
    if first then
      local left = math.max(0, first - now)
      if next_due < 0 or left < next_due then next_due = left end
    end
    local is_due = first and tonumber(first) <= now
    if not is_due and not any_ready(queue) then
      came[queue] = nil
      empty[#empty + 1] = of_queue(queue, 'rung')
    elseif #raws > 0 and not came[queue] then
      -- We may have been woken for one message and taken another: whoever waits next is woken if anything is left.
      came[queue] = 1
    end
  end
  for first = 1, #empty, 1000 do redis.call('DEL', unpack(empty, first, math.min(#empty, first + 999))) end
end
for queue, count in pairs(came) do ring(queue, count) end

store_documents(documents, results_db, own_db)
return { refused, next_due, revoked, token + 1, alike, raws }
