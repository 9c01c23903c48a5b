-- The names of all keys.
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
