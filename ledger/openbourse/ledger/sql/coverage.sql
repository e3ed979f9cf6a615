-- Which seqs the batches of a shard cover, and with how many entries (openbourse.ledger.coverage).

-- name: end_of_coverage
-- As of one moment: the watermark, and the first entry beyond it, which nobody can have settled.
SELECT w.batch, w.seq, (SELECT min(seq) FROM ledger.entries WHERE shard = $1 AND seq > w.seq) AS beyond
FROM ledger.watermarks AS w WHERE w.shard = $1

-- name: covering_batches
-- The next batches through $3, and how many entries there are in the seqs of each.
SELECT b.batch, b.first_seq, b.last_seq, b.entries, (
    SELECT count(*) FROM ledger.entries AS e WHERE e.shard = $1 AND e.seq BETWEEN b.first_seq AND b.last_seq
) AS found
FROM ledger.batches AS b WHERE b.shard = $1 AND b.batch > $2 AND b.batch <= $3 ORDER BY b.batch LIMIT $4
