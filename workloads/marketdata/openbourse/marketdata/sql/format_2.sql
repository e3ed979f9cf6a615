-- A history of format 1 becomes one of format 2: volumes of candles as decimal text. All of it or nothing.
BEGIN IMMEDIATE;
ALTER TABLE candles RENAME TO candles_in_64_bits;
CREATE TABLE candles (
    symbol TEXT NOT NULL, interval TEXT NOT NULL, open_ms INTEGER NOT NULL,
    open INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL, close INTEGER NOT NULL,
    lots TEXT NOT NULL, quote_units TEXT NOT NULL, trades INTEGER NOT NULL,
    taker_lots TEXT NOT NULL, taker_quote_units TEXT NOT NULL,
    first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
    PRIMARY KEY (symbol, interval, open_ms)
) STRICT, WITHOUT ROWID;
INSERT INTO candles
SELECT
    symbol, interval, open_ms, open, high, low, close, CAST(lots AS TEXT), CAST(quote_units AS TEXT), trades,
    CAST(taker_lots AS TEXT), CAST(taker_quote_units AS TEXT), first_id, last_id
FROM candles_in_64_bits;
DROP TABLE candles_in_64_bits;
PRAGMA user_version = 2;
COMMIT;
