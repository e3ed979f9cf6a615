-- Who speaks for people is not who settles: the API's connections act as a role that reads, asks for transfers, moves and
-- manual entries and decides them, and writes no entry, no balance and no batch. Whoever logs in as openbourse_ledger
-- takes the one role or the other, and has of the second only what it took.
--
-- The code before this release goes on: openbourse_ledger keeps what it has.

DO $$
BEGIN
    CREATE ROLE openbourse_coordinator NOLOGIN;
EXCEPTION
    -- Roles belong to the whole server: another database on it may have made this one, just now or long ago.
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
GRANT openbourse_coordinator TO openbourse_ledger;

GRANT USAGE ON SCHEMA ledger, seal TO openbourse_coordinator;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO openbourse_coordinator;
GRANT INSERT (transfer_id, shard, direction, account, asset, amount, requested_by, move_id, leg),
    UPDATE (state, reason, decided_at) ON ledger.transfers TO openbourse_coordinator;
GRANT INSERT (move_id, account, amount, from_shard, to_shard, asset, requested_by),
    UPDATE (state, reason, decided_at) ON ledger.moves TO openbourse_coordinator;
GRANT INSERT (entry_id, shard, kind, reverses, asset, from_account, to_account, amount, reason, requested_by)
    ON ledger.manual_entries TO openbourse_coordinator;
GRANT INSERT (entry_id, decision, decided_by) ON ledger.manual_decisions TO openbourse_coordinator;
-- To lock it: a lock that is written waits for the standby.
GRANT UPDATE (moved_at) ON ledger.watermarks TO openbourse_coordinator;

-- What a posted manual entry moves is the database's doing and nobody's right.
ALTER FUNCTION ledger.manual_decision_moves() SECURITY DEFINER SET search_path = pg_catalog, ledger;
