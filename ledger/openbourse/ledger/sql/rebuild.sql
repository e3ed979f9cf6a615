-- The balances again from nothing but the entries (openbourse.ledger.rebuild). The shadow is a temporary table: however
-- its session ends, nothing is left of it. A balance that one side does not know is zero there.

-- name: owner
SELECT relowner::regrole::text AS owner, current_user::text AS us, pg_has_role(relowner, 'USAGE') AS is_ours
FROM pg_class WHERE oid = 'ledger.balances'::regclass

-- name: shards
SELECT shard FROM ledger.watermarks ORDER BY shard COLLATE "C"

-- name: make_shadow
CREATE TEMPORARY TABLE shadow (
    account bigint NOT NULL,
    available bigint NOT NULL,
    hold bigint NOT NULL,
    asset text NOT NULL,
    PRIMARY KEY (account, asset)
)

-- name: settled_through
SELECT seq FROM ledger.watermarks WHERE shard = $1

-- name: lock_settled_through
SELECT seq FROM ledger.watermarks WHERE shard = $1 FOR UPDATE

-- name: next_entries
-- How many of the next entries there are, at most $4 and all of the last seq, and where they end.
WITH next AS (
    SELECT max(n.seq) AS seq FROM (
        SELECT seq FROM ledger.entries WHERE shard = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4
    ) AS n
)
SELECT next.seq, count(*) FROM next JOIN ledger.entries AS e ON e.shard = $1 AND e.seq > $2 AND e.seq <= next.seq
GROUP BY next.seq

-- name: add_entries
INSERT INTO pg_temp.shadow AS s (account, asset, available, hold)
SELECT account, asset, sum(available)::bigint, sum(hold)::bigint
FROM ledger.legs WHERE shard = $1 AND seq > $2 AND seq <= $3 GROUP BY account, asset
ON CONFLICT (account, asset) DO UPDATE SET available = s.available + excluded.available, hold = s.hold + excluded.hold

-- name: add_manual_entries
-- Those posted after one. The number of the last there is; NULL: none.
WITH added AS (
    INSERT INTO pg_temp.shadow AS s (account, asset, available, hold)
    SELECT account, asset, sum(available)::bigint, 0
    FROM ledger.manual_legs WHERE shard = $1 AND number > $2 GROUP BY account, asset
    ON CONFLICT (account, asset) DO UPDATE SET available = s.available + excluded.available
)
SELECT max(number) FROM ledger.manual_legs WHERE shard = $1

-- name: analyze_shadow
ANALYZE pg_temp.shadow

-- name: count_shadow
SELECT count(*) FROM pg_temp.shadow

-- name: first_differences
-- And with each how many there are.
SELECT
    account, asset, coalesce(kept.available, 0) AS kept_available, coalesce(kept.hold, 0) AS kept_hold,
    coalesce(made.available, 0) AS made_available, coalesce(made.hold, 0) AS made_hold, count(*) OVER () AS differences
FROM (SELECT account, asset, available, hold FROM ledger.balances WHERE shard = $1) AS kept
FULL JOIN pg_temp.shadow AS made USING (account, asset)
WHERE (coalesce(kept.available, 0), coalesce(kept.hold, 0)) <> (coalesce(made.available, 0), coalesce(made.hold, 0))
ORDER BY account, asset COLLATE "C" LIMIT $2

-- name: correct_balances
UPDATE ledger.balances AS b SET available = made.available, hold = made.hold
FROM pg_temp.shadow AS made
WHERE b.shard = $1 AND b.account = made.account AND b.asset = made.asset
    AND (b.available, b.hold) <> (made.available, made.hold)

-- name: restore_balances
-- Rows that are missing.
INSERT INTO ledger.balances (shard, account, asset, available, hold)
SELECT $1, made.account, made.asset, made.available, made.hold FROM pg_temp.shadow AS made
WHERE (made.available, made.hold) <> (0, 0) AND NOT EXISTS (
    SELECT FROM ledger.balances AS b WHERE b.shard = $1 AND b.account = made.account AND b.asset = made.asset
)

-- name: empty_balances
-- Rows that no entry explains. They stay, with nothing: a balance is never removed.
UPDATE ledger.balances AS b SET available = 0, hold = 0
WHERE b.shard = $1 AND (b.available, b.hold) <> (0, 0) AND NOT EXISTS (
    SELECT FROM pg_temp.shadow AS made WHERE made.account = b.account AND made.asset = b.asset
)
