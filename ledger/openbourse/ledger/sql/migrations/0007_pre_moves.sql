-- Moves between shards: an amount leaves one shard's engine and enters another's, each leg a transfer of its shard. A move
-- names what was asked for and never changes but once, when it is decided; its legs come in order, each once, under an
-- id that follows from the move's (docs/decisions/2026-11-28-moves-between-shards.md).
--
-- The code before this release goes on: what it records are deposits and withdrawals, which are of no move.

CREATE TABLE ledger.moves (
    move_id uuid PRIMARY KEY,
    account bigint NOT NULL CONSTRAINT moves_are_of_traders CHECK (account >= 1000),
    amount bigint NOT NULL CONSTRAINT moves_move_something CHECK (amount > 0),
    from_shard text NOT NULL,
    to_shard text NOT NULL,
    asset text NOT NULL,
    state ledger.transfer_state NOT NULL DEFAULT 'pending',
    reason text NOT NULL DEFAULT '',
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    decided_at timestamptz,
    FOREIGN KEY (from_shard, asset) REFERENCES ledger.assets (shard, asset),
    FOREIGN KEY (to_shard, asset) REFERENCES ledger.assets (shard, asset),
    CONSTRAINT moves_are_between_two_shards CHECK (from_shard <> to_shard),
    CONSTRAINT moves_say_what_decided_them CHECK (
        CASE state
            WHEN 'pending' THEN decided_at IS NULL AND reason = ''
            WHEN 'posted' THEN decided_at IS NOT NULL AND reason = ''
            WHEN 'voided' THEN decided_at IS NOT NULL AND reason <> ''
        END
    )
);
CREATE INDEX moves_pending ON ledger.moves (created_at) WHERE state = 'pending';
CREATE INDEX moves_by_time ON ledger.moves (created_at);

