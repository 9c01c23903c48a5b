-- Keep result documents that no exchange stores (another server's, or from outside of a run).
-- Needs: types
--
-- ARGV   1  unused prefix
--        2  packed { {key, document, time to live in ms or -1, key of its fence, fence}, ... }
-- Reply  how many were kept: one whose fence is lower than the stored one is older and is dropped

local records, fences, kept = unpack(cmsgpack.unpack(ARGV[2])), {}, {}
for _, record in ipairs(records) do
  local fence_key = record[4]
  if not fences[fence_key] then
    local stored = redis.pcall('GET', fence_key)
    if type(stored) == 'table' then expect(fence_key, 'string') end
    if wrong then return refusal() end
    fences[fence_key] = tonumber(stored or 0) or 0
  end
end
for _, record in ipairs(records) do
  local name, document, ttl_ms, fence_key, fence = record[1], ARGV[record[2]], record[3], record[4], record[5]
  if fences[fence_key] <= fence then
    fences[fence_key] = fence
    -- Runs of one task follow each other within days; the fence need not live as long as a result kept for ever. It is
    -- written first, since the server's clock goes on meanwhile: it must not outlive the document.
    if fence > 0 then redis.call('SET', fence_key, fence, 'PX', ttl_ms < 0 and 604800000 or ttl_ms) end
    if ttl_ms < 0 then redis.call('SET', name, document) else redis.call('SET', name, document, 'PX', ttl_ms) end
    kept[#kept + 1] = record
  end
end
for _, record in ipairs(kept) do redis.pcall('PUBLISH', record[1], ARGV[record[2]]) end
return #kept
