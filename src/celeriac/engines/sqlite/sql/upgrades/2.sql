-- From version 1 to 2: what is told of earlier runs, and what is revoked. The trigger keeps the former right also where older
-- programs delete messages, so they may go on beside newer ones; they know nothing of revocations.

INSERT OR IGNORE INTO counters (name, value) VALUES ('compatible_from', 1);
INSERT OR IGNORE INTO counters (name, value) VALUES ('revocation', 0);

CREATE TABLE past (                         -- of the few messages whose process ended under a run (past.py); JSON
    id          INTEGER PRIMARY KEY,
    told        TEXT NOT NULL
);
CREATE TRIGGER past_ends AFTER DELETE ON messages BEGIN DELETE FROM past WHERE id = OLD.id; END;

CREATE TABLE revoked (                      -- tasks that must not run
    task_id     TEXT PRIMARY KEY,
    expires     REAL NOT NULL,
    signal      TEXT                        -- for the process that runs it; NULL lets it go on
) WITHOUT ROWID;
CREATE INDEX revoked_by_expiry ON revoked (expires);
