-- Deposits, withdrawals and the legs of moves, in two phases; what the engine said of them is a part of settlement
-- (settle.sql).

-- name: record_transfer
-- Nothing when the id is there already: the caller reads it and compares.
INSERT INTO ledger.transfers (transfer_id, shard, direction, account, asset, amount, requested_by, move_id, leg)
VALUES ($1, $2, $3::text::ledger.transfer_direction, $4, $5, $6, $7, $8, $9) ON CONFLICT (transfer_id) DO NOTHING

-- name: transfer
SELECT transfer_id, direction::text, account, asset, amount, state::text, reason, posted_seq, move_id, leg
FROM ledger.transfers WHERE shard = $1 AND transfer_id = $2

-- name: confirmed_transfer
-- The lock is written, so that its commit waits for the standby and with it all that was committed before.
SELECT transfer_id, direction::text, account, asset, amount, state::text, reason, posted_seq, move_id, leg
FROM ledger.transfers WHERE shard = $1 AND transfer_id = $2 FOR UPDATE

-- name: pending_transfers
-- Oldest first, so many at most, no younger than so many seconds.
SELECT transfer_id, direction::text, account, asset, amount, state::text, reason, posted_seq, move_id, leg
FROM ledger.transfers
WHERE shard = $1 AND state = 'pending' AND created_at <= clock_timestamp() - make_interval(secs => $2)
ORDER BY created_at LIMIT $3

-- name: void_transfer
UPDATE ledger.transfers SET state = 'voided', reason = $3, decided_at = clock_timestamp()
WHERE shard = $1 AND transfer_id = $2 AND state = 'pending'

-- name: waiting
-- How many transfers and moves of a shard are pending, and for how many seconds the oldest of each.
SELECT
    t.pending AS transfers, t.age_s AS transfers_age_s, m.pending AS moves, m.age_s AS moves_age_s
FROM (
    SELECT count(*) AS pending, extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS age_s
    FROM ledger.transfers WHERE shard = $1 AND state = 'pending'
) AS t, (
    SELECT count(*) AS pending, extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS age_s
    FROM ledger.moves WHERE state = 'pending' AND $1 IN (from_shard, to_shard)
) AS m
