-- What the API and reconciliation read.

-- name: watermark
SELECT session_epoch, seq, trades FROM ledger.watermarks WHERE shard = $1

-- name: has_session
SELECT pg_postmaster_start_time() = $1 AND EXISTS (SELECT FROM pg_stat_activity WHERE pid = $2)

-- name: scales
SELECT asset, scale FROM ledger.assets WHERE shard = $1 ORDER BY asset

-- name: balances_of_account
SELECT asset, available, hold FROM ledger.balances WHERE shard = $1 AND account = $2 ORDER BY asset

-- name: trades_from
-- An account's trades in one symbol, oldest first: from a trade id, of an order, in a span of time (each may be NULL).
-- An account that traded with itself has two rows for the trade, one for each side.
WITH start AS (
    SELECT CASE WHEN $4::bigint IS NULL THEN 0 ELSE (
        SELECT seq FROM ledger.trades WHERE symbol = $3 AND trade_id >= $4 AND shard = $1 ORDER BY trade_id LIMIT 1
    ) END AS seq
),
sides AS (
    (
        SELECT t.*, false AS is_maker FROM ledger.trades AS t
        WHERE shard = $1 AND taker_account = $2 AND symbol = $3
            AND seq >= (SELECT start.seq FROM start) AND trade_id >= coalesce($4::bigint, 1)
            AND ($5::bigint IS NULL OR taker_order_id = $5)
            AND occurred_at_us >= coalesce($6::bigint, 0) AND ($7::bigint IS NULL OR occurred_at_us <= $7)
        ORDER BY seq, index LIMIT $8
    )
    UNION ALL
    (
        SELECT t.*, true AS is_maker FROM ledger.trades AS t
        WHERE shard = $1 AND maker_account = $2 AND symbol = $3
            AND seq >= (SELECT start.seq FROM start) AND trade_id >= coalesce($4::bigint, 1)
            AND ($5::bigint IS NULL OR maker_order_id = $5)
            AND occurred_at_us >= coalesce($6::bigint, 0) AND ($7::bigint IS NULL OR occurred_at_us <= $7)
        ORDER BY seq, index LIMIT $8
    )
)
SELECT * FROM sides ORDER BY seq, index, is_maker LIMIT $8

-- name: trades_latest
-- The same, but the newest that there are when no lower end was asked for. Newest first.
WITH sides AS (
    (
        SELECT *, false AS is_maker FROM ledger.trades
        WHERE shard = $1 AND taker_account = $2 AND symbol = $3
            AND ($4::bigint IS NULL OR taker_order_id = $4) AND ($5::bigint IS NULL OR occurred_at_us <= $5)
        ORDER BY seq DESC, index DESC LIMIT $6
    )
    UNION ALL
    (
        SELECT *, true AS is_maker FROM ledger.trades
        WHERE shard = $1 AND maker_account = $2 AND symbol = $3
            AND ($4::bigint IS NULL OR maker_order_id = $4) AND ($5::bigint IS NULL OR occurred_at_us <= $5)
        ORDER BY seq DESC, index DESC LIMIT $6
    )
)
SELECT * FROM sides ORDER BY seq DESC, index DESC, is_maker DESC LIMIT $6

-- name: balances_of_shard
SELECT account, asset, available, hold FROM ledger.balances WHERE shard = $1

-- name: moved_after
-- Net movement after a seq: what to take off the balances to see them as they were right after it.
SELECT account, asset, sum(available)::bigint AS available, sum(hold)::bigint AS hold
FROM ledger.legs WHERE shard = $1 AND seq > $2 GROUP BY account, asset

-- name: moved_by_seq
-- What each seq of a run moves, to hold it against what the engine's journal makes of the same.
SELECT seq, account, asset, sum(available)::bigint AS available, sum(hold)::bigint AS hold
FROM ledger.legs WHERE shard = $1 AND seq BETWEEN $2 AND $3
GROUP BY seq, account, asset HAVING sum(available) <> 0 OR sum(hold) <> 0

-- name: moved_by_hand
-- What all posted manual entries move.
SELECT account, asset, sum(available)::bigint AS available, 0::bigint AS hold
FROM ledger.manual_legs WHERE shard = $1 GROUP BY account, asset

-- name: sum_of_entries
-- Every balance again from nothing but the entries of the engine's events.
SELECT account, asset, sum(available)::bigint AS available, sum(hold)::bigint AS hold
FROM ledger.legs WHERE shard = $1 GROUP BY account, asset
