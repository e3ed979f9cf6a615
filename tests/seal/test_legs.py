"""The fast sums against a plain reading of the same rows: any layouts in any order, amounts to the ends of 64 bits."""

import struct
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbourse.contracts.units import INT64_MAX
from openbourse.ledger import copy_rows
from openbourse.ledger.chain import COPY_HEADER, COPY_TRAILER
from openbourse.ledger.rows import Entry, Legs, Trade
from openbourse.ledger.seal import copies
from openbourse.ledger.seal.copies import Malformed, Tuples
from openbourse.ledger.seal.legs import Sums

AMOUNTS = st.one_of(st.integers(-INT64_MAX - 1, INT64_MAX), st.integers(-5, 5), st.just(0))
ACCOUNTS = st.one_of(st.integers(2, 3), st.integers(1000, 1010), st.just(INT64_MAX))
TRADE = Trade(1, 2, 3, 4, True, 5, 6, "BTC", 7, 8, "USDT")


@st.composite
def legs(draw: st.DrawFn, asset: str, has_counter: bool) -> Legs:
    """Of which about a half is balanced."""
    available, hold = draw(AMOUNTS), draw(AMOUNTS)
    counter_available, counter_hold = (draw(AMOUNTS), draw(AMOUNTS)) if has_counter else (0, 0)
    fees, rest = draw(AMOUNTS), -(available + hold + counter_available + counter_hold)
    if draw(st.booleans()) and abs(rest) <= INT64_MAX:
        fees = rest
    return Legs(asset, available, hold, counter_available, counter_hold, fees)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    """Rows in order."""
    found: list[Entry] = []
    seq, index = 0, 0
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            seq, index = seq + draw(st.integers(1, 3)), 0
        else:
            seq, index = max(seq, 1), index + 1
        kind = draw(st.sampled_from(["order_accepted", "trade_executed"]))
        counter = draw(st.one_of(st.none(), ACCOUNTS))
        found.append(
            Entry(
                seq, index, 1, kind, draw(st.sampled_from(["", "BTCUSDT", "X"])), 1, draw(st.text(max_size=3)),
                draw(ACCOUNTS), counter, draw(legs(draw(st.sampled_from(["BTC", "é"])), counter is not None)),
                draw(st.one_of(st.none(), legs("USDT", counter is not None))),
                TRADE if kind == "trade_executed" else None,
            )
        )  # fmt: skip
    return found


def moves(row: Entry) -> list[tuple[int, str, int, int]]:
    """(account, asset, side, amount): what a row says, word for word."""
    found = []
    for part in (row.legs, row.other_legs):
        if part is not None:
            asset, available, hold, counter_available, counter_hold, fees = part
            found += [(row.account, asset, 0, available), (row.account, asset, 1, hold), (1, asset, 0, fees)]
            if row.counter_account is not None:
                counter = row.counter_account
                found += [(counter, asset, 0, counter_available), (counter, asset, 1, counter_hold)]
    return found


def write(folder: Path, tuples: bytes) -> Path:
    path = folder / "entries.copy"
    path.write_bytes(COPY_HEADER + tuples + COPY_TRAILER)
    return path


def summed(path: Path, last_seqs: list[int], shard: str = "main") -> tuple[Sums, list[int]]:
    """In batches that end with these seqs."""
    sums, counts = Sums(shard), []
    with Tuples(path) as tuples:
        for last in last_seqs:
            count = 0
            while tuples.more():
                taken = sums.take(tuples, last)
                count += taken
                if tuples.at >= tuples.limit:
                    sums.flush(tuples)
                if not taken:
                    break
            counts.append(count)
        sums.flush(tuples)
    return sums, counts


