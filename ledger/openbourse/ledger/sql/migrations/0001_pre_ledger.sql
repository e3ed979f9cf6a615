-- The books of the exchange: double entry, append-only, balances kept beside the entries that explain them.
--
-- Amounts are bigint min-units, as in the engine and its contract: what the engine can hold, the ledger can. The
-- largest supply that fits is 9.2e18 min-units (docs/decisions has the reasons and what numeric would cost).

CREATE SCHEMA ledger;

-- The application's role. It may read all, append entries, and move balances, watermarks and transfers; nothing else.
DO $$
BEGIN
    CREATE ROLE openbourse_ledger LOGIN;
EXCEPTION
    -- Roles belong to the whole server: another database on it may have made this one, just now or long ago.
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of ledger.% refused: it is append-only, corrections are new entries', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'OB001';
END
$$;

-- True when the legs are four arrays of one length without NULL, and the legs of each asset sum to zero. Legs of one
-- asset are neighbours: each run has to sum to zero by itself, so no order has to be trusted.
CREATE FUNCTION ledger.is_balanced(accounts bigint[], assets text[], available bigint[], hold bigint[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    legs integer := cardinality(accounts);
    total bigint := 0;
    asset text := assets[1];
BEGIN
    IF legs < 1 OR cardinality(assets) <> legs OR cardinality(available) <> legs OR cardinality(hold) <> legs THEN
        RETURN false;
    END IF;
    FOR leg IN 1..legs LOOP
        IF assets[leg] <> asset THEN
            IF total <> 0 THEN
                RETURN false;
            END IF;
            asset := assets[leg];
        END IF;
        total := total + available[leg] + hold[leg];
    END LOOP;
    -- A NULL anywhere makes the total NULL: unknown is not balanced.
    RETURN coalesce(total = 0, false) AND array_position(accounts, NULL) IS NULL AND array_position(assets, NULL) IS NULL;
END
$$;

CREATE TABLE ledger.assets (
    shard text NOT NULL CHECK (shard <> ''),
    asset text NOT NULL CHECK (asset <> ''),
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 18),
    PRIMARY KEY (shard, asset)
);

-- A symbol's definition as it holds from seq on; the latest is the present one.
CREATE TABLE ledger.symbols (
    shard text NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    index integer NOT NULL CHECK (index >= 0),
    symbol text NOT NULL CHECK (symbol <> ''),
    base_asset text NOT NULL,
    quote_asset text NOT NULL,
    tick_units bigint NOT NULL CHECK (tick_units > 0),
    lot_units bigint NOT NULL CHECK (lot_units > 0),
    max_price_ticks bigint NOT NULL,
    max_quantity_lots bigint NOT NULL,
    min_notional_units bigint NOT NULL,
    maker_fee_ppm integer NOT NULL CHECK (maker_fee_ppm >= 0),
    taker_fee_ppm integer NOT NULL CHECK (taker_fee_ppm >= 0),
    PRIMARY KEY (shard, seq, index),
    FOREIGN KEY (shard, base_asset) REFERENCES ledger.assets (shard, asset),
    FOREIGN KEY (shard, quote_asset) REFERENCES ledger.assets (shard, asset)
);

CREATE TYPE ledger.entry_kind AS ENUM (
    'order_accepted', 'order_canceled', 'order_expired', 'trade_executed', 'funds_credited'
);

-- One row for each event that moved money or holds, with all its legs. A trade is an entry with more columns: its
-- legs and its terms cannot come apart. Wide columns first, so that little is lost to alignment.
CREATE TABLE ledger.entries (
    seq bigint NOT NULL CHECK (seq > 0),
    epoch bigint NOT NULL,
    occurred_at_us bigint NOT NULL,
    trade_id bigint CHECK (trade_id > 0),
    price_ticks bigint CHECK (price_ticks > 0),
    quantity_lots bigint CHECK (quantity_lots > 0),
    quote_units bigint CHECK (quote_units > 0),
    maker_account bigint,
    maker_order_id bigint,
    maker_fee_units bigint CHECK (maker_fee_units >= 0),
    taker_account bigint,
    taker_order_id bigint,
    taker_fee_units bigint CHECK (taker_fee_units >= 0),
    index integer NOT NULL CHECK (index >= 0),
    kind ledger.entry_kind NOT NULL,
    taker_is_buyer boolean,
    shard text NOT NULL CHECK (shard <> ''),
    symbol text NOT NULL,
    maker_fee_asset text,
    taker_fee_asset text,
    correlation_id text NOT NULL,
    leg_accounts bigint[] NOT NULL,
    leg_assets text[] NOT NULL,
    leg_available bigint[] NOT NULL,
    leg_hold bigint[] NOT NULL,
    PRIMARY KEY (shard, seq, index),
    CONSTRAINT entries_are_balanced CHECK (ledger.is_balanced(leg_accounts, leg_assets, leg_available, leg_hold)),
    CONSTRAINT entries_of_trades_are_whole CHECK (
        num_nonnulls(
            trade_id, price_ticks, quantity_lots, quote_units, taker_is_buyer, maker_account, maker_order_id,
            maker_fee_units, maker_fee_asset, taker_account, taker_order_id, taker_fee_units, taker_fee_asset
        ) = CASE kind WHEN 'trade_executed' THEN 13 ELSE 0 END
    )
);
CREATE INDEX entries_by_maker ON ledger.entries (maker_account, symbol, trade_id) WHERE maker_account IS NOT NULL;
CREATE INDEX entries_by_taker ON ledger.entries (taker_account, symbol, trade_id) WHERE taker_account IS NOT NULL;

-- The trades as people read them.
CREATE VIEW ledger.trades AS
SELECT
    shard, symbol, trade_id, seq, index, to_timestamp(occurred_at_us / 1e6) AS occurred_at, occurred_at_us,
    price_ticks, quantity_lots, quote_units, taker_is_buyer,
    maker_account, maker_order_id, maker_fee_units, maker_fee_asset,
    taker_account, taker_order_id, taker_fee_units, taker_fee_asset
FROM ledger.entries
WHERE kind = 'trade_executed';

-- The legs as people, and sums, read them.
CREATE VIEW ledger.legs AS
SELECT e.shard, e.seq, e.index, e.kind, e.symbol, e.correlation_id, l.account, l.asset, l.available, l.hold
FROM ledger.entries AS e
CROSS JOIN LATERAL unnest(e.leg_accounts, e.leg_assets, e.leg_available, e.leg_hold)
    AS l (account, asset, available, hold);

CREATE TABLE ledger.checkpoints (
    shard text NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    index integer NOT NULL,
    epoch bigint NOT NULL,
    occurred_at_us bigint NOT NULL,
    state_hash bytea NOT NULL CHECK (state_hash <> ''),
    PRIMARY KEY (shard, seq, index)
);

-- The sum of all legs of an account and asset, kept up in the transaction that adds the legs. Account 1 is the
-- shard's fees, 2 the world outside, traders begin at 1000 (openbourse.ledger.accounts).
CREATE TABLE ledger.balances (
    account bigint NOT NULL CONSTRAINT balances_of_known_accounts CHECK (account IN (1, 2) OR account >= 1000),
    available bigint NOT NULL,
    hold bigint NOT NULL,
    shard text NOT NULL,
    asset text NOT NULL,
    PRIMARY KEY (shard, account, asset),
    FOREIGN KEY (shard, asset) REFERENCES ledger.assets (shard, asset),
    CONSTRAINT balances_are_not_negative CHECK (hold >= 0 AND (available >= 0 OR account = 2))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

-- How far each shard is settled. Locking its row is the first thing a settlement does and the only lock it waits for;
-- writing it is a part of every settlement, so that each of them waits for the standby, a repeated one too.
CREATE TABLE ledger.watermarks (
    shard text PRIMARY KEY CHECK (shard <> ''),
    session_epoch bigint NOT NULL DEFAULT 0 CHECK (session_epoch >= 0),
    seq bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    trades bigint NOT NULL DEFAULT 0 CHECK (trades >= 0),
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10);

CREATE FUNCTION ledger.watermark_only_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.shard <> OLD.shard OR NEW.seq < OLD.seq OR NEW.trades < OLD.trades THEN
        RAISE EXCEPTION 'watermark of shard % only moves forward: it is at %', OLD.shard, OLD.seq
            USING ERRCODE = 'OB002';
    END IF;
    IF NEW.session_epoch < OLD.session_epoch THEN
        RAISE EXCEPTION 'shard % was settled from epoch %, not again from epoch %',
            OLD.shard, OLD.session_epoch, NEW.session_epoch USING ERRCODE = 'OB003';
    END IF;
    RETURN NEW;
END
$$;

CREATE TYPE ledger.transfer_state AS ENUM ('pending', 'posted', 'voided');

-- Deposits in two phases. The id is also the id of the command that the engine carries out once.
CREATE TABLE ledger.transfers (
    transfer_id uuid PRIMARY KEY,
    account bigint NOT NULL CHECK (account >= 1000),
    amount bigint NOT NULL CHECK (amount > 0),
    shard text NOT NULL,
    asset text NOT NULL,
    state ledger.transfer_state NOT NULL DEFAULT 'pending',
    reason text NOT NULL DEFAULT '',
    posted_seq bigint,
    posted_index integer,
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    decided_at timestamptz,
    FOREIGN KEY (shard, asset) REFERENCES ledger.assets (shard, asset),
    -- Checked when the transaction ends: the entry and the state that points at it are written together.
    FOREIGN KEY (shard, posted_seq, posted_index) REFERENCES ledger.entries (shard, seq, index)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT transfers_say_what_decided_them CHECK (
        CASE state
            WHEN 'pending' THEN num_nonnulls(posted_seq, posted_index, decided_at) = 0 AND reason = ''
            WHEN 'posted' THEN num_nonnulls(posted_seq, posted_index, decided_at) = 3 AND reason = ''
            WHEN 'voided' THEN num_nonnulls(posted_seq, posted_index) = 0 AND decided_at IS NOT NULL AND reason <> ''
        END
    )
);
CREATE INDEX transfers_pending ON ledger.transfers (shard, created_at) WHERE state = 'pending';

CREATE FUNCTION ledger.transfer_only_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' THEN
            RAISE EXCEPTION 'a transfer begins as pending, not %', NEW.state USING ERRCODE = 'OB004';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state <> 'pending' OR NEW.state = 'pending' THEN
        RAISE EXCEPTION 'transfer % is %: it never becomes %', OLD.transfer_id, OLD.state, NEW.state
            USING ERRCODE = 'OB004';
    END IF;
    IF (NEW.transfer_id, NEW.shard, NEW.account, NEW.asset, NEW.amount, NEW.requested_by, NEW.created_at)
        IS DISTINCT FROM
        (OLD.transfer_id, OLD.shard, OLD.account, OLD.asset, OLD.amount, OLD.requested_by, OLD.created_at) THEN
        RAISE EXCEPTION 'transfer %: what was asked for never changes', OLD.transfer_id USING ERRCODE = 'OB004';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER watermark_only_forward BEFORE UPDATE ON ledger.watermarks
    FOR EACH ROW EXECUTE FUNCTION ledger.watermark_only_forward();
ALTER TABLE ledger.watermarks ENABLE ALWAYS TRIGGER watermark_only_forward;
CREATE TRIGGER transfer_only_forward BEFORE INSERT OR UPDATE ON ledger.transfers
    FOR EACH ROW EXECUTE FUNCTION ledger.transfer_only_forward();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER transfer_only_forward;

-- ALWAYS: also in a session that says it replicates. The owner is refused as everybody is.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['entries', 'assets', 'symbols', 'checkpoints'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', name);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER append_only', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['balances', 'watermarks', 'transfers'] LOOP
        EXECUTE format(
            'CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON ledger.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', name);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER never_removed', name);
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA ledger FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger TO openbourse_ledger;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO openbourse_ledger;
GRANT INSERT ON ledger.entries, ledger.assets, ledger.symbols, ledger.checkpoints TO openbourse_ledger;
GRANT INSERT, UPDATE (available, hold) ON ledger.balances TO openbourse_ledger;
GRANT INSERT (shard), UPDATE (session_epoch, seq, trades, moved_at) ON ledger.watermarks TO openbourse_ledger;
GRANT INSERT (transfer_id, shard, account, asset, amount, requested_by),
    UPDATE (state, reason, posted_seq, posted_index, decided_at) ON ledger.transfers TO openbourse_ledger;
