-- Look at queues and dead letters, and change them by hand.

-- name: ready
SELECT queue, count(*), min(published) FROM ready GROUP BY queue;

-- name: ready_in
-- Args: queue.
SELECT count(*) FROM ready WHERE queue = ?;

-- name: leased
SELECT queue, count(*) FROM leased GROUP BY queue;

-- name: delayed
SELECT queue, count(*) FROM delayed GROUP BY queue;

-- name: dead
SELECT queue, count(*) FROM dead GROUP BY queue;

-- name: peek
-- Args: queue, limit.
SELECT messages.raw FROM ready JOIN messages USING (id) WHERE queue = ? ORDER BY priority, id LIMIT ?;

-- name: pause
-- Args: queue.
INSERT OR IGNORE INTO paused (queue) VALUES (?);

-- name: resume
-- Args: queue.
DELETE FROM paused WHERE queue = ?;

-- name: purge_messages
-- Args: queue, queue.
DELETE FROM messages WHERE id IN (SELECT id FROM ready WHERE queue = ? UNION ALL SELECT id FROM delayed WHERE queue = ?);

-- name: purge_ready
-- Args: queue.
DELETE FROM ready WHERE queue = ?;

-- name: purge_delayed
-- Args: queue.
DELETE FROM delayed WHERE queue = ?;

-- name: letters
-- Args: limit.
SELECT id, queue, task_id, task, reason, detail, buried, deliveries, raw FROM dead ORDER BY id DESC LIMIT ?;

-- name: letters_of_queue
-- Args: queue, limit.
SELECT id, queue, task_id, task, reason, detail, buried, deliveries, raw FROM dead
WHERE queue = ? ORDER BY id DESC LIMIT ?;

-- name: letter
-- Args: id.
SELECT id, queue, task_id, task, reason, detail, buried, deliveries, raw FROM dead WHERE id = ?;

-- name: drop_letter
-- Args: id.
DELETE FROM dead WHERE id = ?;

-- name: trim_by_age
-- Args: buried before.
DELETE FROM dead WHERE buried < ?;

-- name: trim_by_size
-- Keep the newest. Args: how many.
DELETE FROM dead WHERE id <= (SELECT id FROM dead ORDER BY id DESC LIMIT 1 OFFSET ?);
