-- Manual entries (openbourse.ledger.manual). The rules are the tables' own; so is what a posted one moves.

-- name: propose
-- Nothing when the id is there already: the caller reads it and compares.
INSERT INTO ledger.manual_entries
    (entry_id, shard, kind, reverses, asset, from_account, to_account, amount, reason, requested_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (entry_id) DO NOTHING

-- name: decide
-- Posted, the balances move in this statement. Nothing when it is decided already.
INSERT INTO ledger.manual_decisions (entry_id, decision, decided_by)
SELECT entry_id, $3, $4 FROM ledger.manual_entries WHERE shard = $1 AND entry_id = $2
ON CONFLICT (entry_id) DO NOTHING

-- name: entry
SELECT
    e.entry_id, e.reverses, e.asset, e.from_account, e.to_account, e.amount, e.reason, e.requested_by,
    d.decision, d.decided_by, d.number
FROM ledger.manual_entries AS e LEFT JOIN ledger.manual_decisions AS d USING (entry_id)
WHERE e.shard = $1 AND e.entry_id = $2

-- name: confirmed_entry
-- The lock is written, so that its commit waits for the standby and with it all that was committed before.
WITH mark AS (SELECT shard FROM ledger.watermarks WHERE shard = $1 FOR UPDATE)
SELECT
    e.entry_id, e.reverses, e.asset, e.from_account, e.to_account, e.amount, e.reason, e.requested_by,
    d.decision, d.decided_by, d.number
FROM mark JOIN ledger.manual_entries AS e ON e.shard = mark.shard
LEFT JOIN ledger.manual_decisions AS d USING (entry_id)
WHERE e.entry_id = $2

-- name: newest_entries
SELECT
    e.entry_id, e.reverses, e.asset, e.from_account, e.to_account, e.amount, e.reason, e.requested_by,
    d.decision, d.decided_by, d.number
FROM ledger.manual_entries AS e LEFT JOIN ledger.manual_decisions AS d USING (entry_id)
WHERE e.shard = $1 AND (d.decision IS NULL OR NOT $2::boolean)
ORDER BY e.requested_at_us DESC LIMIT $3
