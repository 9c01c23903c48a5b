-- A script has no rollback, so each checks everything first (types of keys too) and only then writes.

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

-- Whether a key was there when it was looked at: an answer that costs nothing more.
local function was_there(name) return kinds[name] ~= 'none' end
