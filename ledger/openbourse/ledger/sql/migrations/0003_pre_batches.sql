-- Entries keep their legs in columns, and settled batches are chained (docs/decisions/2026-11-28-legs-in-columns.md,
-- docs/decisions/2026-11-28-settled-batches-are-chained.md).
--
-- The code before this release cannot settle into the new table: it waits, from here until the new code has come.

-- An entry moves one or two assets between an account, at most one other, and the shard's fees. So its legs are
-- columns, and that each asset sums to zero is plain arithmetic. A trade is an entry with more columns: its legs and its
-- terms cannot come apart. Wide columns first, so that little is lost to alignment.
DROP VIEW ledger.trades, ledger.legs;
ALTER TABLE ledger.transfers DROP CONSTRAINT transfers_shard_posted_seq_posted_index_fkey;
ALTER TABLE ledger.entries RENAME TO entries_before;
ALTER TABLE ledger.entries_before RENAME CONSTRAINT entries_pkey TO entries_before_pkey;

CREATE TABLE ledger.entries (
    seq bigint NOT NULL CHECK (seq > 0),
    epoch bigint NOT NULL,
    occurred_at_us bigint NOT NULL,
    -- Of a trade the taker and the maker; else in ascending order. Fees (account 1) have columns of their own.
    account bigint NOT NULL CHECK (account <> 1),
    counter_account bigint CHECK (counter_account <> 1),
    -- Of `asset`.
    available bigint NOT NULL,
    hold bigint NOT NULL,
    counter_available bigint NOT NULL,
    counter_hold bigint NOT NULL,
    fees bigint NOT NULL,
    -- Of `other_asset`, where there is one.
    other_available bigint,
    other_hold bigint,
    other_counter_available bigint,
    other_counter_hold bigint,
    other_fees bigint,
    trade_id bigint CHECK (trade_id > 0),
    price_ticks bigint CHECK (price_ticks > 0),
    quantity_lots bigint CHECK (quantity_lots > 0),
    quote_units bigint CHECK (quote_units > 0),
    maker_order_id bigint,
    maker_fee_units bigint CHECK (maker_fee_units >= 0),
    taker_order_id bigint,
    taker_fee_units bigint CHECK (taker_fee_units >= 0),
    index integer NOT NULL CHECK (index >= 0),
    kind ledger.entry_kind NOT NULL,
    taker_is_buyer boolean,
    shard text NOT NULL CHECK (shard <> ''),
    symbol text NOT NULL,
    asset text NOT NULL CHECK (asset <> ''),
    other_asset text CHECK (other_asset <> ''),
    maker_fee_asset text,
    taker_fee_asset text,
    correlation_id text NOT NULL,
    PRIMARY KEY (shard, seq, index),
    CONSTRAINT entries_are_balanced CHECK (
        available + hold + counter_available + counter_hold + fees = 0
        AND coalesce(other_available + other_hold + other_counter_available + other_counter_hold + other_fees, 0) = 0
    ),
    CONSTRAINT entries_have_whole_assets CHECK (
        num_nonnulls(
            other_asset, other_available, other_hold, other_counter_available, other_counter_hold, other_fees
        ) IN (0, 6)
        AND asset <> other_asset
    ),
    CONSTRAINT entries_have_whole_accounts CHECK (
        counter_account IS NOT NULL
        OR (counter_available = 0 AND counter_hold = 0
            AND coalesce(other_counter_available = 0 AND other_counter_hold = 0, true))
    ),
    CONSTRAINT entries_of_trades_are_whole CHECK (
        num_nonnulls(
            trade_id, price_ticks, quantity_lots, quote_units, taker_is_buyer, maker_order_id, maker_fee_units,
            maker_fee_asset, taker_order_id, taker_fee_units, taker_fee_asset
        ) = CASE WHEN kind = 'trade_executed' AND counter_account IS NOT NULL THEN 11 ELSE 0 END
        AND (kind <> 'trade_executed' OR trade_id IS NOT NULL)
    )
);

