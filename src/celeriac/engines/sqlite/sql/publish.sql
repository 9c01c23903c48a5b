-- Add messages: tables messages, ready, delayed, producers. Runs in one write transaction with whatever causes it.

-- name: receipt
-- The number of the producer's last publish. Args: producer.
SELECT number FROM producers WHERE id = ?;

-- name: remember
-- Args: producer, number, now.
INSERT INTO producers (id, number, seen) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET number = excluded.number, seen = excluded.seen;

-- name: forget_producers
-- Producers that have been silent since. A repeated publish comes within seconds of the first. Args: before.
DELETE FROM producers WHERE seen < ?;

-- name: message
-- Args: raw. Gives the id as last insert rowid.
INSERT INTO messages (raw) VALUES (?);

-- name: ready
-- Args: queue, priority, id, deliveries, begun, published.
INSERT INTO ready (queue, priority, id, deliveries, begun, published) VALUES (?, ?, ?, ?, ?, ?);

-- name: delayed
-- Args: due, id, queue, priority, deliveries, begun, published.
INSERT INTO delayed (due, id, queue, priority, deliveries, begun, published) VALUES (?, ?, ?, ?, ?, ?, ?);
