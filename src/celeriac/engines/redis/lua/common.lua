-- What every script begins with. It is put in front of each of them when they are loaded.
--
-- Keys that Celery knows: ready lists "<queue>" and "<queue>\6\22<3|6|9>" (messages are pushed left, taken right) and
-- "celery-task-meta-<id>". Ours begin with "celeriac:"; times are milliseconds by the server's clock.
--
--   celeriac:leased:<node>        hash   "<child>:<token>" -> packed {queue, step, deliveries, begun, raw, and the token of whom it was taken from}
--   celeriac:{<queue>}:delayed    zset   due time -> step digit followed by the raw message
--   celeriac:{<queue>}:waiting    zset   when it parked -> bell of an idle child
--   celeriac:{<queue>}:nodes      zset   lease expiry -> node that serves the queue
--   celeriac:{<queue>}:paused     string set while paused
--   celeriac:{<queue>}:rung       string set for a moment when somebody was woken for what lies in the queue
--   celeriac:nodes                zset   lease expiry -> node
--   celeriac:node:<id>            hash   info, lease, packed queues, steady (since when it renewed without a gap), "generation:<child>"
--   celeriac:bell:<bell>          list   rung by pushing
--   celeriac:past                 hash   SHA1 of a message -> deliveries that ended in a crash, then what is told of them (JSON,
--                                        past.py) or nothing, then "b" if an at-most-once run had begun
--   celeriac:token                string the last fence token; goes back only where a failover or a restart takes writes back
--   celeriac:queues               set    queues seen
--   celeriac:dead, celeriac:dead:letters  zset of ids by time, hash id -> packed {queue, reason, detail, buried, deliveries, raw}
--   celeriac:letter               string the last id of a dead letter: when it was buried, or one more than the last
--   celeriac:revoked              zset   when it is forgotten -> id of a task that must not run
--   celeriac:revoked:signals      hash   id of such a task -> signal for the process that runs it
--   celeriac:revoked:version      string raised by every revocation; these three expire together
--   celeriac:trimmed              string how many dead letters the caps have deleted
--   celeriac:producer:<id>        string number of the last publish
--
-- A script has no rollback, so each checks everything first (types of keys too) and only then writes.

-- A request is packed in ARGV[2] (Redis unpacks no binary strings, so messages and documents follow as ARGV[3] and on, and
-- stand in the request as their number).

local prefix = ARGV[1]
-- In a cluster a prefix is a queue's, and the queues of one slot count together, by the first two of KEYS: so a number and
-- its slot together are unique. (The third is never there: while a slot is moved it keeps scripts from running on half of it.)
local counters = { token = KEYS[1], letter = KEYS[2] }
local function key(name) return counters[name] or prefix .. 'celeriac:' .. name end
local function of_queue(queue, name) return prefix .. 'celeriac:{' .. queue .. '}:' .. name end
local STEPS = { 0, 3, 6, 9 }

local function step_of(priority)
  if priority >= 9 then return 9 elseif priority >= 6 then return 6 elseif priority >= 3 then return 3 end
  return 0
end

local function ready(queue, step)
  if step == 0 then return prefix .. queue end
  return prefix .. queue .. '\6\22' .. step
end

-- Read once, so that all of a script happens at one time.
local read_clock
local function clock()
  read_clock = read_clock or redis.call('TIME')
  return read_clock
end
local function now_ms() return clock()[1] * 1000 + math.floor(clock()[2] / 1000) end

-- The first key found to be of another type than ours, or nil. Each key is looked at once.
local kinds, numbers, wrong = {}, {}, nil
local function expect(name, kind)
  if kinds[name] or wrong then return end
  kinds[name] = redis.call('TYPE', name).ok
  if kinds[name] ~= kind and kinds[name] ~= 'none' then wrong = name .. ' is a ' .. kinds[name] .. ', not a ' .. kind end
end
local function expect_number(name)
  expect(name, 'string')
  if wrong then return end
  numbers[name] = tonumber(redis.call('GET', name) or 0)
  if not numbers[name] then wrong = name .. ' is no number' end
end
local function refusal() return redis.error_reply('WRONGKEY ' .. wrong) end

-- Keys of which hardly ever one is there, so that one question does for all.
local function expect_rare(names, of_kinds)
  if wrong then return end
  if redis.call('EXISTS', unpack(names)) > 0 then
    for i, name in ipairs(names) do expect(name, of_kinds[i]) end
  else
    for _, name in ipairs(names) do kinds[name] = 'none' end
  end
end

-- Whether a key was there when it was looked at: an answer that costs nothing more.
local function was_there(name) return kinds[name] ~= 'none' end

-- %d, since Lua writes large numbers as 1.7e+15.
local function lease_field(child, token) return string.format('%d:%d', child, token) end

