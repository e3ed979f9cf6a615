"""What market data ask of a history, whatever keeps it. `sqlite_history` is the one that is embedded."""

from dataclasses import dataclass
from typing import Protocol

from openbourse.contracts import v1
from openbourse.marketdata.candles import Candle
from openbourse.marketdata.errors import Invalid
from openbourse.marketdata.intervals import Interval
from openbourse.marketdata.shard import Batch, Shard
from openbourse.marketdata.trades import AggregateTrade, Trade

# No question is answered with more rows.
ROWS_MOST = 1_000


def require_limit(limit: int) -> None:
    """Raises Invalid."""
    if not 1 <= limit <= ROWS_MOST:
        raise Invalid(f"limit is 1 to {ROWS_MOST}, not {limit}")


@dataclass(frozen=True, slots=True)
class AggregatesWanted:
    """From that id or time on; without either, the latest; none later than `end_us`."""

    limit: int
    from_id: int | None = None
    start_us: int | None = None
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class OrdersWanted:
    """Those changed in [start_us, end_us], or from that id on; without any of them, the latest."""

    account: int
    symbol: str
    limit: int
    from_id: int | None = None
    start_us: int | None = None
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class PreventedWanted:
    """That match, or those of an order, of which the account is a party."""

    account: int
    symbol: str
    limit: int
    prevented_match_id: int | None = None
    order_id: int | None = None
    from_id: int | None = None


class History(Protocol):
    """Calls may block and come from any thread. Rows come oldest first, at most `limit` of them."""

    def load(self, shard: str) -> Shard:
        """The shard as it was when the last batch was written."""

    def write(self, shard: str, batch: Batch) -> None:
        """All of it, or nothing. The same batch twice is the same as once."""

    def trades(self, symbol: str, limit: int, from_id: int | None) -> list[Trade]:
        """From that id on; without one, the latest."""

    def aggregates(self, symbol: str, wanted: AggregatesWanted) -> list[AggregateTrade]: ...

    def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> list[Candle]:
        """Those with trades that opened in [start_ms, end_ms)."""

    def minute_before(self, symbol: str, time_ms: int) -> Candle | None:
        """The last minute with trades that opened before that time."""

    def first_candle_ms(self, symbol: str, interval: Interval) -> int | None:
        """When the oldest candle with trades opened."""

    def orders(self, wanted: OrdersWanted) -> list[v1.OrderRecord]:
        """By id."""

    def order(self, account: int, symbol: str, order_id: int | None, client_order_id: str) -> v1.OrderRecord | None:
        """That order, or without an id the newest that is called so now or was when it ended."""

    def prevented(self, wanted: PreventedWanted) -> list[v1.PreventedMatch]: ...

    def close(self) -> None: ...
