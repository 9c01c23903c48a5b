-- Lend messages out: ready -> leased, and delayed -> ready for what is due. Runs in one write transaction.

-- name: registered
-- A worker whose store was replaced under it gets nothing of the new one before it is known there. Args: node.
SELECT 1 FROM nodes WHERE id = ?;

-- name: due
-- Args: now, limit.
SELECT due, id, queue, priority, deliveries, begun, published FROM delayed WHERE due <= ? ORDER BY due LIMIT ?;

-- name: promote
-- Args: due, id.
DELETE FROM delayed WHERE due = ? AND id = ?;

-- name: next_due
-- Args: queues (a JSON list).
SELECT min((SELECT min(due) FROM delayed WHERE queue = served.value)) FROM json_each(?) AS served;

-- name: paused
SELECT queue FROM paused;

-- name: next
-- The next messages of one queue. Args: queue, limit.
SELECT priority, id, deliveries, begun, published FROM ready WHERE queue = ? ORDER BY priority, id LIMIT ?;

-- name: next_after
-- Those after one of them. Args: queue, its priority, its id, limit.
SELECT priority, id, deliveries, begun, published FROM ready
WHERE queue = ? AND (priority, id) > (?, ?) ORDER BY priority, id LIMIT ?;

-- name: take
-- Args: queue, priority, id.
DELETE FROM ready WHERE queue = ? AND priority = ? AND id = ?;

-- name: tokens
-- Reserve tokens; the highest of them is read back by `last_token`. Args: how many.
UPDATE counters SET value = value + ? WHERE name = 'token';

-- name: last_token
SELECT value FROM counters WHERE name = 'token';

-- name: lend
-- Args: token, id, queue, priority, deliveries, begun, published, node, child.
INSERT INTO leased (token, id, queue, priority, deliveries, begun, published, node, child)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: raw
-- Args: id.
SELECT raw FROM messages WHERE id = ?;

-- name: raws
-- In the order of the list, in which json_each walks. Args: ids (a JSON list).
SELECT raw FROM json_each(?) AS wanted CROSS JOIN messages ON messages.id = wanted.value;

-- name: any_past
SELECT EXISTS (SELECT 1 FROM past);

-- name: past
-- Args: id.
SELECT told FROM past WHERE id = ?;

-- name: park
-- Args: queue, bell.
INSERT OR IGNORE INTO queue_waiters (queue, bell) VALUES (?, ?);

-- name: unpark
-- Args: bell.
DELETE FROM queue_waiters WHERE bell = ?;

-- name: waiting
-- Args: queue, limit.
SELECT bell FROM queue_waiters WHERE queue = ? LIMIT ?;

-- name: waited_for
-- Queues in which something is left for someone who waits.
SELECT DISTINCT queue FROM queue_waiters AS waiting WHERE EXISTS (SELECT 1 FROM ready WHERE queue = waiting.queue);
