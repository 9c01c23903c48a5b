-- Add messages: tables messages, ready, delayed, producers. Runs in one write transaction with whatever causes it.

-- name: remember
-- Changes nothing if this publish, or a later one of the producer, was seen before. Args: producer, number, now.
INSERT INTO producers (id, number, seen) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET number = excluded.number, seen = excluded.seen WHERE excluded.number > number;

-- name: forget_producers
-- Producers that have been silent since. A repeated publish comes within seconds of the first. Args: before.
DELETE FROM producers WHERE seen < ?;

-- name: last_id
-- The highest there is: those that come get the next ones.
SELECT coalesce(max(id), 0) FROM messages;

-- name: message
-- Args: id, raw.
INSERT INTO messages (id, raw) VALUES (?, ?);

-- name: ready
-- Args: queue, priority, id, deliveries, begun, published.
INSERT INTO ready (queue, priority, id, deliveries, begun, published) VALUES (?, ?, ?, ?, ?, ?);

-- name: delayed
-- Args: due, id, queue, priority, deliveries, begun, published.
INSERT INTO delayed (due, id, queue, priority, deliveries, begun, published) VALUES (?, ?, ?, ?, ?, ?, ?);
