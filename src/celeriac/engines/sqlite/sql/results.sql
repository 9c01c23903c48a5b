-- Result documents and who waits for them: tables results, result_waiters. They are written by settle.sql.

-- name: get
-- Args: task_id, now.
SELECT body FROM results WHERE task_id = ? AND (expires IS NULL OR expires > ?);

-- name: forget
-- Args: task_id.
DELETE FROM results WHERE task_id = ?;

-- name: discard
-- Unless it has been replaced. Args: task_id, body.
DELETE FROM results WHERE task_id = ? AND body = ?;

-- name: expire
-- Args: now, at most so many.
DELETE FROM results WHERE task_id IN (SELECT task_id FROM results WHERE expires <= ? LIMIT ?);

-- name: watch
-- Args: task_id, bell.
INSERT OR IGNORE INTO result_waiters (task_id, bell) VALUES (?, ?);

-- name: unwatch
-- Args: task_id, bell.
DELETE FROM result_waiters WHERE task_id = ? AND bell = ?;

-- name: any_watchers
SELECT EXISTS (SELECT 1 FROM result_waiters);

-- name: watchers
-- Args: task_ids (a JSON list).
SELECT bell, task_id FROM result_waiters WHERE task_id IN (SELECT value FROM json_each(?));

-- name: forget_bell
-- Args: bell.
DELETE FROM result_waiters WHERE bell = ?;