INSERT INTO ledger.entries (
    seq, epoch, occurred_at_us, account, counter_account, available, hold, counter_available, counter_hold, fees,
    other_available, other_hold, other_counter_available, other_counter_hold, other_fees,
    trade_id, price_ticks, quantity_lots, quote_units, maker_order_id, maker_fee_units, taker_order_id, taker_fee_units,
    index, kind, taker_is_buyer, shard, symbol, asset, other_asset, maker_fee_asset, taker_fee_asset, correlation_id
)
SELECT
    e.seq, e.epoch, e.occurred_at_us, w.account, w.counter_account, s.available, s.hold, s.counter_available,
    s.counter_hold, s.fees, s.other_available, s.other_hold, s.other_counter_available, s.other_counter_hold,
    s.other_fees, e.trade_id, e.price_ticks, e.quantity_lots, e.quote_units, e.maker_order_id, e.maker_fee_units,
    e.taker_order_id, e.taker_fee_units, e.index, e.kind, e.taker_is_buyer, e.shard, e.symbol, w.asset, w.other_asset,
    e.maker_fee_asset, e.taker_fee_asset, e.correlation_id
FROM ledger.entries_before AS e
CROSS JOIN LATERAL (
    SELECT
        coalesce(e.taker_account, min(account)) AS account,
        coalesce(e.maker_account, nullif(max(account), min(account))) AS counter_account
    FROM unnest(e.leg_accounts) AS l (account) WHERE account <> 1
) AS a
CROSS JOIN LATERAL (
    SELECT a.account, a.counter_account, min(asset COLLATE "C") AS asset,
        nullif(max(asset COLLATE "C"), min(asset COLLATE "C")) AS other_asset
    FROM unnest(e.leg_assets) AS l (asset)
) AS w
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(l.available) FILTER (WHERE l.asset = w.asset AND l.account = w.account), 0) AS available,
        coalesce(sum(l.hold) FILTER (WHERE l.asset = w.asset AND l.account = w.account), 0) AS hold,
        coalesce(sum(l.available) FILTER (WHERE l.asset = w.asset AND l.is_counter), 0) AS counter_available,
        coalesce(sum(l.hold) FILTER (WHERE l.asset = w.asset AND l.is_counter), 0) AS counter_hold,
        coalesce(sum(l.available) FILTER (WHERE l.asset = w.asset AND l.account = 1), 0) AS fees,
        CASE WHEN w.other_asset IS NOT NULL THEN
            coalesce(sum(l.available) FILTER (WHERE l.asset = w.other_asset AND l.account = w.account), 0)
        END AS other_available,
        CASE WHEN w.other_asset IS NOT NULL THEN
            coalesce(sum(l.hold) FILTER (WHERE l.asset = w.other_asset AND l.account = w.account), 0)
        END AS other_hold,
        CASE WHEN w.other_asset IS NOT NULL THEN
            coalesce(sum(l.available) FILTER (WHERE l.asset = w.other_asset AND l.is_counter), 0)
        END AS other_counter_available,
        CASE WHEN w.other_asset IS NOT NULL THEN
            coalesce(sum(l.hold) FILTER (WHERE l.asset = w.other_asset AND l.is_counter), 0)
        END AS other_counter_hold,
        CASE WHEN w.other_asset IS NOT NULL THEN
            coalesce(sum(l.available) FILTER (WHERE l.asset = w.other_asset AND l.account = 1), 0)
        END AS other_fees
    FROM (
        SELECT *, account = w.counter_account AND account <> w.account AS is_counter
        FROM unnest(e.leg_accounts, e.leg_assets, e.leg_available, e.leg_hold) AS u (account, asset, available, hold)
    ) AS l
) AS s;

-- The trades as people read them.
CREATE VIEW ledger.trades AS
SELECT
    shard, symbol, trade_id, seq, index, to_timestamp(occurred_at_us / 1e6) AS occurred_at, occurred_at_us,
    price_ticks, quantity_lots, quote_units, taker_is_buyer,
    counter_account AS maker_account, maker_order_id, maker_fee_units, maker_fee_asset,
    account AS taker_account, taker_order_id, taker_fee_units, taker_fee_asset
