-- Delete a result document, unless it has been replaced.
--
-- ARGV   1  unused prefix
--        2  packed { key, key of its fence, number of the document }
-- Reply  how many were deleted

local name, fence, document = unpack(cmsgpack.unpack(ARGV[2]))
if redis.call('GET', name) ~= ARGV[document] then return 0 end
redis.call('DEL', fence)
return redis.call('DEL', name)
