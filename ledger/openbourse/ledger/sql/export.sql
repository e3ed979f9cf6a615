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

-- name: batches
SELECT batch, session_epoch, first_seq, last_seq, entries, settled_at_us, shard, content, head
FROM ledger.batches WHERE shard = $1 ORDER BY batch
