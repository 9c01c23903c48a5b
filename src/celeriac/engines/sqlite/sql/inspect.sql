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

-- name: letters
-- Args: older than this id, limit.
SELECT id, queue, task_id, task, reason, detail, buried, deliveries, raw FROM dead
WHERE id < ? ORDER BY id DESC LIMIT ?;

-- name: letters_of_queue
-- Args: queue, older than this id, limit.
SELECT id, queue, task_id, task, reason, detail, buried, deliveries, raw FROM dead
WHERE queue = ? AND id < ? ORDER BY id DESC LIMIT ?;

-- name: letter
-- Args: id.
SELECT id, queue, task_id, task, reason, detail, buried, deliveries, raw FROM dead WHERE id = ?;

-- name: drop_letter
-- Args: id.
DELETE FROM dead WHERE id = ?;

-- name: trim_by_age
-- Args: buried before, at most so many.
DELETE FROM dead WHERE id IN (SELECT id FROM dead WHERE buried < ? ORDER BY id LIMIT ?);

-- name: trim_by_size
-- Keep the newest. Args: how many, at most so many of the others.
DELETE FROM dead WHERE id IN (
    SELECT id FROM dead WHERE id <= (SELECT id FROM dead ORDER BY id DESC LIMIT 1 OFFSET ?) ORDER BY id LIMIT ?
);

-- name: count_trimmed
-- Args: how many.
INSERT INTO counters (name, value) VALUES ('trimmed', ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value;

-- name: trimmed
SELECT value FROM counters WHERE name = 'trimmed';
