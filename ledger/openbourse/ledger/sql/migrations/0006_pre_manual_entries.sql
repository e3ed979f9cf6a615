-- Manual entries: a person proposes to move an amount between two of the shard's own accounts, another person posts or
-- rejects it. Both rows only grow, and the decisions of a shard are chained. A row that says posted has moved the
-- balances: the database does it, in the statement that adds the row (docs/decisions/2026-11-28-manual-entries.md).
--
-- The code before this release goes on: it knows nothing of these accounts.

-- Account 3 is suspense, 4 adjustment. Both may run below zero, as the outside (2) does.
ALTER TABLE ledger.balances DROP CONSTRAINT balances_of_known_accounts;
ALTER TABLE ledger.balances ADD CONSTRAINT balances_of_known_accounts
    CHECK (account IN (1, 2, 3, 4) OR account >= 1000);
ALTER TABLE ledger.balances DROP CONSTRAINT balances_are_not_negative;
ALTER TABLE ledger.balances ADD CONSTRAINT balances_are_not_negative
    CHECK (hold >= 0 AND (available >= 0 OR account IN (2, 3, 4)));

CREATE FUNCTION ledger.now_us() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- What was asked for.
CREATE TABLE ledger.manual_entries (
    entry_id uuid PRIMARY KEY,
    from_account bigint NOT NULL,
    to_account bigint NOT NULL,
    amount bigint NOT NULL CONSTRAINT manual_entries_move_something CHECK (amount > 0),
    requested_at_us bigint NOT NULL,
    reverses uuid REFERENCES ledger.manual_entries (entry_id),
    shard text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('adjustment', 'reversal')),
    asset text NOT NULL,
    reason text NOT NULL CONSTRAINT manual_entries_have_a_reason CHECK (reason ~ '\S'),
    requested_by text NOT NULL CHECK (requested_by ~ '\S'),
    FOREIGN KEY (shard, asset) REFERENCES ledger.assets (shard, asset),
    -- A trader's balance moves by what the engine sequenced, and by nothing else.
    CONSTRAINT manual_entries_are_between_house_accounts CHECK (
        from_account IN (1, 2, 3, 4) AND to_account IN (1, 2, 3, 4) AND from_account <> to_account
    ),
    CONSTRAINT reversals_say_what_they_reverse CHECK ((kind = 'reversal') = (reverses IS NOT NULL))
);
CREATE INDEX manual_entries_by_time ON ledger.manual_entries (shard, requested_at_us);

-- What became of it. `number` counts a shard's decisions, `seq` is how far the shard was settled then.
CREATE TABLE ledger.manual_decisions (
    entry_id uuid PRIMARY KEY REFERENCES ledger.manual_entries (entry_id),
    number bigint NOT NULL CHECK (number > 0),
    seq bigint NOT NULL,
    decided_at_us bigint NOT NULL,
    reverses uuid,
    shard text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('posted', 'rejected')),
    decided_by text NOT NULL CHECK (decided_by ~ '\S'),
    head bytea NOT NULL CHECK (octet_length(head) = 32),
    UNIQUE (shard, number)
);
-- An entry is reversed once; of proposals to do so there may be several.
CREATE UNIQUE INDEX manual_decisions_reverse_once ON ledger.manual_decisions (reverses) WHERE decision = 'posted';

-- What posted manual entries move.
CREATE VIEW ledger.manual_legs AS
SELECT d.shard, d.number, d.seq, d.entry_id, e.kind, d.decided_at_us, l.account, e.asset, l.available
FROM ledger.manual_decisions AS d
JOIN ledger.manual_entries AS e USING (entry_id)
CROSS JOIN LATERAL (VALUES (e.from_account, -e.amount), (e.to_account, e.amount)) AS l (account, available)
WHERE d.decision = 'posted';

