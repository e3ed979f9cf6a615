-- What an export holds beside the sections of the chain (chain.sql), each as a binary COPY.

-- name: keys
SELECT note FROM seal.keys ORDER BY generation

-- name: checkpoints
SELECT note FROM seal.checkpoints ORDER BY number

-- name: leaves
SELECT leaf, shard, batch FROM seal.leaves ORDER BY leaf

-- name: balances
SELECT b.shard, b.account, b.asset, b.available, b.hold
FROM ledger.balances AS b JOIN ledger.watermarks AS w USING (shard) WHERE w.batch > 0
ORDER BY b.shard COLLATE "C", b.account, b.asset COLLATE "C"

-- name: manual
-- All but the head are, in this order, what the head is a hash over (ledger.manual_head_of).
SELECT
    d.number, d.seq, d.shard, e.entry_id, e.kind, e.reverses, e.asset, e.from_account, e.to_account, e.amount, e.reason,
    e.requested_by, e.requested_at_us, d.decision, d.decided_by, d.decided_at_us, d.head
FROM ledger.manual_decisions AS d JOIN ledger.manual_entries AS e USING (entry_id)
WHERE d.shard = $1 ORDER BY d.number

-- name: batches
SELECT batch, session_epoch, first_seq, last_seq, entries, settled_at_us, shard, content, head
FROM ledger.batches WHERE shard = $1 ORDER BY batch
