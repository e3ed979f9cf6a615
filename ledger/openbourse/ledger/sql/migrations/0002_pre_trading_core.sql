-- What the second version of the kernel moves beyond the first: an amendment gives back a part of a hold, so does a
-- prevented match, and a match that was prevented by a transfer moves money between two accounts without a trade.
ALTER TYPE ledger.entry_kind ADD VALUE 'order_amended';
ALTER TYPE ledger.entry_kind ADD VALUE 'match_prevented';
ALTER TYPE ledger.entry_kind ADD VALUE 'match_transferred';
