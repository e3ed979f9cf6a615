-- Statements, the newest line first: what is older than an entry (seq, index), so many lines at most.

-- name: balance
SELECT available, hold FROM ledger.balances WHERE shard = $1 AND account = $2 AND asset = $3

-- name: movements
-- Of any account but fees. By symbol, for so are the entries indexed: those of the asset, and '' for what has none. An
-- account that traded with itself has all of its legs on one side.
WITH names AS (
    SELECT symbol FROM ledger.symbols WHERE shard = $1 AND $3::text IN (base_asset, quote_asset)
    UNION
    SELECT ''
)
SELECT m.seq, m.index, m.kind::text, n.symbol, m.correlation_id, m.occurred_at_us, m.available, m.hold
FROM names AS n
CROSS JOIN LATERAL (
    (
        SELECT seq, index, kind, correlation_id, occurred_at_us,
            CASE asset WHEN $3 THEN available ELSE other_available END AS available,
            CASE asset WHEN $3 THEN hold ELSE other_hold END AS hold
        FROM ledger.entries
        WHERE shard = $1 AND account = $2 AND symbol = n.symbol AND kind = 'trade_executed'
            AND CASE $3 WHEN asset THEN available <> 0 OR hold <> 0
                WHEN other_asset THEN other_available <> 0 OR other_hold <> 0 END
            AND seq <= $4 AND (seq, index) < ($4, $5)
        ORDER BY seq DESC, index DESC LIMIT $6
    )
    UNION ALL
    (
        SELECT seq, index, kind, correlation_id, occurred_at_us,
            CASE asset WHEN $3 THEN counter_available ELSE other_counter_available END AS available,
            CASE asset WHEN $3 THEN counter_hold ELSE other_counter_hold END AS hold
        FROM ledger.entries
        WHERE shard = $1 AND counter_account = $2 AND symbol = n.symbol AND kind = 'trade_executed'
            AND CASE $3 WHEN asset THEN counter_available <> 0 OR counter_hold <> 0
                WHEN other_asset THEN other_counter_available <> 0 OR other_counter_hold <> 0 END
            AND account <> counter_account
            AND seq <= $4 AND (seq, index) < ($4, $5)
        ORDER BY seq DESC, index DESC LIMIT $6
    )
    UNION ALL
    (
        SELECT seq, index, kind, correlation_id, occurred_at_us,
            CASE asset WHEN $3 THEN available ELSE other_available END AS available,
            CASE asset WHEN $3 THEN hold ELSE other_hold END AS hold
        FROM ledger.entries
        WHERE shard = $1 AND account = $2 AND symbol = n.symbol AND kind <> 'trade_executed'
            AND CASE $3 WHEN asset THEN available <> 0 OR hold <> 0
                WHEN other_asset THEN other_available <> 0 OR other_hold <> 0 END
            AND seq <= $4 AND (seq, index) < ($4, $5)
        ORDER BY seq DESC, index DESC LIMIT $6
    )
    UNION ALL
    (
        SELECT seq, index, kind, correlation_id, occurred_at_us,
            CASE asset WHEN $3 THEN counter_available ELSE other_counter_available END AS available,
            CASE asset WHEN $3 THEN counter_hold ELSE other_counter_hold END AS hold
        FROM ledger.entries
        WHERE shard = $1 AND counter_account = $2 AND symbol = n.symbol AND kind <> 'trade_executed'
            AND CASE $3 WHEN asset THEN counter_available <> 0 OR counter_hold <> 0
                WHEN other_asset THEN other_counter_available <> 0 OR other_counter_hold <> 0 END
            AND counter_account IS NOT NULL AND account <> counter_account
            AND seq <= $4 AND (seq, index) < ($4, $5)
        ORDER BY seq DESC, index DESC LIMIT $6
    )
) AS m
ORDER BY m.seq DESC, m.index DESC LIMIT $6

-- name: movements_by_hand
-- Manual entries come after all events of the seq that was settled last when they were posted.
SELECT
    seq, (1000000 + number)::integer AS index, kind, '' AS symbol, entry_id::text AS correlation_id,
    decided_at_us AS occurred_at_us, available, 0::bigint AS hold
FROM ledger.manual_legs
WHERE shard = $1 AND account = $2 AND asset = $3
    AND seq <= $4 AND (seq, 1000000 + number) < ($4, $5)
ORDER BY number DESC LIMIT $6

-- name: movements_of_fees
-- Nearly every trade moves fees: the entries themselves are the index.
SELECT
    seq, index, kind::text, symbol, correlation_id, occurred_at_us,
    CASE asset WHEN $3 THEN fees ELSE other_fees END AS available, 0::bigint AS hold
FROM ledger.entries
WHERE shard = $1 AND $2::bigint = 1
    AND CASE $3::text WHEN asset THEN fees WHEN other_asset THEN other_fees END <> 0
    AND seq <= $4 AND (seq, index) < ($4, $5)
ORDER BY seq DESC, index DESC LIMIT $6

-- name: legs_of_lines
-- Which of these entries of a shard are legs, and of what.
SELECT t.posted_seq, t.posted_index, t.leg, m.from_shard, m.to_shard
FROM unnest($2::bigint[], $3::int[]) AS l (seq, index)
JOIN ledger.transfers AS t
    ON t.shard = $1 AND t.posted_seq = l.seq AND t.posted_index = l.index AND t.state = 'posted'
JOIN ledger.moves AS m USING (move_id)
