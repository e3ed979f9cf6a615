-- Orders, prevented matches and balances of a shard's accounts, as they are at the watermark: private.
-- What an order is found by stands in columns; `record` is all of it, a message OrderRecord. An order's id is unique for
-- its symbol: one that came along from another shard has its id from there.
CREATE TABLE IF NOT EXISTS orders (
    order_id INTEGER NOT NULL, account INTEGER NOT NULL, symbol TEXT NOT NULL, client_order_id TEXT NOT NULL,
    updated_us INTEGER NOT NULL, is_open INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (symbol, order_id)
) STRICT;
CREATE INDEX IF NOT EXISTS orders_by_id ON orders (account, symbol, order_id);
CREATE INDEX IF NOT EXISTS orders_by_time ON orders (account, symbol, updated_us, order_id);
CREATE INDEX IF NOT EXISTS orders_by_name ON orders (account, client_order_id, order_id);
-- What a start loads.
CREATE INDEX IF NOT EXISTS orders_open ON orders (symbol, order_id) WHERE is_open;
CREATE TABLE IF NOT EXISTS prevented (
    symbol TEXT NOT NULL, prevented_match_id INTEGER NOT NULL,
    taker_account INTEGER NOT NULL, taker_order_id INTEGER NOT NULL,
    maker_account INTEGER NOT NULL, maker_order_id INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (symbol, prevented_match_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS prevented_by_taker ON prevented (taker_order_id);
CREATE INDEX IF NOT EXISTS prevented_by_maker ON prevented (maker_order_id);
CREATE TABLE IF NOT EXISTS balances (
    account INTEGER NOT NULL, asset TEXT NOT NULL, available INTEGER NOT NULL, hold INTEGER NOT NULL,
    PRIMARY KEY (account, asset)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trade_groups (account INTEGER PRIMARY KEY, trade_group INTEGER NOT NULL) STRICT;
