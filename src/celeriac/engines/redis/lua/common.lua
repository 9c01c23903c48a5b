-- What every script begins with. It is put in front of each of them when they are loaded.
--
-- Keys that Celery knows: ready lists "<queue>" and "<queue>\6\22<3|6|9>" (messages are pushed left, taken right) and
-- "celery-task-meta-<id>". Ours begin with "celeriac:"; times are milliseconds by the server's clock.
--
--   celeriac:leased:<node>        hash   "<child>:<token>:<step>:<deliveries>:<b if begun>:<token of whom it was taken from or nothing>:<queue>"
--                                        -> raw message
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
--   celeriac:queues               set    queues seen, until nobody serves them and nothing lies in them
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

-- Names are put together once: a worker may serve a hundred queues, each with eight keys that are asked for several times.
local names_by_queue = {}
local function names_of(queue)
  local names = names_by_queue[queue]
  if not names then
    names = {}
    names_by_queue[queue] = names
  end
  return names
end
local function of_queue(queue, name)
  local names = names_of(queue)
  local whole = names[name]
  if not whole then
    whole = prefix .. 'celeriac:{' .. queue .. '}:' .. name
    names[name] = whole
  end
  return whole
end
local STEPS = { 0, 3, 6, 9 }

local function step_of(priority)
  if priority >= 9 then return 9 elseif priority >= 6 then return 6 elseif priority >= 3 then return 3 end
  return 0
end

local function ready(queue, step)
  local names = names_of(queue)
  local whole = names[step]
  if not whole then
    whole = step == 0 and prefix .. queue or prefix .. queue .. '\6\22' .. step
    names[step] = whole
  end
  return whole
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
-- Read a key that is needed anyway: its type is asked for only when that fails.
local function read(kind, command, name, ...)
  if wrong then return nil end
  local answer = redis.pcall(command, name, ...)
  if type(answer) ~= 'table' then return answer end
  expect(name, kind)
  return not wrong and redis.call(command, name, ...) or nil -- it was another error, which is raised
end
local function expect_number(name)
  if kinds[name] or wrong then return end
  local found = read('string', 'GET', name)
  if wrong then return end
  kinds[name] = found and 'string' or 'none'
  numbers[name] = tonumber(found or 0)
  if not numbers[name] then wrong = name .. ' is no number' end
end
local function refusal() return redis.error_reply('WRONGKEY ' .. wrong) end

-- Keys of which hardly ever one is there, so that one question does for many; where there is one, it is looked for among
-- fewer and fewer.
local MOST_AT_ONCE, FEW = 1000, 4
local function expect_rare(names, of_kinds, first, last)
  first, last = first or 1, last or #names
  if wrong or first > last then return end
  local count = last - first + 1
  if count > 1 and count <= MOST_AT_ONCE and redis.call('EXISTS', unpack(names, first, last)) == 0 then
    for i = first, last do kinds[names[i]] = 'none' end
  elseif count <= FEW then
    for i = first, last do expect(names[i], of_kinds[i]) end
  else
    local share = math.max(FEW, math.ceil(count / 8))
    for at = first, last, share do expect_rare(names, of_kinds, at, math.min(last, at + share - 1)) end
  end
end

-- Whether a key was there when it was looked at: an answer that costs nothing more.
local function was_there(name) return kinds[name] ~= 'none' end

-- Put a message into a list, at its head (who takes it) or its foot.
local function push(side, list, raw)
  redis.call(side, list, raw)
  kinds[list] = 'list'
end

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

-- The keys of queues that claims use. Of many queues most are empty, so that even their lists are not there.
local function expect_queues(queues)
  local lists, of_lists, bells, of_bells, rare, of_rare, n, k = {}, {}, {}, {}, {}, {}, 0, 0
  for _, queue in ipairs(queues) do
    local paused = of_queue(queue, 'paused')
    if not kinds[paused] then
      n = n + 1
      lists[n], of_lists[n] = ready(queue, 0), 'list'
      bells[n], of_bells[n] = of_queue(queue, 'waiting'), 'zset'
      rare[k + 1], of_rare[k + 1] = ready(queue, 3), 'list'
      rare[k + 2], of_rare[k + 2] = ready(queue, 6), 'list'
      rare[k + 3], of_rare[k + 3] = ready(queue, 9), 'list'
      rare[k + 4], of_rare[k + 4] = of_queue(queue, 'delayed'), 'zset'
      rare[k + 5], of_rare[k + 5] = paused, 'string'
      k = k + 5
    end
  end
  expect_rare(lists, of_lists) expect_rare(bells, of_bells) expect_rare(rare, of_rare)
end
-- The keys of a queue that something is added to, or that is looked at.
local function expect_queue(queue)
  expect(of_queue(queue, 'nodes'), 'zset')
  if not kinds[of_queue(queue, 'paused')] then expect_queues({ queue }) end
end

-- Ring one waiter of the queue for each of `count` messages that came. Who parked last is rung first: the dead sink down.
local function ring(queue, count)
  local waiting = of_queue(queue, 'waiting')
  if not was_there(waiting) or redis.call('EXISTS', waiting) == 0 or redis.call('EXISTS', of_queue(queue, 'paused')) == 1 then return end
  local bells = redis.pcall('ZPOPMAX', waiting, count) -- what came is written: nothing may fail any more
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
  local lists = {}
  for _, step in ipairs(STEPS) do
    local list = ready(queue, step)
    if was_there(list) then lists[#lists + 1] = list end
  end
  return #lists > 0 and redis.call('EXISTS', unpack(lists)) > 0
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
      kinds[of_queue(queue, 'delayed')] = 'zset'
    else
      push('LPUSH', ready(queue, step), raw)
    end
  end
end

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

-- Note a document {key, number of the document, time to live in ms or -1} among those to store.
local function keep_document(documents, record)
  local n = #documents
  documents[n + 1], documents[n + 2], documents[n + 3] = record[1], ARGV[record[2]], record[3]
end

-- Store result documents, { key, document, time to live in ms or -1, and so on }, and tell who waits for them.
local function store_documents(documents, results_db, own_db)
  if #documents == 0 then return end
  if results_db ~= own_db then redis.call('SELECT', results_db) end
  local ttl_ms, as_text
  for i = 1, #documents, 3 do
    if ttl_ms ~= documents[i + 2] then
      ttl_ms = documents[i + 2]
      as_text = string.format('%d', ttl_ms) -- once: a number as argument is written with many digits first
    end
    if ttl_ms < 0 then
      redis.call('SET', documents[i], documents[i + 1])
    else
      redis.call('PSETEX', documents[i], as_text, documents[i + 1])
    end
  end
  if results_db ~= own_db then redis.call('SELECT', own_db) end
  -- Last, and allowed to fail: a user of an access list may lack the channel, and waiters look by themselves too.
  for i = 1, #documents, 3 do redis.pcall('PUBLISH', documents[i], documents[i + 1]) end
end
