-- What must not run: tables revoked and leased.

-- name: version
-- Changes with every revocation.
SELECT value FROM counters WHERE name = 'revocation';

-- name: raise_version
UPDATE counters SET value = value + 1 WHERE name = 'revocation';

-- name: revoke
-- A signal once asked for stays. Args: task_id, expires, signal.
INSERT INTO revoked (task_id, expires, signal) VALUES (?, ?, ?)
ON CONFLICT (task_id) DO UPDATE SET
    expires = max(expires, excluded.expires), signal = coalesce(excluded.signal, signal);

-- name: unrevoke
-- Args: task_id.
DELETE FROM revoked WHERE task_id = ?;

-- name: expire
-- Args: now, at most so many.
DELETE FROM revoked WHERE task_id IN (SELECT task_id FROM revoked WHERE expires <= ? LIMIT ?);

-- name: revocations
-- Args: now, limit.
SELECT task_id, expires, signal FROM revoked WHERE expires > ? ORDER BY expires, task_id LIMIT ?;

-- name: any
SELECT 1 FROM revoked LIMIT 1;

-- name: find
-- Args: task_id, now.
SELECT signal FROM revoked WHERE task_id = ? AND expires > ?;

-- name: held
-- Args: node.
SELECT child, token, queue, raw FROM leased JOIN messages USING (id) WHERE node = ? ORDER BY token;
