-- A history of format 3 becomes one of format 4: each symbol says where its trades go on, and whether it is here. Of one
-- that was in another shard neither was kept: the next trade says the first, the next move the second. All of it or nothing.
BEGIN IMMEDIATE;
-- Older ones have none.
CREATE TABLE IF NOT EXISTS partial (symbol TEXT PRIMARY KEY) STRICT;
ALTER TABLE symbols RENAME TO symbols_before;
CREATE TABLE symbols (
    symbol TEXT PRIMARY KEY, definition BLOB NOT NULL,
    update_id INTEGER NOT NULL, last_trade_id INTEGER, last_aggregate_id INTEGER NOT NULL, is_here INTEGER NOT NULL
) STRICT;
INSERT INTO symbols
SELECT
    symbol, definition, update_id,
    CASE WHEN symbol NOT IN (SELECT symbol FROM partial) THEN coalesce(
        (SELECT max(trade_id) FROM trades WHERE trades.symbol = symbols_before.symbol),
        (SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM beginning))
    ) END,
    last_aggregate_id, 1
FROM symbols_before;
DROP TABLE symbols_before;
DROP TABLE partial;
PRAGMA user_version = 4;
COMMIT;
