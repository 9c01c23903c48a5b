-- Needs: keys, types

-- What a producer's last publish left, so that repeating it adds nothing. A failover may take a receipt back, and then its
-- messages with it: both were written in one step, and repeating adds them again. It never takes back a receipt and leaves
-- its messages. A producer sends one number at a time, so no higher number can stand there while this one's messages are
-- missing.
local function receipt_of(producer)
  local receipt = key('producer:' .. producer)
  expect_number(receipt)
  return receipt
end

local function was_seen(receipt, number)
  if numbers[receipt] < tonumber(number) then return false end
  redis.call('EXPIRE', receipt, 86400) -- a write, for whoever WAITs on this connection until it is replicated
  return true
end

-- `number` is text, as all arguments are: Lua writes a number with many digits first.
local function sign(receipt, number) redis.call('SET', receipt, number, 'EX', '86400') end
