-- Needs: keys, types

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
