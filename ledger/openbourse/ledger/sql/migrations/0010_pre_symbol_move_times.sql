-- How long a symbol was in neither shard, as the engines' own events say it: of the freeze and of the import.
--
-- The code before this release writes neither, and a move that it carried out says no pause.

ALTER TABLE ledger.symbol_moves
    ADD COLUMN frozen_at_us bigint CHECK (frozen_at_us > 0),
    ADD COLUMN imported_at_us bigint CHECK (imported_at_us > 0);

GRANT UPDATE (frozen_at_us, imported_at_us) ON ledger.symbol_moves TO openbourse_coordinator;
