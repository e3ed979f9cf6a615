-- The statements of one settlement, in the order in which a transaction runs them. Entries come by COPY
-- (openbourse.ledger.copy_rows), before the balances.

-- name: lock_watermark
-- The one lock of a settlement: whoever writes a shard's balances holds it, so two of them cannot deadlock.
SELECT session_epoch, seq, batch, head FROM ledger.watermarks WHERE shard = $1 FOR UPDATE

-- name: begin_watermark
-- A shard that was never settled starts before its first seq.
INSERT INTO ledger.watermarks (shard) VALUES ($1) ON CONFLICT DO NOTHING

-- name: settled_entries
-- What was settled of a run of seqs, to compare with what came again.
SELECT
    seq, index, epoch, kind::text, symbol, occurred_at_us, correlation_id, account, counter_account,
    asset, available, hold, counter_available, counter_hold, fees,
    other_asset, other_available, other_hold, other_counter_available, other_counter_hold, other_fees,
    trade_id, price_ticks, quantity_lots, quote_units, taker_is_buyer,
    maker_order_id, maker_fee_units, maker_fee_asset, taker_order_id, taker_fee_units, taker_fee_asset
FROM ledger.entries WHERE shard = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq, index

-- name: settled_symbols
SELECT
    seq, index, symbol, base_asset, quote_asset, tick_units, lot_units, max_price_ticks, max_quantity_lots,
    min_notional_units, maker_fee_ppm, taker_fee_ppm
FROM ledger.symbols WHERE shard = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq, index

-- name: settled_checkpoints
SELECT seq, index, epoch, occurred_at_us, state_hash
FROM ledger.checkpoints WHERE shard = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq, index

-- name: settled_assets
SELECT seq, asset, scale FROM ledger.assets WHERE shard = $1 AND asset = ANY($2::text[])

-- name: define_assets
-- An engine that starts anew defines its assets again; a changed scale is found by settled_assets afterwards.
INSERT INTO ledger.assets (shard, seq, asset, scale)
SELECT $1, a.seq, a.asset, a.scale FROM unnest($2::bigint[], $3::text[], $4::int2[]) AS a (seq, asset, scale)
ON CONFLICT (shard, asset) DO NOTHING

-- name: define_symbols
INSERT INTO ledger.symbols (
    shard, seq, index, symbol, base_asset, quote_asset, tick_units, lot_units, max_price_ticks, max_quantity_lots,
    min_notional_units, maker_fee_ppm, taker_fee_ppm
)
SELECT $1, s.*
FROM unnest(
    $2::bigint[], $3::int[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[],
    $10::bigint[], $11::bigint[], $12::int[], $13::int[]
) AS s

-- name: record_checkpoints
INSERT INTO ledger.checkpoints (shard, seq, index, epoch, occurred_at_us, state_hash)
SELECT $1, c.* FROM unnest($2::bigint[], $3::int[], $4::bigint[], $5::bigint[], $6::bytea[]) AS c

-- name: move_balances
-- Net changes of the balances that exist already. By their places, which the lock keeps: a join could be planned while
-- the table was small, and would then read all of it for each change until somebody analyses it.
WITH d AS MATERIALIZED (
    SELECT n.available, n.hold, (
        SELECT k.ctid FROM ledger.balances AS k WHERE k.shard = $1 AND k.account = n.account AND k.asset = n.asset
    ) AS place
    FROM unnest($2::text::bigint[], $3::text[], $4::text::bigint[], $5::text::bigint[])
        AS n (account, asset, available, hold)
)
UPDATE ledger.balances AS b
SET available = b.available + d.available, hold = b.hold + d.hold
FROM d WHERE b.ctid = d.place

-- name: open_balances
-- Run only when move_balances found fewer rows than it was given: the others begin with their first change.
INSERT INTO ledger.balances (shard, account, asset, available, hold)
SELECT $1, d.account, d.asset, d.available, d.hold
FROM unnest($2::text::bigint[], $3::text[], $4::text::bigint[], $5::text::bigint[]) AS d (account, asset, available, hold)
WHERE NOT EXISTS (
    SELECT FROM ledger.balances AS b WHERE b.shard = $1 AND b.account = d.account AND b.asset = d.asset
)

-- name: post_transfers
-- Only a pending transfer for exactly this credit or debit is posted; every other one is an alarm.
UPDATE ledger.transfers AS t
SET state = 'posted', posted_seq = p.seq, posted_index = p.index, decided_at = clock_timestamp()
FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::int[], $8::text[])
    AS p (transfer_id, account, asset, amount, seq, index, direction)
WHERE t.transfer_id = p.transfer_id AND t.shard = $1 AND t.account = p.account AND t.asset = p.asset
    AND t.amount = p.amount AND t.direction::text = p.direction AND t.state = 'pending'
RETURNING t.transfer_id, t.requested_by

-- name: void_transfers
-- Those that are exactly what the engine refused to debit. One that was voided before stays as it is: of a command
-- that came twice, and was forgotten between, there are two refusals.
WITH refused AS (
    SELECT t.transfer_id, r.reason
    FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::text[])
        AS r (transfer_id, account, asset, amount, reason)
    JOIN ledger.transfers AS t ON t.transfer_id = r.transfer_id
    WHERE t.shard = $1 AND t.account = r.account AND t.asset = r.asset AND t.amount = r.amount
        AND t.direction = 'withdrawal' AND t.state <> 'posted'
), voided AS (
    UPDATE ledger.transfers AS t
    SET state = 'voided', reason = refused.reason, decided_at = clock_timestamp()
    FROM refused WHERE t.transfer_id = refused.transfer_id AND t.state = 'pending'
)
SELECT transfer_id FROM refused

-- name: close_batch
-- The batch's row and the watermark in one statement: the database lets neither move without the other.
WITH closed AS (
    INSERT INTO ledger.batches (
        shard, batch, session_epoch, first_seq, last_seq, entries, settled_at_us, content, head
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    RETURNING *
)
UPDATE ledger.watermarks AS w
SET session_epoch = closed.session_epoch, seq = closed.last_seq, batch = closed.batch, head = closed.head,
    trades = w.trades + $10, moved_at = clock_timestamp()
FROM closed
WHERE w.shard = closed.shard
RETURNING w.trades

-- name: count_entries
SELECT count(*) FROM ledger.entries WHERE shard = $1 AND seq <= $2

-- name: touch_watermark
-- Nothing was new. It is written all the same, so that the commit waits for the standby.
UPDATE ledger.watermarks SET session_epoch = $2, moved_at = clock_timestamp() WHERE shard = $1 RETURNING trades
