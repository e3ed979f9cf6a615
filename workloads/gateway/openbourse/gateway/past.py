"""What was traded of a symbol in all the shards that it was in, as one answer. No I/O, no clock.

Rows are market data's, in Binance's words. Trade ids go on from shard to shard, so trades are in the order of theirs.
A candle may have trades in several shards; one without any has the price of the last trade before it, which the shard
knows that has the highest id before it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from functools import reduce
from typing import Any

Row = dict[str, Any]
# A candle's columns, and two more: the id of its first trade, and of the last one up to its end.
Candle = list[Any]
COLUMNS = 12
OPENED, OPEN, HIGH, LOW, CLOSE, VOLUME, _, QUOTE, COUNT, TAKER, TAKER_QUOTE, _ = range(COLUMNS)
FIRST_ID, LAST_ID = COLUMNS, COLUMNS + 1

# Volumes are sums of any number of trades.
_EXACT = Context(prec=100)


def trades(parts: Iterable[Sequence[Row]], limit: int, *, newest: bool) -> list[Row]:
    """Of what each shard gave to the same question."""
    return _cut([row for part in parts for row in part], "id", limit, newest=newest)


def aggregate_trades(parts: Iterable[Sequence[Row]], limit: int, *, newest: bool) -> list[Row]:
    """As trades: an aggregate's trades are all in one shard."""
    return _cut([row for part in parts for row in part], "f", limit, newest=newest)


def _cut(rows: list[Row], key: str, limit: int, *, newest: bool) -> list[Row]:
    rows.sort(key=lambda row: int(row[key]))
    return rows[-limit:] if newest else rows[:limit]


def candles(parts: Iterable[Sequence[Candle]], limit: int, *, newest: bool) -> list[Candle]:
    """Of what each shard gave to the same question, without the ids."""
    of_time: defaultdict[int, list[Candle]] = defaultdict(list)
    for part in parts:
        for candle in part:
            of_time[candle[OPENED]].append(candle)
    joined = [_joined(of_time[opened]) for opened in sorted(of_time)]
    return joined[-limit:] if newest else joined[:limit]


def _joined(those: list[Candle]) -> Candle:
    """Of one time."""
    traded = [candle for candle in those if candle[COUNT]]
    last = max(traded or those, key=lambda candle: int(candle[LAST_ID]))
    found = last[:COLUMNS]
    if traded:
        found[OPEN] = min(traded, key=lambda candle: int(candle[FIRST_ID]))[OPEN]
        found[HIGH] = max((candle[HIGH] for candle in traded), key=Decimal)
        found[LOW] = min((candle[LOW] for candle in traded), key=Decimal)
        found[COUNT] = sum(candle[COUNT] for candle in traded)
        for column in (VOLUME, QUOTE, TAKER, TAKER_QUOTE):
            found[column] = _sum(candle[column] for candle in traded)
    return found


def _sum(texts: Iterable[str]) -> str:
    return f"{reduce(_EXACT.add, map(Decimal, texts)):f}"
