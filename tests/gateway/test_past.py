"""Trades and candles of a symbol that was in several shards are those that one shard would have given."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openbourse.contracts import v1
from openbourse.contracts.units import SymbolUnits
from openbourse.gateway import past
from openbourse.marketdata import words
from openbourse.marketdata.candles import Candle, joined, of_trade, rolled_up, without_gaps
from openbourse.marketdata.intervals import MINUTE_MS, Interval, next_open_ms, open_ms
from openbourse.marketdata.market import Market
from openbourse.marketdata.trades import Trade

START_MS = 1_700_000_000_000 - 1_700_000_000_000 % (5 * MINUTE_MS)
TERMS = v1.SymbolDefinition(symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", tick_units=10**8, lot_units=1000)
MARKET = Market(TERMS, SymbolUnits.of(TERMS, {"BTC": 8, "USDT": 8}))

# Of each trade: how long after the one before, at which price, how much, and which shard the symbol is in by then.
TRADED = st.tuples(
    st.integers(0, 4 * MINUTE_MS), st.integers(1, 50), st.integers(1, 10**25), st.booleans(), st.integers(0, 2)
)


def made(steps: list[tuple[int, int, int, bool, int]]) -> tuple[list[Trade], dict[int, list[Trade]]]:
    time_ms, shards, trades = START_MS, dict[int, list[Trade]](), list[Trade]()
    for number, (after_ms, price, lots, bought, shard) in enumerate(steps, 1):
        time_ms += after_ms
        trades.append(Trade(number, price, lots, price * lots * 1000, time_ms * 1000, not bought))
        shards.setdefault(shard, []).append(trades[-1])
    return trades, shards


def minutes(trades: list[Trade]) -> list[Candle]:
    found: list[Candle] = []
    for trade in trades:
        candle = of_trade(trade, open_ms(Interval.M1, trade.time_us // 1000))
        if found and found[-1].open_ms == candle.open_ms:
            found[-1] = joined(found[-1], candle)
        else:
            found.append(candle)
    return found


def rows(trades: list[Trade], interval: Interval, end_ms: int, limit: int, start_ms: int | None) -> Iterator[list[Any]]:
    """As the market data of one shard give them, with their ids."""
    of_interval = list(rolled_up(minutes(trades), interval))
    opens = [of_interval[0].open_ms]
    while next_open_ms(interval, opens[-1]) <= end_ms:
        opens.append(next_open_ms(interval, opens[-1]))
    opens = opens[-limit:] if start_ms is None else [each for each in opens if each >= start_ms][:limit]
    earlier = [trade for trade in trades if opens and trade.time_us < opens[0] * 1000]
    last_id = earlier[-1].trade_id if earlier else 0
    wanted = [candle for candle in of_interval if candle.open_ms in opens]
    for candle in without_gaps(wanted, opens, earlier[-1].price_ticks if earlier else None):
        last_id = candle.last_id if candle.trades else last_id
        yield [*words.candle_row(MARKET, interval, candle, int), candle.first_id, last_id]


@given(
    st.lists(TRADED, min_size=1, max_size=25),
    st.sampled_from([Interval.M1, Interval.M5, Interval.H1]),
    st.integers(1, 12),
    st.none() | st.integers(0, 60),
)
def test_candles_of_several_shards_are_those_of_one(
    steps: list[tuple[int, int, int, bool, int]], interval: Interval, limit: int, start_minute: int | None
) -> None:
    trades, shards = made(steps)
    end_ms = trades[-1].time_us // 1000 + 7 * MINUTE_MS
    start_ms = None if start_minute is None else START_MS + start_minute * MINUTE_MS
    parts = [list(rows(of, interval, end_ms, limit, start_ms)) for of in shards.values()]
    one = [row[: past.COLUMNS] for row in rows(trades, interval, end_ms, limit, start_ms)]
    assert past.candles(parts, limit, newest=start_ms is None) == one
    assert all(after[0] > before[0] for before, after in pairwise(one))


@given(st.lists(TRADED, min_size=1, max_size=25), st.integers(1, 12), st.none() | st.integers(0, 30))
def test_trades_of_several_shards_are_those_of_one(
    steps: list[tuple[int, int, int, bool, int]], limit: int, from_id: int | None
) -> None:
    trades, shards = made(steps)

    def asked(of: list[Trade]) -> list[past.Row]:
        found = [trade for trade in of if from_id is None or trade.trade_id >= from_id]
        found = found[-limit:] if from_id is None else found[:limit]
        return [words.trade_row(MARKET, trade, int) for trade in found]

    assert past.trades(map(asked, shards.values()), limit, newest=from_id is None) == asked(trades)