-- The token before the first of `count` new ones.
--
-- A failover, and a restart without `appendfsync always`, may take back the last claims together with the counter. A token
-- that was given out must not be given again even then, or its first holder could settle the second's message. So the asker
-- says the highest it has seen (a lease is addressed by owner and token, so no other owner's matter), and the clock keeps
-- tokens growing from owner to owner, which decides whose result is newer. Microseconds fit into Lua's numbers until 2255.
local function new_tokens(count, seen_by_owner)
  local last = math.max(numbers[key('token')], seen_by_owner, clock()[1] * 1000000 + clock()[2])
  redis.call('SET', key('token'), string.format('%d', last + count))
  return last
end

-- A full server (OOM) refuses a script whose first write may take memory, and lets one go on whose first write takes none.
-- What settles, claims and renews begins with such a write: else a full server could never be emptied.
local function go_on_when_full() redis.call('DEL', key('nothing')) end

-- Of what `celeriac:past` has for a message: crashes, what is told of them or '', and whether "b" or ''.
local function past_of(raw)
  local crashes, told, begun = string.match(redis.call('HGET', key('past'), redis.sha1hex(raw)) or '0', '^(%d+)(.-)(b?)$')
  return tonumber(crashes), told, begun
end

local RARE_KINDS = { 'list', 'list', 'list', 'zset', 'string' }
local function expect_queue(queue)
  local nodes = of_queue(queue, 'nodes')
  if kinds[nodes] then return end
  expect(nodes, 'zset')
  expect(ready(queue, 0), 'list')
  expect(of_queue(queue, 'waiting'), 'zset')
  local rare = { ready(queue, 3), ready(queue, 6), ready(queue, 9), of_queue(queue, 'delayed'), of_queue(queue, 'paused') }
  expect_rare(rare, RARE_KINDS)
end

-- Ring one waiter of the queue for each of `count` messages that came. Who parked last is rung first: the dead sink down.
local function ring(queue, count)
  if redis.call('EXISTS', of_queue(queue, 'paused')) == 1 then return end
  local bells = redis.call('ZPOPMAX', of_queue(queue, 'waiting'), count)
  if #bells == 0 then return end
  for i = 1, #bells, 2 do
    local bell = key('bell:' .. bells[i])
    redis.pcall('LPUSH', bell, '1')
    redis.pcall('LTRIM', bell, 0, 7)
    redis.pcall('EXPIRE', bell, 60)
  end
  -- Who looks for messages of foreign producers leaves these to those who were rung (glance.lua).
  redis.call('SET', of_queue(queue, 'rung'), '1', 'PX', 1000)
end

local function any_ready(queue)
  return redis.call('EXISTS', ready(queue, 0), ready(queue, 3), ready(queue, 6), ready(queue, 9)) > 0
end

-- Whether a claim would find something: ready, or delayed and due.
local function anything(queue, now)
  return any_ready(queue) or redis.call('ZCOUNT', of_queue(queue, 'delayed'), '-inf', now) > 0
end

-- Add messages {queue, priority, number of raw, due or -1}; `came` counts them by queue for the caller, who rings.
local function add(messages, now, came)
  for _, message in ipairs(messages) do
    local queue, step, raw, due = message[1], step_of(message[2]), ARGV[message[3]], message[4]
    if not came[queue] then
      came[queue] = 0
      redis.call('SADD', key('queues'), queue)
    end
    came[queue] = came[queue] + 1
    -- Work for later waits with us only while one of ours serves the queue; else a Celery worker must find it in the list.
    if due > now and redis.call('ZCOUNT', of_queue(queue, 'nodes'), now, '+inf') > 0 then
      redis.call('ZADD', of_queue(queue, 'delayed'), due, step .. raw)
    else
      redis.call('LPUSH', ready(queue, step), raw)
    end
  end
end

-- The ids that may be a message's: its header and its correlation id. Texts within strings have their quotes escaped, so
-- only keys are found; the body is base64, which has none. Whoever acts on it decodes the message and compares.
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

-- Store result documents {key, number of the document, time to live in ms or -1} and tell who waits for them.
local function store_documents(documents, results_db, own_db)
  if #documents == 0 then return end
  if results_db ~= own_db then redis.call('SELECT', results_db) end
  for _, document in ipairs(documents) do
    if document[3] < 0 then
      redis.call('SET', document[1], ARGV[document[2]])
    else
      redis.call('SET', document[1], ARGV[document[2]], 'PX', document[3])
    end
  end
  if results_db ~= own_db then redis.call('SELECT', own_db) end
  -- Last, and allowed to fail: a user of an access list may lack the channel, and waiters look by themselves too.
  for _, document in ipairs(documents) do redis.pcall('PUBLISH', document[1], ARGV[document[2]]) end
end
