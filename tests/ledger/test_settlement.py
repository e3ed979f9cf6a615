"""The pure batcher: however the stream is cut and repeated, the books are the same; what cannot be true is refused."""

from collections.abc import Iterator

import pytest

from fixtures.streams import SHARD, deliveries, joined, trade, transfer_id
from openbourse.contracts import v1
from openbourse.contracts.units import INT64_MAX
from openbourse.ledger import settlement
from openbourse.ledger.errors import Diverged, StaleSession
from openbourse.ledger.reading import Delivery
from openbourse.ledger.rows import AssetRow, Legs, Rows
from openbourse.ledger.settlement import Batch, Watermark, contradiction

STREAM = deliveries("""
    asset USDT 2
    credit 1000 USDT 500
    hold 1000 USDT 200
    nothing
    trade 1001 sells 20 BTC for 200 USDT to 1000, fees 2 1
    checkpoint abcd
""")

Balances = dict[tuple[int, str], tuple[int, int]]


def settle(shard: str, watermark: Watermark, parts: list[v1.Events]) -> Batch:
    return settlement.settle(shard, watermark, [Delivery(part) for part in parts])


class Books:
    """What a store that does what batches say holds, kept in memory: the meaning of a Batch in ten lines."""

    def __init__(self) -> None:
        self.watermark = Watermark(0, 0)
        self.rows = Rows()
        self.balances: Balances = {}

    def settle(self, parts: list[v1.Events]) -> None:
        batch = settle(SHARD, self.watermark, parts)
        if batch.replayed_range is not None:
            first, last = batch.replayed_range
            assert contradiction(batch.replayed, _between(self.rows, first, last)) is None
        for name in ("entries", "symbols", "checkpoints", "postings", "voidings"):
            getattr(self.rows, name).extend(getattr(batch.new, name))
        self.rows.assets.update(batch.new.assets)
        for account, asset, available, hold in batch.deltas:
            before = self.balances.get((account, asset), (0, 0))
            self.balances[account, asset] = (before[0] + available, before[1] + hold)
        self.watermark = batch.watermark


def _between(rows: Rows, first: int, last: int) -> Rows:
    return Rows(
        entries=[row for row in rows.entries if first <= row.seq <= last],
        symbols=[row for row in rows.symbols if first <= row.seq <= last],
        checkpoints=[row for row in rows.checkpoints if first <= row.seq <= last],
        assets=rows.assets,
    )


def _partitions(items: list[v1.Events]) -> Iterator[list[list[v1.Events]]]:
    """Every way to cut a list into runs."""
    for cuts in range(1 << (len(items) - 1)):
        runs, run = [], [items[0]]
        for at, item in enumerate(items[1:]):
            if cuts >> at & 1:
                runs.append(run)
                run = []
            run.append(item)
        yield [*runs, run]


def test_every_cut_into_batches_with_every_repetition_gives_the_same_books() -> None:
    whole = Books()
    whole.settle(STREAM)
    assert whole.watermark == Watermark(1, 6)
    worlds = 0
    for partition in _partitions(STREAM):
        for repeat_after in range(len(partition) + 1):
            for repeat_from in range(len(STREAM)):
                books = Books()
                for batch in partition[:repeat_after]:
                    books.settle(batch)
                # The stream comes again from `repeat_from` (as after a lost connection), up to where it was and on.
                settled = sum(map(len, partition[:repeat_after]))
                if repeat_from < settled:
                    books.settle(STREAM[repeat_from:settled])
                    books.settle([joined(STREAM[repeat_from : settled + 1])])
                    settled = min(settled + 1, len(STREAM))
                if settled < len(STREAM):
                    books.settle(STREAM[settled:])
                assert (books.rows, books.balances, books.watermark) == (whole.rows, whole.balances, whole.watermark)
                worlds += 1
    assert worlds > 500


