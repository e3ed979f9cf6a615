-- What the sealer reads and appends, and what is read for proofs.

-- name: keys
SELECT generation, note FROM seal.keys ORDER BY generation

-- name: append_key
INSERT INTO seal.keys (generation, first_checkpoint, note) VALUES ($1, $2, $3)

-- name: last_checkpoint
SELECT number, size, note, edge FROM seal.checkpoints ORDER BY number DESC LIMIT 1

-- name: checkpoint
SELECT number, size, note, edge FROM seal.checkpoints WHERE number = $1

-- name: checkpoint_of_size
SELECT number, size, note, edge FROM seal.checkpoints WHERE size = $1

-- name: checkpoint_after
-- The first one that holds a leaf.
SELECT number, size, note, edge FROM seal.checkpoints WHERE size > $1 ORDER BY size LIMIT 1

-- name: checkpoints_from
SELECT number, note FROM seal.checkpoints WHERE number >= $1 ORDER BY number LIMIT $2

-- name: shards
SELECT shard FROM ledger.watermarks WHERE batch > 0 ORDER BY shard COLLATE "C"

-- name: batches_from
SELECT shard, batch, session_epoch, first_seq, last_seq, entries, settled_at_us, content, head
FROM ledger.batches WHERE shard = $1 AND batch >= $2 ORDER BY batch

-- name: leaf_of
SELECT leaf, hash FROM seal.leaves WHERE shard = $1 AND batch = $2

-- name: sealed_batch
SELECT l.leaf, b.head FROM seal.leaves AS l JOIN ledger.batches AS b USING (shard, batch)
WHERE l.shard = $1 AND l.batch = $2

-- name: leaves_between
SELECT hash FROM seal.leaves WHERE leaf >= $1 AND leaf < $2 ORDER BY leaf

-- name: totals
-- All that the balances of the shards in the tree hold, by whose it is, less what manual entries moved: the leaves are
-- of what the engine sequenced.
SELECT
    shard, asset,
    coalesce(sum(available) FILTER (WHERE account >= 1000), 0)::text AS available,
    coalesce(sum(hold) FILTER (WHERE account >= 1000), 0)::text AS hold,
    coalesce(sum(available + hold::numeric) FILTER (WHERE account = 1), 0)::text AS fees,
    coalesce(sum(available + hold::numeric) FILTER (WHERE account = 2), 0)::text AS external
FROM (
    SELECT shard, account, asset, available, hold FROM ledger.balances
    UNION ALL
    SELECT shard, account, asset, -available, 0 FROM ledger.manual_legs
) AS moved WHERE shard = ANY($1::text[])
GROUP BY shard, asset ORDER BY shard COLLATE "C", asset COLLATE "C"

-- name: manual_from
-- Decisions from a number on, and each one's head made anew from the one before; of the first only if it is number 1.
SELECT
    d.number, d.head,
    ledger.manual_head_of(
        coalesce(lag(d.head) OVER (ORDER BY d.number), decode(repeat('00', 32), 'hex')), e, d
    ) AS made
FROM ledger.manual_decisions AS d JOIN ledger.manual_entries AS e USING (entry_id)
WHERE d.shard = $1 AND d.number >= $2 ORDER BY d.number

-- name: append_checkpoint
INSERT INTO seal.checkpoints (number, size, note, edge) VALUES ($1, $2, $3, $4)

-- name: append_cosignature
INSERT INTO seal.cosignatures (number, witness, line) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: cosignatures
SELECT witness, line FROM seal.cosignatures WHERE number = $1 ORDER BY witness

-- name: cosigned_size
-- The largest tree that a witness has countersigned; NULL: none.
SELECT max(c.size) FROM seal.cosignatures AS s JOIN seal.checkpoints AS c USING (number) WHERE s.witness = $1
