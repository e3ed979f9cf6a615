"""Which seqs batches cover: every gap, overlap and foreign row is named with the first bad seq."""

import asyncpg
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.streams import SHARD, deliveries, record_transfers
from openbourse.ledger import coverage, store
from openbourse.ledger.books import open_books
from openbourse.ledger.coverage import NOTHING, Covered, Covering, End, Finding, Kind
from openbourse.ledger.reconciling import cover

GOOD = [Covering(1, 1, 3, 0, 0), Covering(2, 4, 4, 1, 1), Covering(3, 5, 9, 4, 4)]


def found(batches: list[Covering], end: End) -> tuple[Kind, int] | None:
    """In every way to cut the batches into two parts: the finding is the same."""
    results = set()
    for cut in range(len(batches) + 1):
        covered = coverage.extend(NOTHING, batches[:cut])
        if isinstance(covered, Covered):
            covered = coverage.extend(covered, batches[cut:])
        finding = covered if isinstance(covered, Finding) else coverage.ends(covered, end)
        results.add(None if finding is None else (finding.kind, finding.seq))
    (result,) = results
    return result


def test_batches_without_a_gap_cover_everything() -> None:
    assert found(GOOD, End(3, 9, None)) is None
    assert found([], End(0, 0, None)) is None


@pytest.mark.parametrize(
    ("batches", "end", "expected"),
    [
        pytest.param(GOOD[1:], End(3, 9, None), (Kind.GAP, 1), id="the first batch is missing"),
        pytest.param([GOOD[0], GOOD[2]], End(3, 9, None), (Kind.GAP, 4), id="one between is missing"),
        pytest.param(GOOD[:2], End(3, 9, None), (Kind.GAP, 5), id="the last is missing"),
        pytest.param([], End(0, 9, None), (Kind.GAP, 1), id="all are missing"),
        pytest.param([GOOD[0], GOOD[1]._replace(first_seq=5, last_seq=5)], End(2, 5, None), (Kind.GAP, 4), id="a hole"),
        pytest.param([GOOD[0], GOOD[1]._replace(first_seq=3)], End(2, 4, None), (Kind.DUPLICATE, 3), id="an overlap"),
        pytest.param([GOOD[0], GOOD[1]._replace(first_seq=1)], End(2, 4, None), (Kind.DUPLICATE, 1), id="all again"),
        pytest.param([GOOD[0], GOOD[1]._replace(batch=3)], End(3, 4, None), (Kind.GAP, 4), id="a number is left out"),
        pytest.param([GOOD[0], GOOD[1]._replace(found=2)], End(2, 4, None), (Kind.FOREIGN, 4), id="an entry too many"),
        pytest.param([GOOD[0], GOOD[1]._replace(found=0)], End(2, 4, None), (Kind.GAP, 4), id="an entry is missing"),
        pytest.param(GOOD, End(3, 8, None), (Kind.FOREIGN, 9), id="batches beyond the watermark"),
        pytest.param(GOOD, End(3, 9, 12), (Kind.FOREIGN, 12), id="an entry beyond the watermark"),
    ],
)
def test_the_first_bad_seq_is_named(batches: list[Covering], end: End, expected: tuple[Kind, int]) -> None:
    assert found(batches, end) == expected


STREAM = deliveries("""
    asset USDT 2
    asset BTC 8
    symbol BTC USDT
    credit 1000 USDT 500
    credit 1001 BTC 50
    hold 1000 USDT 200
    nothing
    hold 1001 BTC 20
""")
FOREIGN = (
    "INSERT INTO ledger.entries (seq, index, epoch, occurred_at_us, account, available, hold, counter_available, "
    "counter_hold, fees, kind, shard, symbol, asset, correlation_id) "
    "VALUES ({}, 5, 1, 1, 1000, 0, 0, 0, 0, 0, 'order_accepted', 'main', 'BTCUSDT', 'USDT', '')"
)


@pytest.mark.server
async def test_what_was_done_to_the_tables_behind_the_guards_is_found(ledger_database: LedgerDatabase) -> None:
    connection, _ = await store.open_settlement(ledger_database.application, SHARD)
    await store.settle(connection, SHARD, STREAM[:3])
    await record_transfers(connection, STREAM)
    for delivery in STREAM[3:]:
        await store.settle(connection, SHARD, [delivery])
    await connection.close()
    async with open_books(ledger_database.application, SHARD) as books:
        assert await cover(books, NOTHING) == Covered(6, 8)
        owner = await asyncpg.connect(ledger_database.owner)
        for deed, expected in (
            ("DELETE FROM ledger.batches WHERE batch = 3", (Kind.GAP, 5)),
            ("DELETE FROM ledger.batches WHERE batch = 6", (Kind.GAP, 8)),
            ("UPDATE ledger.batches SET first_seq = 4 WHERE batch = 3", (Kind.DUPLICATE, 4)),
            ("DELETE FROM ledger.entries WHERE seq = 6", (Kind.GAP, 6)),
            (FOREIGN.format(7), (Kind.FOREIGN, 7)),
            (FOREIGN.format(20), (Kind.FOREIGN, 20)),
        ):
            # As only a superuser can. What another connection is to see has to be committed, so it is undone after.
            await owner.execute("SET session_replication_role = replica")
            for table in ("entries", "batches"):
                await owner.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER USER")
                await owner.execute(f"CREATE TABLE public.{table} AS TABLE ledger.{table}")
            await owner.execute(deed)
            finding = await cover(books, NOTHING)
            assert isinstance(finding, Finding)
            assert (finding.kind, finding.seq) == expected, (deed, finding)
            for table in ("entries", "batches"):
                await owner.execute(
                    f"DELETE FROM ledger.{table}; INSERT INTO ledger.{table} TABLE public.{table}; "
                    f"DROP TABLE public.{table}"
                )
            assert await cover(books, NOTHING) == Covered(6, 8)
        await owner.close()