FROM ledger.entries
WHERE kind = 'trade_executed';

-- The legs as people, and sums, read them. What moves nothing is left out.
CREATE VIEW ledger.legs AS
SELECT e.shard, e.seq, e.index, e.kind, e.symbol, e.correlation_id, l.account, l.asset, l.available, l.hold
FROM ledger.entries AS e
CROSS JOIN LATERAL (
    VALUES
        (e.account, e.asset, e.available, e.hold),
        (e.counter_account, e.asset, e.counter_available, e.counter_hold),
        (1, e.asset, e.fees, 0),
        (e.account, e.other_asset, e.other_available, e.other_hold),
        (e.counter_account, e.other_asset, e.other_counter_available, e.other_counter_hold),
        (1, e.other_asset, e.other_fees, 0)
) AS l (account, asset, available, hold)
WHERE l.available <> 0 OR l.hold <> 0;

DO $$
BEGIN
    IF EXISTS (
        SELECT FROM (
            SELECT shard, seq, index, account, asset, available, hold FROM ledger.legs
            UNION ALL
            SELECT e.shard, e.seq, e.index, l.account, l.asset, -l.available, -l.hold
            FROM ledger.entries_before AS e
            CROSS JOIN LATERAL unnest(e.leg_accounts, e.leg_assets, e.leg_available, e.leg_hold)
                AS l (account, asset, available, hold)
        ) AS new_and_old
        GROUP BY shard, seq, index, account, asset
        HAVING sum(available) <> 0 OR sum(hold) <> 0
    ) THEN
        RAISE EXCEPTION 'an entry has legs of more accounts or assets than this release knows: nothing was changed';
    END IF;
END
$$;
DROP TABLE ledger.entries_before;
DROP FUNCTION ledger.is_balanced;

-- A trade's id is given once. A symbol's trades have ids in the order of their seqs, so that a trade id leads to a seq,
-- and everything else is found by account, symbol and seq; trades and the rest each by themselves, for there are
-- accounts with a thousand orders for each trade.
CREATE UNIQUE INDEX entries_trade_ids ON ledger.entries (symbol, trade_id, shard) WHERE kind = 'trade_executed';
CREATE INDEX entries_by_taker ON ledger.entries (account, symbol, seq) WHERE kind = 'trade_executed';
CREATE INDEX entries_by_maker ON ledger.entries (counter_account, symbol, seq) WHERE kind = 'trade_executed';
CREATE INDEX entries_by_account ON ledger.entries (account, symbol, seq) WHERE kind <> 'trade_executed';
CREATE INDEX entries_by_counter_account ON ledger.entries (counter_account, symbol, seq)
    WHERE kind <> 'trade_executed' AND counter_account IS NOT NULL;

ALTER TABLE ledger.transfers ADD FOREIGN KEY (shard, posted_seq, posted_index)
    REFERENCES ledger.entries (shard, seq, index) DEFERRABLE INITIALLY DEFERRED;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.entries ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT ON ledger.trades, ledger.legs TO openbourse_ledger;
GRANT SELECT, INSERT ON ledger.entries TO openbourse_ledger;

-- Settled batches: one row for each settlement that moved its shard's seq, whose head is a hash over the head before
-- it, the row, and the very bytes that it wrote. The first start of this release begins the chain of a shard that was
-- settled before, with a row over all that is there.

-- The event that defined it; 0 when that was before the chain.
ALTER TABLE ledger.assets ADD COLUMN seq bigint NOT NULL DEFAULT 0 CHECK (seq >= 0);

ALTER TABLE ledger.watermarks
    ADD COLUMN batch bigint NOT NULL DEFAULT 0 CHECK (batch >= 0),
    ADD COLUMN head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(head) = 32);

