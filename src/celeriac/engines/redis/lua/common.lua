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
--   celeriac:past                 hash   SHA1 of a message -> deliveries that ended in a crash, and "b" if an at-most-once run had begun
--   celeriac:token                string the last fence token; never goes back
--   celeriac:queues               set    queues seen
--   celeriac:dead, celeriac:dead:letters  zset of ids by time, hash id -> packed {queue, reason, detail, buried, deliveries, raw}
--   celeriac:letter               string the last id of a dead letter
--   celeriac:producer:<id>        string number of the last publish
--
-- A script has no rollback, so each checks everything first (types of keys too) and only then writes.

-- A request is packed in ARGV[2] (Redis unpacks no binary strings, so messages and documents follow as ARGV[3] and on, and
-- stand in the request as their number).

local prefix = ARGV[1]
local function key(name) return prefix .. 'celeriac:' .. name end
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

local function now_ms()
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end

-- The first key found to be of another type than ours, or nil. Each key is looked at once.
local seen, wrong = {}, nil
local function expect(name, kind)
  if seen[name] or wrong then return end
  seen[name] = true
  local found = redis.call('TYPE', name).ok
  if found ~= kind and found ~= 'none' then wrong = name .. ' is a ' .. found .. ', not a ' .. kind end
end
local function expect_number(name)
  expect(name, 'string')
  if not wrong and not tonumber(redis.call('GET', name) or 0) then wrong = name .. ' is no number' end
end
local function refusal() return redis.error_reply('WRONGKEY ' .. wrong) end

local function expect_queue(queue)
  for _, step in ipairs(STEPS) do expect(ready(queue, step), 'list') end
  expect(of_queue(queue, 'delayed'), 'zset')
  expect(of_queue(queue, 'waiting'), 'zset')
  expect(of_queue(queue, 'nodes'), 'zset')
  expect(of_queue(queue, 'paused'), 'string')
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

-- Whether a claim would find something: ready, or delayed and due.
local function anything(queue, now)
  for _, step in ipairs(STEPS) do
    if redis.call('EXISTS', ready(queue, step)) == 1 then return true end
  end
  return redis.call('ZCOUNT', of_queue(queue, 'delayed'), '-inf', now) > 0
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
