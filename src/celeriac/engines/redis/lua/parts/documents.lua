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