-- Each covers the seqs after the one before it, through last_seq.
CREATE TABLE ledger.batches (
    batch bigint NOT NULL CHECK (batch > 0),
    session_epoch bigint NOT NULL CHECK (session_epoch >= 0),
    first_seq bigint NOT NULL CHECK (first_seq > 0),
    last_seq bigint NOT NULL,
    entries bigint NOT NULL,
    settled_at_us bigint NOT NULL,
    shard text NOT NULL REFERENCES ledger.watermarks (shard),
    content bytea NOT NULL CHECK (octet_length(content) = 32),
    head bytea NOT NULL CHECK (octet_length(head) = 32),
    PRIMARY KEY (shard, batch),
    CHECK (last_seq >= first_seq)
);

-- The same bytes as openbourse.ledger.chain.head.
CREATE FUNCTION ledger.head_of(previous bytea, batch ledger.batches) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(
        convert_to('openbourse.ledger.head.v1', 'UTF8') || previous
        || int2send(octet_length(batch.shard)::smallint) || convert_to(batch.shard, 'UTF8')
        || int8send(batch.batch) || int8send(batch.session_epoch)
        || int8send(batch.first_seq) || int8send(batch.last_seq)
        || int8send(batch.entries) || int8send(batch.settled_at_us)
        || batch.content
    )
$$;

CREATE FUNCTION ledger.batch_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mark ledger.watermarks;
    first bigint;
    found bigint;
BEGIN
    SELECT * INTO mark FROM ledger.watermarks WHERE shard = NEW.shard FOR UPDATE;
    -- The first row of a shard that was settled before it had a chain covers all of that.
    first := CASE mark.batch WHEN 0 THEN 1 ELSE mark.seq + 1 END;
    IF mark.shard IS NULL OR NEW.batch <> mark.batch + 1 OR NEW.first_seq <> first
        OR (mark.batch = 0 AND mark.seq > 0 AND NEW.last_seq <> mark.seq) THEN
        RAISE EXCEPTION 'batch % of shard % over seq % to % does not follow batch %, which ends at seq %',
            NEW.batch, NEW.shard, NEW.first_seq, NEW.last_seq, mark.batch, mark.seq USING ERRCODE = 'OB005';
    END IF;
    IF NEW.head <> ledger.head_of(mark.head, NEW) THEN
        RAISE EXCEPTION 'batch % of shard %: its head is not the hash over the head before it and this row',
            NEW.batch, NEW.shard USING ERRCODE = 'OB005';
    END IF;
    SELECT count(*) INTO found FROM ledger.entries
    WHERE shard = NEW.shard AND seq BETWEEN NEW.first_seq AND NEW.last_seq;
    IF NEW.entries <> found THEN
        RAISE EXCEPTION 'batch % of shard % has % entries, but seq % to % have %',
            NEW.batch, NEW.shard, NEW.entries, NEW.first_seq, NEW.last_seq, found USING ERRCODE = 'OB005';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION ledger.batch_moves_watermark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT batch FROM ledger.watermarks WHERE shard = NEW.shard) < NEW.batch THEN
        RAISE EXCEPTION 'batch % of shard % without its watermark', NEW.batch, NEW.shard USING ERRCODE = 'OB005';
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION ledger.watermark_only_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.seq <> 0 OR NEW.batch <> 0 OR NEW.head <> decode(repeat('00', 32), 'hex') THEN
            RAISE EXCEPTION 'the watermark of shard % begins at 0', NEW.shard USING ERRCODE = 'OB002';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.shard <> OLD.shard OR NEW.seq < OLD.seq OR NEW.trades < OLD.trades THEN
        RAISE EXCEPTION 'watermark of shard % only moves forward: it is at %', OLD.shard, OLD.seq
            USING ERRCODE = 'OB002';
    END IF;
    IF NEW.session_epoch < OLD.session_epoch THEN
        RAISE EXCEPTION 'shard % was settled from epoch %, not again from epoch %',
            OLD.shard, OLD.session_epoch, NEW.session_epoch USING ERRCODE = 'OB003';
    END IF;
    IF NEW.batch = OLD.batch THEN
        -- A shard that was settled before there was a chain has none until its first start.
        IF NEW.head <> OLD.head OR (NEW.seq > OLD.seq AND (OLD.batch > 0 OR OLD.seq = 0)) THEN
            RAISE EXCEPTION 'the watermark of shard % moves with a batch only', OLD.shard USING ERRCODE = 'OB005';
        END IF;
    ELSIF NOT EXISTS (
        SELECT FROM ledger.batches AS b
        WHERE b.shard = NEW.shard AND b.batch = NEW.batch AND b.batch = OLD.batch + 1
            AND (b.last_seq, b.session_epoch, b.head) = (NEW.seq, NEW.session_epoch, NEW.head)
    ) THEN
        RAISE EXCEPTION 'shard % has no batch % that ends at seq % with this epoch and head',
            NEW.shard, NEW.batch, NEW.seq USING ERRCODE = 'OB005';
    END IF;
    RETURN NEW;
