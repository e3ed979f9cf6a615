-- Moves between shards (openbourse.ledger.moves). Each leg is a transfer of its shard (transfers.sql, settle.sql).

-- name: record_move
-- Nothing when the id is there already: the caller reads it and compares.
INSERT INTO ledger.moves (move_id, account, asset, amount, from_shard, to_shard, requested_by)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (move_id) DO NOTHING

-- name: move
SELECT * FROM ledger.moves_now WHERE move_id = $2 AND $1 IN (from_shard, to_shard)

-- name: confirmed_move
-- The lock is written, so that its commit waits for the standby and with it all that was committed before.
WITH locked AS (SELECT move_id FROM ledger.moves WHERE move_id = $2 AND $1 IN (from_shard, to_shard) FOR NO KEY UPDATE)
SELECT n.* FROM locked JOIN ledger.moves_now AS n USING (move_id)

-- name: moves_to_carry
-- The oldest first, so many at most, of those in which something is for this shard to do. One that has not begun and is
-- younger than so many seconds is still with the request that made it.
SELECT * FROM ledger.moves_now
WHERE state = 'pending' AND next_shard = $1
    AND (debit_state IS NOT NULL OR created_at <= clock_timestamp() - make_interval(secs => $2))
ORDER BY created_at LIMIT $3

-- name: decide_move
UPDATE ledger.moves SET state = $2::text::ledger.transfer_state, reason = $3, decided_at = clock_timestamp()
WHERE move_id = $1 AND state = 'pending'

-- name: newest_moves
SELECT * FROM ledger.moves_now
WHERE $1 IN (from_shard, to_shard) AND (state = 'pending' OR NOT $2::boolean)
ORDER BY created_at DESC LIMIT $3

-- name: scales_of_shards
-- Of every shard whose books are in this database, the assets that it lists.
SELECT w.shard, a.asset, a.scale FROM ledger.watermarks AS w LEFT JOIN ledger.assets AS a USING (shard)

-- name: in_transit_at
-- What is in transit right after a seq of each shard, by asset.
WITH ends AS (SELECT * FROM unnest($1::text[], $2::bigint[]) AS e (shard, seq)),
posted AS (
    SELECT t.move_id, t.leg, t.asset, t.amount
    FROM ledger.transfers AS t JOIN ends AS e ON e.shard = t.shard AND t.posted_seq <= e.seq
    WHERE t.move_id IS NOT NULL AND t.state = 'posted'
)
SELECT asset, count(*) AS moves, sum(amount)::text AS amount FROM posted AS d
WHERE leg = 'debit' AND NOT EXISTS (SELECT FROM posted AS p WHERE p.move_id = d.move_id AND p.leg <> 'debit')
GROUP BY asset ORDER BY asset COLLATE "C"
