-- Settle what has ended, store and publish its results, claim more: one step. The least that keeps a lease.
--
-- KEYS  the leases of this process, then the queues in their order
-- ARGV  how many to claim, then for each that has ended: its token, the key of its result or '', the result
local ended = 2
while ended < #ARGV do
  -- Whose lease has gone to somebody else changes nothing.
  if redis.call('HDEL', KEYS[1], ARGV[ended]) == 1 and ARGV[ended + 1] ~= '' then
    redis.call('SET', ARGV[ended + 1], ARGV[ended + 2], 'EX', 86400)
    redis.call('PUBLISH', ARGV[ended + 1], ARGV[ended + 2])
  end
  ended = ended + 3
end
for queue = 2, #KEYS do
  local messages = redis.call('RPOP', KEYS[queue], ARGV[1])
  if messages then
    local token = redis.call('INCRBY', KEYS[1] .. ':token', #messages) - #messages
    local leases = {}
    for i, message in ipairs(messages) do
      leases[2 * i - 1] = token + i
      leases[2 * i] = message
    end
    redis.call('HSET', KEYS[1], unpack(leases))
    return { token, messages }
  end
end
return { 0, {} }