CASES = """
    a deposit comes from outside
        credit 1000 USDT 500
    ->  2 USDT -500 0, 1000 USDT 500 0

    a withdrawal goes back outside
        credit 1000 USDT 500
        debit 1000 USDT 200
    ->  2 USDT -300 0, 1000 USDT 300 0

    a withdrawal that is refused moves nothing
        refuse 1000 USDT 200
    ->

    a hold moves nothing out of the account
        hold 1000 USDT 200
    ->  1000 USDT -200 200

    a hold that is released leaves no change at all
        hold 1000 USDT 200
        release 1000 USDT 200
    ->

    what expires is available again
        hold 1000 USDT 200
        expire 1000 USDT 50
    ->  1000 USDT -150 150

    what an amendment takes off an order is available again
        hold 1000 USDT 200
        amend 1000 USDT 50
    ->  1000 USDT -150 150

    a match that is prevented gives both holds back
        hold 1000 USDT 200
        hold 1001 BTC 20
        prevent 1000 USDT 50 and 1001 BTC 5
    ->  1000 USDT -150 150, 1001 BTC -15 15

    a match that is prevented by a transfer moves money without a fee
        transfer 1001 20 BTC for 200 USDT to 1000
    ->  1000 BTC 20 0, 1000 USDT 0 -200, 1001 BTC 0 -20, 1001 USDT 200 0

    both sides of a trade pay their fee from what they receive
        trade 1001 sells 20 BTC for 200 USDT to 1000, fees 2 1
    ->  1 BTC 1 0, 1 USDT 2 0, 1000 BTC 19 0, 1000 USDT 0 -200, 1001 BTC 0 -20, 1001 USDT 198 0

    a maker that buys pays in base
        trade 1001 buys 20 BTC for 200 USDT to 1000, fees 2 1
    ->  1 BTC 2 0, 1 USDT 1 0, 1000 BTC 0 -20, 1000 USDT 199 0, 1001 BTC 18 0, 1001 USDT 0 -200

    one account on both sides
        trade 1000 sells 20 BTC for 200 USDT to 1000, fees 0 0
    ->  1000 BTC 20 -20, 1000 USDT 200 -200

    a deposit that is spent in the same batch
        credit 1000 USDT 200
        hold 1000 USDT 200
        trade 1001 sells 20 BTC for 200 USDT to 1000, fees 0 0
    ->  2 USDT -200 0, 1000 BTC 20 0, 1001 BTC 0 -20, 1001 USDT 200 0
"""


def _cases(text: str) -> list[pytest.param]:  # type: ignore[valid-type]
    cases = []
    for block in text.strip().split("\n\n"):
        name, *lines = [line.strip() for line in block.strip().splitlines()]
        cases.append(pytest.param("\n".join(lines[:-1]), lines[-1].removeprefix("->").strip(), id=name))
    return cases


@pytest.mark.parametrize(("events", "balances"), _cases(CASES))
def test_net_changes_are(events: str, balances: str) -> None:
    batch = settle(SHARD, Watermark(0, 0), deliveries(events))
    assert ", ".join(f"{d.account} {d.asset} {d.available} {d.hold}" for d in batch.deltas) == balances


def test_a_transfer_is_an_entry_of_its_own_kind_and_no_trade() -> None:
    batch = _settle("prevent 1000 USDT 50 and 1001 BTC 5\ntransfer 1001 20 BTC for 200 USDT to 1000")
    assert [(entry.kind, entry.trade) for entry in batch.new.entries] == [
        ("match_prevented", None),
        ("match_transferred", None),
    ]
    assert batch.trades == 0


def test_a_refused_withdrawal_is_voided_with_the_words_of_the_engine() -> None:
    (voiding,) = _settle("refuse 1000 USDT 200").new.voidings
    assert voiding == (transfer_id(1), 1000, "USDT", 200, 1, "INSUFFICIENT_FUNDS: too little")


def test_an_event_that_moves_nothing_is_no_entry() -> None:
    for kind in ("auction_indicated", "version_changed", "safety_level_changed", "kill_switch_set", "order_rejected"):
        assert _settle(f"legs {kind}").new == Rows()


