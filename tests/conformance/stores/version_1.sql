-- The store: one table per state of a message, so that what is hot stays small and history is never scanned.
--
-- A message's bytes lie once in `messages`; the other tables hold its id and move it by a few bytes. Ids grow, so that
-- order of publication is order of id, also for a message that was given back. Times are seconds since 1970 (REAL).

CREATE TABLE messages (
    id          INTEGER PRIMARY KEY,
    raw         BLOB NOT NULL               -- the envelope, as on any broker
);

CREATE TABLE ready (                        -- may be claimed now, lowest priority number first, then oldest
    queue       TEXT NOT NULL,
    priority    INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    deliveries  INTEGER NOT NULL,           -- times it was lent out and that counted
    begun       INTEGER NOT NULL,           -- 1: an at-most-once run has begun
    published   REAL NOT NULL,
    PRIMARY KEY (queue, priority, id)
) WITHOUT ROWID;

CREATE TABLE delayed (                      -- may be claimed at `due`
    due         REAL NOT NULL,
    id          INTEGER NOT NULL,
    queue       TEXT NOT NULL,
    priority    INTEGER NOT NULL,
    deliveries  INTEGER NOT NULL,
    begun       INTEGER NOT NULL,
    published   REAL NOT NULL,
    PRIMARY KEY (due, id)
) WITHOUT ROWID;
CREATE INDEX delayed_by_queue ON delayed (queue, due);

CREATE TABLE leased (                       -- lent to a child of a node
    token       INTEGER PRIMARY KEY,        -- the fence: new at every claim and take-over, never used again
    id          INTEGER NOT NULL,
    queue       TEXT NOT NULL,
    priority    INTEGER NOT NULL,
    deliveries  INTEGER NOT NULL,           -- this time included
    begun       INTEGER NOT NULL,
    published   REAL NOT NULL,
    node        TEXT NOT NULL,
    child       INTEGER NOT NULL,
    previous    INTEGER                     -- the token of the owner from whom it was taken over
);

CREATE TABLE dead (                         -- buried
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    queue       TEXT NOT NULL,
    task_id     TEXT,
    task        TEXT,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    buried      REAL NOT NULL,
    deliveries  INTEGER NOT NULL,
    raw         BLOB NOT NULL
);
CREATE INDEX dead_by_queue ON dead (queue);

CREATE TABLE results (
    task_id     TEXT PRIMARY KEY,
    body        BLOB NOT NULL,
    fence       INTEGER NOT NULL,
    expires     REAL
);
CREATE INDEX results_by_expiry ON results (expires) WHERE expires IS NOT NULL;

CREATE TABLE nodes (                        -- workers; alive while their process holds a lock beside this file
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    host        TEXT NOT NULL,
    pid         INTEGER NOT NULL,
    pool        TEXT NOT NULL,
    concurrency INTEGER NOT NULL,
    queues      TEXT NOT NULL,              -- JSON list
    started     REAL NOT NULL,
    renewed     REAL NOT NULL
);

CREATE TABLE paused (queue TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE producers (                    -- the last publish of each, so that repeating it adds nothing
    id          TEXT PRIMARY KEY,
    number      INTEGER NOT NULL,
    seen        REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE queue_waiters (                -- idle children and the doorbell that wakes them
    queue       TEXT NOT NULL,
    bell        TEXT NOT NULL,
    PRIMARY KEY (queue, bell)
) WITHOUT ROWID;

CREATE TABLE result_waiters (               -- processes that wait for a result
    task_id     TEXT NOT NULL,
    bell        TEXT NOT NULL,
    PRIMARY KEY (task_id, bell)
) WITHOUT ROWID;

CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('token', 0);
