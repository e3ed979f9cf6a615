-- The history of one shard. Prices are ticks, quantities lots, amounts min-units of the quote asset.
-- Everything is written together with the watermark, so that what is here is always the effect of the stream up to it.
CREATE TABLE IF NOT EXISTS watermark (
    shard TEXT PRIMARY KEY, seq INTEGER NOT NULL, session_epoch INTEGER NOT NULL, time_us INTEGER NOT NULL
) STRICT;
-- Where the history begins, if not with the shard.
CREATE TABLE IF NOT EXISTS beginning (shard TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS assets (asset TEXT PRIMARY KEY, scale INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS symbols (
    symbol TEXT PRIMARY KEY, definition BLOB NOT NULL,
    -- Without a last trade id the next one is not known before it is heard.
    update_id INTEGER NOT NULL, last_trade_id INTEGER, last_aggregate_id INTEGER NOT NULL, is_here INTEGER NOT NULL
) STRICT;
-- What rests now.
CREATE TABLE IF NOT EXISTS levels (
    symbol TEXT NOT NULL, side INTEGER NOT NULL, price_ticks INTEGER NOT NULL, quantity_lots INTEGER NOT NULL,
    PRIMARY KEY (symbol, side, price_ticks)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trades (
    symbol TEXT NOT NULL, trade_id INTEGER NOT NULL, price_ticks INTEGER NOT NULL, quantity_lots INTEGER NOT NULL,
    quote_units INTEGER NOT NULL, time_us INTEGER NOT NULL, buyer_is_maker INTEGER NOT NULL,
    PRIMARY KEY (symbol, trade_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS aggregates (
    symbol TEXT NOT NULL, aggregate_id INTEGER NOT NULL, price_ticks INTEGER NOT NULL, quantity_lots INTEGER NOT NULL,
    first_id INTEGER NOT NULL, last_id INTEGER NOT NULL, time_us INTEGER NOT NULL, buyer_is_maker INTEGER NOT NULL,
    PRIMARY KEY (symbol, aggregate_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS aggregates_by_time ON aggregates (symbol, time_us);
-- Those with trades. Volumes are sums over any number of trades, so they may exceed 64 bits: decimal text.
CREATE TABLE IF NOT EXISTS candles (
    symbol TEXT NOT NULL, interval TEXT NOT NULL, open_ms INTEGER NOT NULL,
    open INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL, close INTEGER NOT NULL,
    lots TEXT NOT NULL, quote_units TEXT NOT NULL, trades INTEGER NOT NULL,
    taker_lots TEXT NOT NULL, taker_quote_units TEXT NOT NULL,
    first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
    PRIMARY KEY (symbol, interval, open_ms)
) STRICT, WITHOUT ROWID;
