-- What the content of a batch is a hash over: with COPY ... (FORMAT binary), the very bytes. Each section by itself,
-- in the order of its keys, seq first (openbourse.ledger.chain).

-- name: entries
SELECT
    seq, epoch, occurred_at_us, index, account, available, hold, counter_available, counter_hold, fees, counter_account,
    other_available, other_hold, other_counter_available, other_counter_hold, other_fees,
    trade_id, price_ticks, quantity_lots, quote_units, maker_order_id, maker_fee_units, taker_order_id, taker_fee_units,
    taker_is_buyer, kind, shard, symbol, asset, other_asset, maker_fee_asset, taker_fee_asset, correlation_id
FROM ledger.entries WHERE shard = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq, index

-- name: assets
-- Those of before the chain have seq 0 and belong to the first batch.
SELECT seq, shard, asset, scale
FROM ledger.assets WHERE shard = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq, asset COLLATE "C"

-- name: symbols
SELECT
    seq, index, shard, symbol, base_asset, quote_asset, tick_units, lot_units, max_price_ticks, max_quantity_lots,
    min_notional_units, maker_fee_ppm, taker_fee_ppm
FROM ledger.symbols WHERE shard = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq, index

-- name: checkpoints
SELECT seq, index, shard, epoch, occurred_at_us, state_hash
FROM ledger.checkpoints WHERE shard = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq, index

-- name: transfers
SELECT posted_seq, posted_index, shard, transfer_id, account, asset, amount, requested_by
FROM ledger.transfers WHERE shard = $1 AND state = 'posted' AND posted_seq BETWEEN $2 AND $3
ORDER BY posted_seq, posted_index