END
$$;

DROP TRIGGER watermark_only_forward ON ledger.watermarks;
CREATE TRIGGER watermark_only_forward BEFORE INSERT OR UPDATE ON ledger.watermarks
    FOR EACH ROW EXECUTE FUNCTION ledger.watermark_only_forward();
ALTER TABLE ledger.watermarks ENABLE ALWAYS TRIGGER watermark_only_forward;
CREATE TRIGGER batch_follows BEFORE INSERT ON ledger.batches
    FOR EACH ROW EXECUTE FUNCTION ledger.batch_follows();
ALTER TABLE ledger.batches ENABLE ALWAYS TRIGGER batch_follows;
CREATE CONSTRAINT TRIGGER batch_moves_watermark AFTER INSERT ON ledger.batches
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.batch_moves_watermark();
ALTER TABLE ledger.batches ENABLE ALWAYS TRIGGER batch_moves_watermark;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.batches
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.batches ENABLE ALWAYS TRIGGER append_only;

-- What was settled gets no more rows: the chain covers it.
CREATE FUNCTION ledger.rows_are_new() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    settled record;
BEGIN
    SELECT a.shard, a.seq, w.seq AS through INTO settled
    FROM (SELECT shard, min(seq) AS seq FROM added GROUP BY shard) AS a
    LEFT JOIN ledger.watermarks AS w ON w.shard = a.shard
    WHERE w.shard IS NULL OR a.seq <= w.seq
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a row of ledger.% at seq % of shard %, which is settled through %',
            TG_TABLE_NAME, settled.seq, settled.shard, settled.through USING ERRCODE = 'OB005';
    END IF;
    RETURN NULL;
END
$$;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['entries', 'assets', 'symbols', 'checkpoints'] LOOP
        EXECUTE format(
            'CREATE TRIGGER rows_are_new AFTER INSERT ON ledger.%I REFERENCING NEW TABLE AS added '
            'FOR EACH STATEMENT EXECUTE FUNCTION ledger.rows_are_new()', name);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER rows_are_new', name);
    END LOOP;
END
$$;

-- Nor is a transfer posted by what was settled before.
CREATE FUNCTION ledger.transfer_is_posted_now() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.posted_seq <= (SELECT seq FROM ledger.watermarks WHERE shard = NEW.shard) THEN
        RAISE EXCEPTION 'transfer % is not posted by seq %, which was settled before it',
            NEW.transfer_id, NEW.posted_seq USING ERRCODE = 'OB005';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER transfer_is_posted_now BEFORE UPDATE ON ledger.transfers
    FOR EACH ROW WHEN (NEW.posted_seq IS NOT NULL) EXECUTE FUNCTION ledger.transfer_is_posted_now();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER transfer_is_posted_now;

GRANT SELECT, INSERT ON ledger.batches TO openbourse_ledger;
GRANT UPDATE (batch, head) ON ledger.watermarks TO openbourse_ledger;
