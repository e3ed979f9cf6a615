-- A symbol moves between shards: one row a move, which goes from state to state, and the record of the symbol while it is
-- on its way (docs/decisions/2026-11-29-symbols-between-shards.md).
--
-- The code before this release goes on: no symbol moves while it runs.

ALTER TYPE ledger.entry_kind ADD VALUE 'order_departed';
ALTER TYPE ledger.entry_kind ADD VALUE 'order_returned';
ALTER TYPE ledger.entry_kind ADD VALUE 'order_arrived';

CREATE TYPE ledger.symbol_move_state AS ENUM (
    'requested', 'willing', 'frozen', 'imported', 'completed', 'abandoned', 'undone'
);

CREATE TABLE ledger.symbol_moves (
    move_id uuid PRIMARY KEY,
    symbol text NOT NULL CHECK (symbol <> ''),
    from_shard text NOT NULL REFERENCES ledger.watermarks (shard),
    to_shard text NOT NULL REFERENCES ledger.watermarks (shard),
    state ledger.symbol_move_state NOT NULL DEFAULT 'requested',
    reason text NOT NULL DEFAULT '',
    undo_asked boolean NOT NULL DEFAULT false,
    record_sha256 bytea CHECK (length(record_sha256) = 32),
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT symbol_moves_are_between_two_shards CHECK (from_shard <> to_shard),
    CONSTRAINT symbol_moves_say_why_they_were_given_up CHECK ((state IN ('abandoned', 'undone')) = (reason <> '')),
    CONSTRAINT symbol_moves_have_what_is_imported CHECK (
        state NOT IN ('frozen', 'imported', 'completed') OR record_sha256 IS NOT NULL
    )
);
-- One at a time for a symbol, so that nobody asks two shards for it.
CREATE UNIQUE INDEX symbol_moves_pending ON ledger.symbol_moves (symbol) WHERE state NOT IN ('completed', 'undone');
CREATE INDEX symbol_moves_by_time ON ledger.symbol_moves (created_at);

CREATE TABLE ledger.symbol_move_parts (
    move_id uuid NOT NULL REFERENCES ledger.symbol_moves (move_id),
    number integer NOT NULL CHECK (number >= 0),
    record bytea NOT NULL,
    PRIMARY KEY (move_id, number)
);

-- What its orders held when it was frozen.
CREATE TABLE ledger.symbol_move_funds (
    move_id uuid NOT NULL REFERENCES ledger.symbol_moves (move_id),
    asset text NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0),
    PRIMARY KEY (move_id, asset)
);

-- What is on its way between two shards is in account 2 of neither: taken off, as that of other moves is.
CREATE OR REPLACE VIEW ledger.outside AS
SELECT b.asset, b.external, coalesce(t.amount, 0) AS in_transit, b.external - coalesce(t.amount, 0) AS world
FROM (
    SELECT asset, sum(available::numeric + hold) AS external FROM ledger.balances WHERE account = 2 GROUP BY asset
) AS b
LEFT JOIN (
    SELECT asset, sum(amount) AS amount FROM (
        SELECT asset, amount FROM ledger.moves_now WHERE state = 'pending' AND in_transit
        UNION ALL
        SELECT f.asset, f.amount FROM ledger.symbol_move_funds AS f JOIN ledger.symbol_moves AS m USING (move_id)
        WHERE m.state IN ('frozen', 'abandoned')
    ) AS moving GROUP BY asset
) AS t USING (asset);

CREATE FUNCTION ledger.symbol_move_only_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'requested' THEN
            RAISE EXCEPTION 'a move of a symbol begins as requested, not %', NEW.state USING ERRCODE = 'OB008';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.move_id, NEW.symbol, NEW.from_shard, NEW.to_shard, NEW.requested_by, NEW.created_at)
        IS DISTINCT FROM (OLD.move_id, OLD.symbol, OLD.from_shard, OLD.to_shard, OLD.requested_by, OLD.created_at) THEN
        RAISE EXCEPTION 'move %: what was asked for never changes', OLD.move_id USING ERRCODE = 'OB008';
    END IF;
    IF NEW.state <> OLD.state THEN
        IF (OLD.state::text, NEW.state::text) NOT IN (
            ('requested', 'willing'), ('requested', 'abandoned'), ('willing', 'frozen'), ('willing', 'abandoned'),
            ('frozen', 'imported'), ('frozen', 'abandoned'), ('imported', 'completed'), ('abandoned', 'undone')
        ) THEN
            RAISE EXCEPTION 'move % is %: it never becomes %', OLD.move_id, OLD.state, NEW.state USING ERRCODE = 'OB008';
        END IF;
        NEW.changed_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER symbol_move_only_forward BEFORE INSERT OR UPDATE ON ledger.symbol_moves
    FOR EACH ROW EXECUTE FUNCTION ledger.symbol_move_only_forward();
ALTER TABLE ledger.symbol_moves ENABLE ALWAYS TRIGGER symbol_move_only_forward;
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON ledger.symbol_moves
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.symbol_moves ENABLE ALWAYS TRIGGER never_removed;

GRANT SELECT ON ledger.symbol_moves, ledger.symbol_move_parts, ledger.symbol_move_funds
    TO openbourse_ledger, openbourse_coordinator;
GRANT INSERT (move_id, symbol, from_shard, to_shard, requested_by),
    UPDATE (state, reason, undo_asked, record_sha256) ON ledger.symbol_moves TO openbourse_coordinator;
GRANT INSERT ON ledger.symbol_move_parts, ledger.symbol_move_funds TO openbourse_coordinator;