def test_an_event_of_a_newer_contract_stops_settlement() -> None:
    parts = deliveries("nothing")
    parts[0].events.append(v1.Event(shard=SHARD, seq=1, event_id="main/1/0"))
    with pytest.raises(Diverged, match="an event that this ledger does not know; upgrade it"):
        settle(SHARD, Watermark(0, 0), parts)


def _settle(text: str, *, at: int = 0, epoch: int = 0, first_seq: int = 1, session_epoch: int = 1) -> Batch:
    return settle(SHARD, Watermark(epoch, at), deliveries(text, first_seq=first_seq, session_epoch=session_epoch))


def test_a_stream_that_jumps_forward_is_a_gap() -> None:
    with pytest.raises(Diverged, match="settled through seq 4, but the stream goes on at 6"):
        _settle("nothing", at=4, first_seq=6)


def test_a_gap_between_deliveries_is_found() -> None:
    parts = deliveries("nothing\nnothing\nnothing")
    with pytest.raises(Diverged, match="expected seq 2, got 3 to 3"):
        settle(SHARD, Watermark(0, 0), [parts[0], parts[2]])


def test_a_session_of_an_older_epoch_is_refused() -> None:
    with pytest.raises(StaleSession):
        _settle("nothing", epoch=3, session_epoch=2)


def test_an_old_record_sent_by_a_newer_leader_is_settled() -> None:
    batch = settle(SHARD, Watermark(2, 0), deliveries("hold 1000 USDT 1", epoch=1, session_epoch=3))
    assert batch.watermark == Watermark(3, 1)
    assert [entry.epoch for entry in batch.new.entries] == [1]


def test_what_was_settled_already_is_compared_and_not_posted() -> None:
    batch = settle(SHARD, Watermark(1, 5), STREAM)
    assert [row.seq for row in batch.replayed.entries] == [2, 3, 5]
    assert (batch.new.entries, batch.deltas, batch.trades) == ([], [], 0)
    assert [row.seq for row in batch.new.checkpoints] == [6]
    assert batch.replayed_range == (1, 5)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("legs order_rejected 1000:USDT:-1:1", "order_rejected moves money"),
        ("legs account_configured 1000:USDT:-1:0 2:USDT:1:0", "account_configured moves money, which this ledger does"),
        ("legs funds_debit_rejected 1000:USDT:-1:0 2:USDT:1:0", "funds_debit_rejected moves money"),
        ("legs order_accepted 1000:USDT:-1:0 1001:USDT:1:0", "order_accepted moves USDT out of or into account 1000"),
        ("legs order_amended 1000:USDT:1:0 1001:USDT:0:-1", "order_amended moves USDT out of or into account 1000"),
        ("legs match_prevented 1000:USDT:0:-1 1001:USDT:1:0", "match_prevented moves USDT out of or into account"),
        ("legs trade_executed", "trade_executed without a movement"),
        ("legs match_transferred", "match_transferred without a movement"),
        ("legs funds_credited", "funds_credited without a movement"),
        ("legs funds_debited", "funds_debited without a movement"),
        ("legs funds_credited 1000:USDT:1:0 2:USDT:-1:0", "was not made by this ledger"),
        ("legs funds_debited 1000:USDT:-1:0 2:USDT:1:0", "was not made by this ledger"),
        ("legs funds_debit_rejected", "was not made by this ledger"),
        ("legs order_accepted 7:USDT:-1:1", "account 7 cannot exist"),
        (f"legs order_accepted {2**63}:USDT:-1:1", f"account {2**63} cannot exist"),
    ],
)
def test_an_event_that_cannot_be_true_stops_settlement(line: str, words: str) -> None:
    with pytest.raises(Diverged, match=words):
        _settle(line)


def test_net_changes_stay_in_64_bits() -> None:
    with pytest.raises(Diverged, match="leaves the range of 64 bits"):
        _settle(f"hold 1000 USDT {INT64_MAX}\nhold 1000 USDT {INT64_MAX}")


