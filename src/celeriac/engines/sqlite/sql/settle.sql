-- Settle leases: tables leased, messages, dead, results. Runs in one write transaction; a row that is not there any more
-- means that the lease went to someone else, and nothing of that commit is applied.

-- name: leases
-- Args: tokens (a JSON list), node, child.
SELECT token, id, queue, priority, deliveries, begun, published FROM leased
WHERE token IN (SELECT value FROM json_each(?)) AND node = ? AND child = ?;

-- name: end_leases
-- Args: tokens (a JSON list).
DELETE FROM leased WHERE token IN (SELECT value FROM json_each(?));

-- name: delete_messages
-- Args: ids (a JSON list).
DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?));

-- name: begin
-- Args: token.
UPDATE leased SET begun = 1 WHERE token = ?;

-- name: tell
-- What is told of earlier runs from now on. Args: id, told.
INSERT OR REPLACE INTO past (id, told) VALUES (?, ?);

-- name: bury
-- Args: queue, task_id, task, reason, detail, buried, deliveries, raw.
INSERT INTO dead (queue, task_id, task, reason, detail, buried, deliveries, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: store
-- Args: task_id, body, fence, expires, now.
INSERT INTO results (task_id, body, fence, expires) VALUES (?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE SET body = excluded.body, fence = excluded.fence, expires = excluded.expires
WHERE excluded.fence >= results.fence OR results.expires <= ?;
