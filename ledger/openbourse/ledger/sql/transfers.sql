-- Deposits and withdrawals in two phases; what the engine said of them is a part of settlement (settle.sql).

-- name: record_transfer
-- Nothing when the id is there already: the caller reads it and compares.
INSERT INTO ledger.transfers (transfer_id, shard, direction, account, asset, amount, requested_by)
VALUES ($1, $2, $3::text::ledger.transfer_direction, $4, $5, $6, $7) ON CONFLICT (transfer_id) DO NOTHING

-- name: transfer
SELECT transfer_id, direction::text, account, asset, amount, state::text, reason, posted_seq
FROM ledger.transfers WHERE shard = $1 AND transfer_id = $2

-- name: confirmed_transfer
-- The lock is written, so that its commit waits for the standby and with it all that was committed before.
SELECT transfer_id, direction::text, account, asset, amount, state::text, reason, posted_seq
FROM ledger.transfers WHERE shard = $1 AND transfer_id = $2 FOR UPDATE

-- name: pending_transfers
-- Oldest first, so many at most, no younger than so many seconds.
SELECT transfer_id, direction::text, account, asset, amount, state::text, reason, posted_seq
FROM ledger.transfers
WHERE shard = $1 AND state = 'pending' AND created_at <= clock_timestamp() - make_interval(secs => $2)
ORDER BY created_at LIMIT $3

-- name: void_transfer
UPDATE ledger.transfers SET state = 'voided', reason = $3, decided_at = clock_timestamp()
WHERE shard = $1 AND transfer_id = $2 AND state = 'pending'
