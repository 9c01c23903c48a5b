-- Look for single messages that wait, and take them out or hasten them: tables ready, delayed, messages.
--
-- An id may be used again when its message is gone, so what was found is known again by its bytes too.

-- name: ready_after
-- Args: queue, priority and id of the last one seen.
SELECT queue, priority, id, NULL, raw FROM ready CROSS JOIN messages USING (id)
WHERE (queue, priority, id) > (?, ?, ?) ORDER BY queue, priority, id;

-- name: delayed_after
-- Args: due and id of the last one seen.
SELECT queue, priority, id, due, raw FROM delayed CROSS JOIN messages USING (id)
WHERE (due, id) > (?, ?) ORDER BY due, id;

-- name: delayed
-- Args: limit.
SELECT queue, priority, id, due, raw FROM delayed CROSS JOIN messages USING (id) ORDER BY due, id LIMIT ?;

-- name: delayed_in
-- Args: queue, limit.
SELECT queue, priority, id, due, raw FROM delayed CROSS JOIN messages USING (id)
WHERE queue = ? ORDER BY due, id LIMIT ?;

-- name: is
-- Args: id, raw.
SELECT 1 FROM messages WHERE id = ? AND raw = ?;

-- name: take_delayed
-- Args: due, id.
DELETE FROM delayed WHERE due = ? AND id = ?;

-- name: take_ready
-- Args: queue, priority, id.
DELETE FROM ready WHERE queue = ? AND priority = ? AND id = ?;

-- name: first_ready
-- Args: queue, highest id, limit.
SELECT queue, priority, id FROM ready WHERE queue = ? AND id <= ? ORDER BY priority, id LIMIT ?;

-- name: first_delayed
-- Args: queue, highest id, limit.
SELECT due, id FROM delayed WHERE queue = ? AND id <= ? ORDER BY due, id LIMIT ?;

-- name: delete_message
-- Args: id.
DELETE FROM messages WHERE id = ?;

-- name: hasten
-- Args: due, id.
INSERT INTO ready (queue, priority, id, deliveries, begun, published)
SELECT queue, priority, id, deliveries, begun, published FROM delayed WHERE due = ? AND id = ?;

-- name: rewrite
-- Args: raw, id.
UPDATE messages SET raw = ? WHERE id = ?;