def test_an_event_of_another_shard_or_out_of_order_is_refused() -> None:
    foreign, twice, late = (deliveries("hold 1000 USDT 1") for _ in range(3))
    foreign[0].events[0].shard = "other"
    twice[0].events.append(twice[0].events[0])
    late[0].events[0].seq = 2
    for parts in (foreign, twice, late):
        with pytest.raises(Diverged, match="does not belong"):
            settle(SHARD, Watermark(0, 0), parts)


def test_an_asset_that_changes_its_scale_stops_settlement() -> None:
    assert _settle("asset USDT 2\nasset USDT 2").new.assets == {"USDT": AssetRow(1, "USDT", 2)}
    with pytest.raises(Diverged, match="changes its scale"):
        _settle("asset USDT 2\nasset USDT 3")


@pytest.mark.parametrize("field", ["trade_id", "price_ticks", "quantity_lots", "quote_units", "taker_side"])
def test_a_duplicate_that_differs_in_any_term_of_the_trade_is_a_contradiction(field: str) -> None:
    def rows(change: bool) -> Rows:
        event = trade(
            1, maker=1001, taker=1000, taker_side=v1.Side.SIDE_BUY, quantity=2, quote_units=20, maker_fee=1, taker_fee=1
        )
        if change:
            setattr(event.trade_executed, field, getattr(event.trade_executed, field) + 1)
        return settle(SHARD, Watermark(0, 0), [v1.Events(epoch=1, first_seq=1, last_seq=1, events=[event])]).new

    assert contradiction(rows(change=False), rows(change=False)) is None
    assert "seq 1 index 0: entry settled as" in (contradiction(rows(change=True), rows(change=False)) or "")


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("hold 1000 USDT 1", "hold 1000 USDT 2"),
        ("hold 1000 USDT 1", "hold 1001 USDT 1"),
        ("hold 1000 USDT 1", "release 1000 USDT 1"),
        ("hold 1000 USDT 1", "nothing"),
        ("nothing", "hold 1000 USDT 1"),
        ("checkpoint ab", "checkpoint cd"),
        ("symbol BTC USDT", "symbol ETH USDT"),
        ("asset USDT 2", "asset USDT 3"),
    ],
)
def test_a_duplicate_with_other_content_is_a_contradiction(first: str, again: str) -> None:
    assert contradiction(_settle(again).new, _settle(first).new) is not None
    assert contradiction(_settle(first).new, _settle(first).new) is None


def test_the_first_place_that_differs_is_named() -> None:
    stored = _settle("hold 1000 USDT 1\nhold 1000 USDT 2\nhold 1000 USDT 3").new
    again = _settle("hold 1000 USDT 1\nhold 1000 USDT 5\nhold 1000 USDT 5").new
    assert (contradiction(again, stored) or "").startswith("seq 2 index 0")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("legs match_transferred 1000:USDT:-2:0 1001:USDT:1:0 1002:USDT:1:0", "of account 1002 in a way"),
        ("legs match_transferred 1000:A:-1:1 1000:B:-1:1 1000:C:-1:1", "moves A, B, C of 1000: more or less"),
        ("legs match_transferred 1:USDT:-1:1 1000:USDT:-1:1", "of account 1 in a way"),
        ("legs match_transferred 1:USDT:0:0", "of None: more or less"),
    ],
)
def test_what_has_no_column_stops_settlement(line: str, words: str) -> None:
    with pytest.raises(Diverged, match=words):
        _settle(line)


def test_an_entry_has_its_legs_by_asset_and_a_trade_its_taker_first() -> None:
    (entry,) = _settle("trade 1001 sells 20 BTC for 200 USDT to 1000, fees 2 1").new.entries
    assert (entry.account, entry.counter_account) == (1000, 1001)
    assert (entry.legs, entry.other_legs) == (Legs("BTC", 19, 0, 0, -20, 1), Legs("USDT", 0, -200, 198, 0, 2))
    (entry,) = _settle("legs match_transferred 1002:A:-1:0 1001:A:1:0 1002:A:0:0").new.entries
    assert (entry.account, entry.counter_account, entry.legs) == (1001, 1002, Legs("A", 1, 0, -1, 0, 0))
    assert entry.other_legs is None
