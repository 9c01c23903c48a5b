-- Workers and the leases of dead ones: tables nodes, leased.

-- name: register
-- Args: id, name, host, pid, pool, concurrency, queues, started, renewed.
INSERT OR REPLACE INTO nodes (id, name, host, pid, pool, concurrency, queues, started, renewed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: renew
-- Args: now, id.
UPDATE nodes SET renewed = ? WHERE id = ?;

-- name: unregister
-- Args: id.
DELETE FROM nodes WHERE id = ?;

-- name: nodes
SELECT id, name, host, pid, pool, concurrency, queues, started, renewed,
       (SELECT count(*) FROM leased WHERE leased.node = nodes.id) FROM nodes ORDER BY name, started;

-- name: owners
-- Nodes that hold leases, registered or not.
SELECT DISTINCT node FROM leased;

-- name: holders
-- The children that hold leases. Args: node.
SELECT DISTINCT child FROM leased WHERE node = ?;

-- name: held_by_child
-- Args: node, child.
SELECT token, queue, deliveries, begun, previous, raw, told FROM leased JOIN messages USING (id) LEFT JOIN past USING (id)
WHERE node = ? AND child = ? ORDER BY token;

-- name: held_by_node
-- Args: node.
SELECT token, queue, deliveries, begun, previous, raw, told FROM leased JOIN messages USING (id) LEFT JOIN past USING (id)
WHERE node = ? ORDER BY token;

-- name: seize
-- Args: new token, node, child, old token.
UPDATE leased SET previous = token, token = ?, node = ?, child = ? WHERE token = ?;
