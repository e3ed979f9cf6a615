-- A history of format 2 becomes one of format 3: an order's id is unique for its symbol alone. All of it or nothing.
BEGIN IMMEDIATE;
ALTER TABLE orders RENAME TO orders_by_seq;
CREATE TABLE orders (
    order_id INTEGER NOT NULL, account INTEGER NOT NULL, symbol TEXT NOT NULL, client_order_id TEXT NOT NULL,
    updated_us INTEGER NOT NULL, is_open INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (symbol, order_id)
) STRICT;
INSERT INTO orders
SELECT order_id, account, symbol, client_order_id, updated_us, is_open, record FROM orders_by_seq ORDER BY order_id;
-- With its indexes, which are made anew by `accounts.sql`.
DROP TABLE orders_by_seq;
PRAGMA user_version = 3;
COMMIT;
