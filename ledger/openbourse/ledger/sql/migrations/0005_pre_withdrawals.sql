-- Withdrawals: the second direction of a transfer. And in both directions the entry that posts a transfer is the one
-- that was asked for, and there is no entry of funds that come or go without its transfer.
--
-- The code before this release goes on: what it records are deposits, and a transfer and its entry were written in one
-- transaction always.

ALTER TYPE ledger.entry_kind ADD VALUE 'funds_debited';

CREATE TYPE ledger.transfer_direction AS ENUM ('deposit', 'withdrawal');
ALTER TABLE ledger.transfers ADD COLUMN direction ledger.transfer_direction NOT NULL DEFAULT 'deposit';
CREATE UNIQUE INDEX transfers_by_entry ON ledger.transfers (shard, posted_seq, posted_index) WHERE state = 'posted';

CREATE OR REPLACE FUNCTION ledger.transfer_only_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- Into the trader's account.
    moved bigint := CASE NEW.direction WHEN 'deposit' THEN NEW.amount ELSE -NEW.amount END;
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
    IF (NEW.transfer_id, NEW.shard, NEW.direction, NEW.account, NEW.asset, NEW.amount, NEW.requested_by, NEW.created_at)
        IS DISTINCT FROM
        (OLD.transfer_id, OLD.shard, OLD.direction, OLD.account, OLD.asset, OLD.amount, OLD.requested_by, OLD.created_at)
    THEN
        RAISE EXCEPTION 'transfer %: what was asked for never changes', OLD.transfer_id USING ERRCODE = 'OB004';
    END IF;
    IF NEW.state = 'posted' AND NOT EXISTS (
        SELECT FROM ledger.entries AS e
        WHERE e.shard = NEW.shard AND e.seq = NEW.posted_seq AND e.index = NEW.posted_index
            AND e.kind::text = CASE NEW.direction WHEN 'deposit' THEN 'funds_credited' ELSE 'funds_debited' END
            AND e.account = 2 AND e.counter_account = NEW.account AND e.asset = NEW.asset
            AND (e.available, e.hold, e.counter_available, e.counter_hold, e.fees) = (-moved, 0, moved, 0, 0)
            AND e.other_asset IS NULL
    ) THEN
        RAISE EXCEPTION 'transfer %: the entry at seq % index % is not this %',
            NEW.transfer_id, NEW.posted_seq, NEW.posted_index, NEW.direction USING ERRCODE = 'OB004';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION ledger.funds_move_by_transfer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM ledger.transfers
        WHERE shard = NEW.shard AND posted_seq = NEW.seq AND posted_index = NEW.index AND state = 'posted'
    ) THEN
        RAISE EXCEPTION 'seq % index % of shard %: % without a transfer that asked for it',
            NEW.seq, NEW.index, NEW.shard, NEW.kind USING ERRCODE = 'OB004';
    END IF;
    RETURN NULL;
END
$$;

-- As text: a value that is new to an enum cannot be used in the transaction that adds it. Trades are passed over first.
CREATE CONSTRAINT TRIGGER funds_move_by_transfer AFTER INSERT ON ledger.entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.trade_id IS NULL AND NEW.kind::text IN ('funds_credited', 'funds_debited'))
    EXECUTE FUNCTION ledger.funds_move_by_transfer();
ALTER TABLE ledger.entries ENABLE ALWAYS TRIGGER funds_move_by_transfer;

GRANT INSERT (direction) ON ledger.transfers TO openbourse_ledger;
