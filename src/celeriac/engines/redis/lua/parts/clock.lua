-- Read once, so that all of a script happens at one time.
local read_clock
local function clock()
  read_clock = read_clock or redis.call('TIME')
  return read_clock
end
local function now_ms() return clock()[1] * 1000 + math.floor(clock()[2] / 1000) end