@given(rows=entries(), cut=st.integers(0, 30))
def test_sums_are_exact_and_each_row_that_does_not_balance_is_named(rows: list[Entry], cut: int) -> None:
    made: Counter[tuple[int, str, int]] = Counter()
    unbalanced = set()
    for row in rows:
        nets: Counter[str] = Counter()
        for account, asset, side, amount in moves(row):
            made[account, asset, side] += amount
            nets[asset] += amount
        for asset, net in nets.items():
            if net:
                unbalanced.add((row.seq, row.event_index, f"its legs of {asset} sum to {net} and not to zero"))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), copy_rows.entries("main", rows))
        sums, counts = summed(path, [cut, 10**9])
    assert counts == [sum(row.seq <= cut for row in rows), sum(row.seq > cut for row in rows)]
    assert {(wrong.seq, wrong.index, wrong.what) for wrong in sums.wrong} == unbalanced
    expected: dict[tuple[int, str], tuple[int, int]] = {}
    for account, asset, _ in made:
        amounts = (made[account, asset, 0], made[account, asset, 1])
        if any(amounts):
            expected[account, asset] = amounts
    assert sums.balances() == expected
    for total in sums.totals():
        of = {key: amount for key, amount in made.items() if key[1] == total.asset}
        assert total.fees == sum(amount for (account, _, _), amount in of.items() if account == 1)
        assert total.external == sum(amount for (account, _, _), amount in of.items() if account == 2)
        assert total.hold == sum(amount for (account, _, side), amount in of.items() if account > 2 and side)
        assert total.sum == sum(of.values())


def row(seq: int, index: int = 0, correlation_id: str = "c") -> Entry:
    held = Legs("BTC", -5, 5, 0, 0, 0)
    return Entry(seq, index, 1, "order_accepted", "BTCUSDT", 1, correlation_id, 1000, None, held, None, None)


def test_money_of_an_account_that_is_not_named_is_wrong(tmp_path: Path) -> None:
    forged = row(1)._replace(legs=Legs("BTC", -5, 0, 5, 0, 0))
    sums, _ = summed(write(tmp_path, copy_rows.entries("main", [forged])), [10])
    assert [wrong.what for wrong in sums.wrong] == ["BTC of an account that it does not name"]


def test_rows_that_do_not_come_in_order_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, copy_rows.entries("main", [row(1), row(3), row(2), row(2), row(2, 1), row(4)]))
    sums, counts = summed(path, [10])
    assert counts == [6]
    assert [(wrong.seq, wrong.index) for wrong in sums.wrong] == [(2, 0), (2, 0)]


def test_a_row_of_another_shard_is_no_entry_of_this_one(tmp_path: Path) -> None:
    path = write(tmp_path, copy_rows.entries("other", [row(1)]) + copy_rows.entries("main", [row(2)]))
    sums, counts = summed(path, [10])
    assert counts == [2]
    assert [(wrong.seq, wrong.what) for wrong in sums.wrong] == [(1, "a row that is no entry: it is of shard 'other'")]


def test_a_row_that_looks_like_another_in_what_tells_layouts_apart_is_compared_with_all_of_it(tmp_path: Path) -> None:
    good = copy_rows.entries("main", [row(1)])
    # The lengths of two fields that nothing else shows: together they are as long as before.
    at = 2 + 12
    assert struct.unpack_from(">i", good, at) == (8,)
    forged = good[:at] + struct.pack(">i", 7) + good[at + 4 :]
    forged = forged[:6] + (2).to_bytes(8, "big") + forged[14:]
    sums, counts = summed(write(tmp_path, good + forged), [10])
    assert counts == [2]
    assert [(wrong.seq, wrong.what) for wrong in sums.wrong] == [
        (2, "a row that is no entry: its fields have other lengths")
    ]
    assert sums.balances() == {(1000, "BTC"): (-5, 5)}


def test_a_file_is_read_in_pieces_as_if_it_were_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = [row(seq, correlation_id="x" * (seq % 7)) for seq in range(1, 200)]
    path = write(tmp_path, copy_rows.entries("main", written))
    whole, _ = summed(path, [50, 1000])
    monkeypatch.setattr(copies, "TUPLE_BYTES_MOST", 400)
    for chunk in range(401, 2000, 111):
        monkeypatch.setattr(copies, "CHUNK_BYTES", chunk)
        pieces, counts = summed(path, [50, 1000])
        assert counts == [50, 149] and pieces.balances() == whole.balances() and not pieces.wrong


@pytest.mark.parametrize("cut", [1, 2, 3, 20, 100])
def test_a_file_that_was_cut_is_no_copy(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, copy_rows.entries("main", [row(1), row(2)]))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(Malformed, match=r"entries\.copy, byte"):
        summed(path, [10])