-- A field as a binary COPY has it, so that an export holds the very bytes of a head.
CREATE FUNCTION ledger.copy_field(field bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(int4send(octet_length(field)) || field, int4send(-1))
$$;

CREATE FUNCTION ledger.manual_head_of(
    previous bytea, entry ledger.manual_entries, decided ledger.manual_decisions
) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(
        convert_to('openbourse.ledger.manual.v1', 'UTF8') || previous
        || ledger.copy_field(int8send(decided.number)) || ledger.copy_field(int8send(decided.seq))
        || ledger.copy_field(convert_to(decided.shard, 'UTF8')) || ledger.copy_field(uuid_send(entry.entry_id))
        || ledger.copy_field(convert_to(entry.kind, 'UTF8')) || ledger.copy_field(uuid_send(entry.reverses))
        || ledger.copy_field(convert_to(entry.asset, 'UTF8'))
        || ledger.copy_field(int8send(entry.from_account)) || ledger.copy_field(int8send(entry.to_account))
        || ledger.copy_field(int8send(entry.amount)) || ledger.copy_field(convert_to(entry.reason, 'UTF8'))
        || ledger.copy_field(convert_to(entry.requested_by, 'UTF8'))
        || ledger.copy_field(int8send(entry.requested_at_us))
        || ledger.copy_field(convert_to(decided.decision, 'UTF8'))
        || ledger.copy_field(convert_to(decided.decided_by, 'UTF8'))
        || ledger.copy_field(int8send(decided.decided_at_us))
    )
$$;

CREATE FUNCTION ledger.manual_entry_is_sound() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    reversed ledger.manual_entries;
BEGIN
    NEW.requested_at_us := ledger.now_us();
    IF NEW.reverses IS NULL THEN
        RETURN NEW;
    END IF;
    SELECT e.* INTO reversed FROM ledger.manual_entries AS e JOIN ledger.manual_decisions AS d USING (entry_id)
    WHERE e.entry_id = NEW.reverses AND d.decision = 'posted';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'manual entry % reverses %, which is not posted', NEW.entry_id, NEW.reverses
            USING ERRCODE = 'OB007';
    END IF;
    IF reversed.kind = 'reversal' THEN
        RAISE EXCEPTION 'manual entry % reverses %, which is a reversal itself', NEW.entry_id, NEW.reverses
            USING ERRCODE = 'OB007';
    END IF;
    IF (NEW.shard, NEW.asset, NEW.from_account, NEW.to_account, NEW.amount) IS DISTINCT FROM
        (reversed.shard, reversed.asset, reversed.to_account, reversed.from_account, reversed.amount) THEN
        RAISE EXCEPTION 'manual entry % does not move back exactly what % moved', NEW.entry_id, NEW.reverses
            USING ERRCODE = 'OB007';
    END IF;
    RETURN NEW;
END
$$;

-- All but the id, the decision and who takes it is filled in here, whatever was given.
CREATE FUNCTION ledger.manual_decision_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entry ledger.manual_entries;
    last ledger.manual_decisions;
BEGIN
    SELECT * INTO entry FROM ledger.manual_entries WHERE entry_id = NEW.entry_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'manual entry % was never proposed', NEW.entry_id USING ERRCODE = 'OB007';
    END IF;
    IF NEW.decided_by = entry.requested_by THEN
        RAISE EXCEPTION 'manual entry % was proposed by %: another person decides', NEW.entry_id, NEW.decided_by
            USING ERRCODE = 'OB007';
    END IF;
    -- As a settlement does: one at a time, and none while a settlement writes.
    SELECT seq INTO NEW.seq FROM ledger.watermarks WHERE shard = entry.shard FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'shard % was never settled', entry.shard USING ERRCODE = 'OB007';
    END IF;
    IF NEW.decision = 'posted' AND EXISTS (
        SELECT FROM ledger.manual_decisions
        WHERE reverses = entry.reverses AND decision = 'posted' AND entry_id <> NEW.entry_id
    ) THEN
        RAISE EXCEPTION 'manual entry % is reversed already', entry.reverses USING ERRCODE = 'OB007';
    END IF;
    SELECT * INTO last FROM ledger.manual_decisions WHERE shard = entry.shard ORDER BY number DESC LIMIT 1;
    NEW.shard := entry.shard;
    NEW.reverses := entry.reverses;
    NEW.number := coalesce(last.number, 0) + 1;
    NEW.decided_at_us := ledger.now_us();
    NEW.head := ledger.manual_head_of(coalesce(last.head, decode(repeat('00', 32), 'hex')), entry, NEW);
    RETURN NEW;
END
$$;

CREATE FUNCTION ledger.manual_decision_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    leg record;
BEGIN
    -- The watermark is locked: nobody else adds a row.
    FOR leg IN SELECT * FROM ledger.manual_legs WHERE entry_id = NEW.entry_id ORDER BY account LOOP
        UPDATE ledger.balances SET available = available + leg.available
        WHERE shard = leg.shard AND account = leg.account AND asset = leg.asset;
        IF NOT FOUND THEN
            INSERT INTO ledger.balances (account, available, hold, shard, asset)
            VALUES (leg.account, leg.available, 0, leg.shard, leg.asset);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- Nothing but manual entries moves suspense and adjustment, so their balances are the sums of those at any time.
CREATE FUNCTION ledger.balance_is_of_manual_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moved numeric;
BEGIN
    SELECT coalesce(sum(available), 0) INTO moved FROM ledger.manual_legs
    WHERE shard = NEW.shard AND account = NEW.account AND asset = NEW.asset;
    IF (NEW.available, NEW.hold) <> (moved, 0) THEN
        RAISE EXCEPTION 'account % of shard %, %: % and % on hold, but its manual entries make %',
            NEW.account, NEW.shard, NEW.asset, NEW.available, NEW.hold, moved USING ERRCODE = 'OB007';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER manual_entry_is_sound BEFORE INSERT ON ledger.manual_entries
    FOR EACH ROW EXECUTE FUNCTION ledger.manual_entry_is_sound();
ALTER TABLE ledger.manual_entries ENABLE ALWAYS TRIGGER manual_entry_is_sound;
CREATE TRIGGER manual_decision_follows BEFORE INSERT ON ledger.manual_decisions
    FOR EACH ROW EXECUTE FUNCTION ledger.manual_decision_follows();
ALTER TABLE ledger.manual_decisions ENABLE ALWAYS TRIGGER manual_decision_follows;
CREATE TRIGGER manual_decision_moves AFTER INSERT ON ledger.manual_decisions
    FOR EACH ROW WHEN (NEW.decision = 'posted') EXECUTE FUNCTION ledger.manual_decision_moves();
ALTER TABLE ledger.manual_decisions ENABLE ALWAYS TRIGGER manual_decision_moves;
CREATE TRIGGER balance_is_of_manual_entries AFTER INSERT OR UPDATE ON ledger.balances
    FOR EACH ROW WHEN (NEW.account IN (3, 4)) EXECUTE FUNCTION ledger.balance_is_of_manual_entries();
ALTER TABLE ledger.balances ENABLE ALWAYS TRIGGER balance_is_of_manual_entries;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['manual_entries', 'manual_decisions'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', name);
        EXECUTE format('ALTER TABLE ledger.%I ENABLE ALWAYS TRIGGER append_only', name);
    END LOOP;
END
$$;

GRANT SELECT ON ledger.manual_entries, ledger.manual_decisions, ledger.manual_legs
    TO openbourse_ledger, openbourse_sealer;
GRANT INSERT (entry_id, shard, kind, reverses, asset, from_account, to_account, amount, reason, requested_by)
    ON ledger.manual_entries TO openbourse_ledger;
GRANT INSERT (entry_id, decision, decided_by) ON ledger.manual_decisions TO openbourse_ledger;
