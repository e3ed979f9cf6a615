-- Moves of symbols between shards (openbourse.ledger.symbol_moves).

-- name: record_symbol_move
-- Nothing when the id is there already: the caller reads it and compares.
INSERT INTO ledger.symbol_moves (move_id, symbol, from_shard, to_shard, requested_by)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (move_id) DO NOTHING

-- name: symbol_move
SELECT *, extract(epoch FROM clock_timestamp() - changed_at)::float8 AS state_age_s FROM ledger.symbol_moves
WHERE move_id = $2 AND $1 IN (from_shard, to_shard)

-- name: confirmed_symbol_move
-- The lock is written, so that its commit waits for the standby and with it all that was committed before.
WITH locked AS (
    SELECT move_id FROM ledger.symbol_moves WHERE move_id = $2 AND $1 IN (from_shard, to_shard) FOR NO KEY UPDATE
)
SELECT m.*, extract(epoch FROM clock_timestamp() - m.changed_at)::float8 AS state_age_s
FROM locked JOIN ledger.symbol_moves AS m USING (move_id)

-- name: symbol_moves_to_carry
-- The oldest first, so many at most, of those in which something is for this shard to do.
SELECT *, extract(epoch FROM clock_timestamp() - changed_at)::float8 AS state_age_s FROM ledger.symbol_moves
WHERE state NOT IN ('completed', 'undone') AND $1 IN (from_shard, to_shard)
ORDER BY created_at LIMIT $2

-- name: become
-- From one state to the next, with the time of an import; nothing when another was quicker.
UPDATE ledger.symbol_moves
SET state = $3::text::ledger.symbol_move_state, reason = $4, imported_at_us = coalesce($5, imported_at_us)
WHERE move_id = $1 AND state = $2::text::ledger.symbol_move_state

-- name: frozen
-- With its record, and what left the books with it, which is in transit from now on.
WITH part AS (
    INSERT INTO ledger.symbol_move_parts (move_id, number, record)
    SELECT $1, p.number - 1, p.record FROM unnest($2::bytea[]) WITH ORDINALITY AS p (record, number)
    WHERE EXISTS (SELECT FROM ledger.symbol_moves WHERE move_id = $1 AND state = 'willing')
), held AS (
    INSERT INTO ledger.symbol_move_funds (move_id, asset, amount)
    SELECT $1, e.asset, sum(-e.hold - e.counter_hold) FROM ledger.entries AS e
    WHERE e.shard = $4 AND e.seq = $5 AND e.kind::text = 'order_departed'
        AND EXISTS (SELECT FROM ledger.symbol_moves WHERE move_id = $1 AND state = 'willing')
    GROUP BY e.asset
)
UPDATE ledger.symbol_moves SET state = 'frozen', record_sha256 = $3, frozen_at_us = $6
WHERE move_id = $1 AND state = 'willing'

-- name: record
SELECT m.record_sha256, p.record FROM ledger.symbol_moves AS m JOIN ledger.symbol_move_parts AS p USING (move_id)
WHERE m.move_id = $1 ORDER BY p.number

-- name: ask_to_undo
UPDATE ledger.symbol_moves SET undo_asked = true
WHERE move_id = $2 AND $1 IN (from_shard, to_shard) AND state IN ('requested', 'willing', 'frozen')

-- name: newest_symbol_moves
SELECT *, extract(epoch FROM clock_timestamp() - changed_at)::float8 AS state_age_s FROM ledger.symbol_moves
WHERE $1 IN (from_shard, to_shard) AND (state NOT IN ('completed', 'undone') OR NOT $2::boolean)
ORDER BY created_at DESC LIMIT $3

-- name: symbols_of_shards
-- Of every shard whose books are in this database, the symbols that it ever listed.
SELECT w.shard, array_agg(DISTINCT s.symbol) FILTER (WHERE s.symbol IS NOT NULL) AS symbols
FROM ledger.watermarks AS w LEFT JOIN ledger.symbols AS s USING (shard) GROUP BY w.shard
