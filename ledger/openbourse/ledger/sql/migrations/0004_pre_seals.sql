-- What is sealed: which batch is which leaf of the tree, the signed checkpoints, the keys that signed them, and who
-- countersigned. All of it only grows.

CREATE SCHEMA seal;

-- The role that seals: it reads how far the shards are and what is in the balances, and appends to the seal.
DO $$
BEGIN
    CREATE ROLE openbourse_sealer LOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- Announcements of keys, as signed notes.
CREATE TABLE seal.keys (
    generation integer PRIMARY KEY CHECK (generation > 0),
    first_checkpoint bigint NOT NULL CHECK (first_checkpoint > 0),
    note text NOT NULL CHECK (note <> '')
);

-- Leaf n of the tree, from 0, is this batch; `hash` is the hash of the leaf.
CREATE TABLE seal.leaves (
    leaf bigint PRIMARY KEY CHECK (leaf >= 0),
    batch bigint NOT NULL,
    shard text NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    UNIQUE (shard, batch),
    FOREIGN KEY (shard, batch) REFERENCES ledger.batches (shard, batch)
);

-- Signed notes. `edge` is the tree's right edge, so that the next leaves need no leaf before them.
CREATE TABLE seal.checkpoints (
    number bigint PRIMARY KEY CHECK (number > 0),
    size bigint NOT NULL UNIQUE CHECK (size > 0),
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text NOT NULL CHECK (note <> ''),
    edge bytea[] NOT NULL
);

-- A witness's signature below a checkpoint.
CREATE TABLE seal.cosignatures (
    number bigint NOT NULL REFERENCES seal.checkpoints (number),
    witness text NOT NULL CHECK (witness <> ''),
    line text NOT NULL CHECK (line <> ''),
    PRIMARY KEY (number, witness)
);

CREATE FUNCTION seal.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of seal.% refused: it is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'OB001';
END
$$;

CREATE FUNCTION seal.leaves_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT max(leaf) + 1 - count(*) FROM added) <> coalesce(
        (SELECT max(leaf) + 1 FROM seal.leaves WHERE leaf < (SELECT min(leaf) FROM added)), 0) THEN
        RAISE EXCEPTION 'leaves that do not follow the last one' USING ERRCODE = 'OB006';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION seal.checkpoint_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last seal.checkpoints;
BEGIN
    SELECT * INTO last FROM seal.checkpoints ORDER BY number DESC LIMIT 1;
    IF NEW.number <> coalesce(last.number, 0) + 1 OR NEW.size <= coalesce(last.size, 0)
        OR NEW.size <> (SELECT max(leaf) + 1 FROM seal.leaves) OR cardinality(NEW.edge) <> bit_count(int8send(NEW.size))
    THEN
        RAISE EXCEPTION 'checkpoint % of % leaves does not follow checkpoint % of % leaves',
            NEW.number, NEW.size, last.number, last.size USING ERRCODE = 'OB006';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION seal.key_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last seal.keys;
BEGIN
    SELECT * INTO last FROM seal.keys ORDER BY generation DESC LIMIT 1;
    IF NEW.generation <> coalesce(last.generation, 0) + 1
        OR NEW.first_checkpoint < coalesce(last.first_checkpoint, 1) THEN
        RAISE EXCEPTION 'key % from checkpoint % on does not follow key % from checkpoint % on',
            NEW.generation, NEW.first_checkpoint, last.generation, last.first_checkpoint USING ERRCODE = 'OB006';
    END IF;
    RETURN NEW;
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keys', 'leaves', 'checkpoints', 'cosignatures'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seal.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION seal.refuse_change()', name);
        EXECUTE format('ALTER TABLE seal.%I ENABLE ALWAYS TRIGGER append_only', name);
    END LOOP;
END
$$;

CREATE TRIGGER follows AFTER INSERT ON seal.leaves REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION seal.leaves_follow();
ALTER TABLE seal.leaves ENABLE ALWAYS TRIGGER follows;
CREATE TRIGGER follows BEFORE INSERT ON seal.checkpoints FOR EACH ROW EXECUTE FUNCTION seal.checkpoint_follows();
ALTER TABLE seal.checkpoints ENABLE ALWAYS TRIGGER follows;
CREATE TRIGGER follows BEFORE INSERT ON seal.keys FOR EACH ROW EXECUTE FUNCTION seal.key_follows();
ALTER TABLE seal.keys ENABLE ALWAYS TRIGGER follows;

REVOKE ALL ON SCHEMA seal FROM PUBLIC;
GRANT USAGE ON SCHEMA seal TO openbourse_sealer, openbourse_ledger;
GRANT SELECT ON ALL TABLES IN SCHEMA seal TO openbourse_sealer, openbourse_ledger;
GRANT INSERT ON seal.leaves, seal.keys, seal.cosignatures TO openbourse_sealer;
GRANT INSERT (number, size, note, edge) ON seal.checkpoints TO openbourse_sealer;
GRANT USAGE ON SCHEMA ledger TO openbourse_sealer;
GRANT SELECT ON ledger.batches, ledger.balances, ledger.watermarks TO openbourse_sealer;
GRANT SELECT ON public.openbourse_ledger_migrations TO openbourse_sealer;
