-- Settled batches are chained: one row for each settlement that moved its shard's seq, whose head is a hash over the
-- head before it, the row, and the very bytes that it wrote (docs/decisions/2026-11-28-settled-batches-are-chained.md).
--
-- The code before this release still settles, but only shards that it settled before and whose chain has not begun:
-- the first start of the new code begins it, with a row over all that is there.

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
        -- Allowed to the code before the chain, until it begins.
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

GRANT SELECT, INSERT ON ledger.batches TO openbourse_ledger;
GRANT UPDATE (batch, head) ON ledger.watermarks TO openbourse_ledger;