-- The same bytes as openbourse.ledger.moves.leg_id.
CREATE FUNCTION ledger.leg_id(move_id uuid, leg text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT encode(
        substring(sha256(
            convert_to('openbourse.ledger.move.v1', 'UTF8') || uuid_send(move_id) || convert_to(leg, 'UTF8')
        ) FOR 16), 'hex'
    )::uuid
$$;

ALTER TABLE ledger.transfers
    ADD COLUMN move_id uuid REFERENCES ledger.moves (move_id),
    ADD COLUMN leg text CONSTRAINT transfers_are_legs CHECK (leg IN ('debit', 'credit', 'return')),
    ADD CONSTRAINT transfers_of_moves_have_their_ids CHECK (
        num_nonnulls(move_id, leg) = 0 OR (num_nonnulls(move_id, leg) = 2 AND transfer_id = ledger.leg_id(move_id, leg))
    );
CREATE UNIQUE INDEX transfers_by_move ON ledger.transfers (move_id, leg) WHERE move_id IS NOT NULL;

-- A move with its legs. `next_shard` does what comes next: nobody, while a leg waits for its engine's answer.
CREATE VIEW ledger.moves_now AS
SELECT
    m.move_id, m.account, m.asset, m.amount, m.from_shard, m.to_shard, m.state, m.reason, m.requested_by, m.created_at,
    m.decided_at,
    d.state AS debit_state, d.reason AS debit_reason, d.posted_seq AS debit_seq,
    c.state AS credit_state, c.reason AS credit_reason, c.posted_seq AS credit_seq,
    r.state AS return_state, r.reason AS return_reason, r.posted_seq AS return_seq,
    coalesce(d.state = 'posted', false)
        AND c.state IS DISTINCT FROM 'posted' AND r.state IS DISTINCT FROM 'posted' AS in_transit,
    CASE
        WHEN m.state <> 'pending' OR 'pending' IN (d.state, c.state, r.state) THEN NULL
        WHEN d.state = 'posted' AND c.state IS DISTINCT FROM 'voided' THEN m.to_shard
        ELSE m.from_shard
    END AS next_shard
FROM ledger.moves AS m
LEFT JOIN ledger.transfers AS d ON d.move_id = m.move_id AND d.leg = 'debit'
LEFT JOIN ledger.transfers AS c ON c.move_id = m.move_id AND c.leg = 'credit'
LEFT JOIN ledger.transfers AS r ON r.move_id = m.move_id AND r.leg = 'return';

-- What is outside of all shards. To a shard its account 2 is whatever is not in it, other shards among that: over all of
-- them it is the world, and what is on its way between two of them.
CREATE VIEW ledger.outside AS
SELECT b.asset, b.external, coalesce(t.amount, 0) AS in_transit, b.external - coalesce(t.amount, 0) AS world
FROM (
    SELECT asset, sum(available::numeric + hold) AS external FROM ledger.balances WHERE account = 2 GROUP BY asset
) AS b
LEFT JOIN (
    SELECT asset, sum(amount) AS amount FROM ledger.moves_now WHERE state = 'pending' AND in_transit GROUP BY asset
) AS t USING (asset);

-- A leg is what its move asks for, and comes when its turn has come: so a credit has its debit posted before it, and what
-- goes back was refused before it. What is posted or voided stays so: nothing is to be asked again later.
CREATE FUNCTION ledger.leg_has_its_turn() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    move ledger.moves_now;
BEGIN
    IF EXISTS (SELECT FROM ledger.transfers WHERE transfer_id = NEW.transfer_id) THEN
        -- For the key to refuse: a leg that comes again, whatever became of its move.
        RETURN NEW;
    END IF;
    SELECT * INTO move FROM ledger.moves_now WHERE move_id = NEW.move_id;
    IF move.move_id IS NULL OR move.state <> 'pending' THEN
        RAISE EXCEPTION 'move % is %: it gets no leg', NEW.move_id, coalesce(move.state::text, 'not there')
            USING ERRCODE = 'OB008';
    END IF;
    IF (NEW.account, NEW.asset, NEW.amount, NEW.shard, NEW.direction::text) IS DISTINCT FROM (
        move.account, move.asset, move.amount,
        CASE NEW.leg WHEN 'credit' THEN move.to_shard ELSE move.from_shard END,
        CASE NEW.leg WHEN 'debit' THEN 'withdrawal' ELSE 'deposit' END
    ) THEN
        RAISE EXCEPTION 'move %: its % is not what was asked for', NEW.move_id, NEW.leg USING ERRCODE = 'OB008';
    END IF;
    IF NEW.leg = 'credit' AND move.debit_state IS DISTINCT FROM 'posted' THEN
        RAISE EXCEPTION 'move %: no credit, its debit is %', NEW.move_id, coalesce(move.debit_state::text, 'not there')
            USING ERRCODE = 'OB008';
    END IF;
    IF NEW.leg = 'return' AND move.credit_state IS DISTINCT FROM 'voided' THEN
        RAISE EXCEPTION 'move %: nothing goes back, its credit is %',
            NEW.move_id, coalesce(move.credit_state::text, 'not there') USING ERRCODE = 'OB008';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION ledger.leg_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transfer %: which leg of which move it is never changes', OLD.transfer_id USING ERRCODE = 'OB008';
END
$$;

-- The money would be nobody's.
CREATE FUNCTION ledger.return_is_not_voided() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'move %: what goes back is never voided', NEW.move_id USING ERRCODE = 'OB008';
END
$$;

CREATE FUNCTION ledger.move_only_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_it_is ledger.moves_now;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' THEN
            RAISE EXCEPTION 'a move begins as pending, not %', NEW.state USING ERRCODE = 'OB008';
        END IF;
        -- One number of min-units is one amount only where the scale is one.
        IF (SELECT count(DISTINCT scale) FROM ledger.assets
            WHERE asset = NEW.asset AND shard IN (NEW.from_shard, NEW.to_shard)) > 1 THEN
            RAISE EXCEPTION 'move %: % has another scale in shard % than in shard %',
                NEW.move_id, NEW.asset, NEW.from_shard, NEW.to_shard USING ERRCODE = 'OB008';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state <> 'pending' OR NEW.state = 'pending' THEN
        RAISE EXCEPTION 'move % is %: it never becomes %', OLD.move_id, OLD.state, NEW.state USING ERRCODE = 'OB008';
    END IF;
    IF (
        NEW.move_id, NEW.account, NEW.asset, NEW.amount, NEW.from_shard, NEW.to_shard, NEW.requested_by, NEW.created_at
    ) IS DISTINCT FROM (
        OLD.move_id, OLD.account, OLD.asset, OLD.amount, OLD.from_shard, OLD.to_shard, OLD.requested_by, OLD.created_at
    ) THEN
        RAISE EXCEPTION 'move %: what was asked for never changes', OLD.move_id USING ERRCODE = 'OB008';
    END IF;
    SELECT * INTO now_it_is FROM ledger.moves_now WHERE move_id = NEW.move_id;
    IF NOT coalesce(
        CASE NEW.state
            WHEN 'posted' THEN now_it_is.credit_state = 'posted'
            ELSE now_it_is.debit_state = 'voided' OR now_it_is.return_state = 'posted'
        END, false
    ) THEN
        RAISE EXCEPTION 'move % is not % by its legs (debit %, credit %, return %)', NEW.move_id, NEW.state,
            now_it_is.debit_state, now_it_is.credit_state, now_it_is.return_state USING ERRCODE = 'OB008';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER leg_has_its_turn BEFORE INSERT ON ledger.transfers
    FOR EACH ROW WHEN (NEW.move_id IS NOT NULL) EXECUTE FUNCTION ledger.leg_has_its_turn();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER leg_has_its_turn;
CREATE TRIGGER leg_never_changes BEFORE UPDATE ON ledger.transfers
    FOR EACH ROW WHEN ((NEW.move_id, NEW.leg) IS DISTINCT FROM (OLD.move_id, OLD.leg))
    EXECUTE FUNCTION ledger.leg_never_changes();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER leg_never_changes;
CREATE TRIGGER return_is_not_voided BEFORE UPDATE ON ledger.transfers
    FOR EACH ROW WHEN (NEW.leg = 'return' AND NEW.state = 'voided') EXECUTE FUNCTION ledger.return_is_not_voided();
ALTER TABLE ledger.transfers ENABLE ALWAYS TRIGGER return_is_not_voided;
CREATE TRIGGER move_only_forward BEFORE INSERT OR UPDATE ON ledger.moves
    FOR EACH ROW EXECUTE FUNCTION ledger.move_only_forward();
ALTER TABLE ledger.moves ENABLE ALWAYS TRIGGER move_only_forward;
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON ledger.moves
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.moves ENABLE ALWAYS TRIGGER never_removed;

GRANT SELECT ON ledger.moves, ledger.moves_now, ledger.outside TO openbourse_ledger;
GRANT INSERT (move_id, account, amount, from_shard, to_shard, asset, requested_by),
    UPDATE (state, reason, decided_at) ON ledger.moves TO openbourse_ledger;
GRANT INSERT (move_id, leg) ON ledger.transfers TO openbourse_ledger;
