"""The order book of one symbol, and what changed in it since it was last told. Values in, values out."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from openbourse.contracts import v1
from openbourse.marketdata.errors import Diverged

Level = tuple[int, int]


class Levels:
    """One side: lots by price. The best price is found at once, whatever its side."""

    def __init__(self, *, best_is_highest: bool) -> None:
        self._best_is_highest = best_is_highest
        self._lots: dict[int, int] = {}
        self._prices: list[int] = []

    def set(self, price_ticks: int, quantity_lots: int) -> None:
        known = price_ticks in self._lots
        if quantity_lots:
            self._lots[price_ticks] = quantity_lots
            if not known:
                insort(self._prices, price_ticks)
        elif known:
            del self._lots[price_ticks]
            del self._prices[bisect_left(self._prices, price_ticks)]

    def best(self) -> Level | None:
        if not self._prices:
            return None
        price = self._prices[-1 if self._best_is_highest else 0]
        return price, self._lots[price]

    def top(self, most: int) -> list[Level]:
        """Best first."""
        prices = self._prices[: -most - 1 : -1] if self._best_is_highest else self._prices[:most]
        return [(price, self._lots[price]) for price in prices]

    def __len__(self) -> int:
        return len(self._prices)


@dataclass(slots=True)
class Diff:
    """The levels that changed from one update id to another, as they are now: told twice, it does no harm."""

    first_id: int
    last_id: int
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)


class Changes:
    """Gathers diffs that follow each other without a gap."""

    def __init__(self) -> None:
        self._diff: Diff | None = None

    def add(self, delta: v1.BookDelta) -> None:
        if self._diff is None:
            self._diff = Diff(delta.update_id, delta.update_id)
        diff = self._diff
        diff.last_id = delta.update_id
        (diff.bids if delta.side == v1.Side.SIDE_BUY else diff.asks)[delta.price_ticks] = delta.quantity_lots

    def take(self) -> Diff | None:
        """What changed since the last call. None: nothing."""
        taken, self._diff = self._diff, None
        return taken


class Book:
    def __init__(self, update_id: int = 0) -> None:
        self.update_id = update_id
        self.bids = Levels(best_is_highest=True)
        self.asks = Levels(best_is_highest=False)

    def side(self, side: int) -> Levels:
        return self.bids if side == v1.Side.SIDE_BUY else self.asks

    def begin(self, update_id: int, orders: Iterable[v1.Order]) -> None:
        """As it is after that update, with these orders in it."""
        self.update_id = update_id
        lots: defaultdict[tuple[int, int], int] = defaultdict(int)
        for order in orders:
            lots[order.side, order.price_ticks] += order.quantity_lots - order.executed_lots - order.prevented_lots
        for (side, price_ticks), quantity_lots in lots.items():
            self.side(side).set(price_ticks, quantity_lots)

    def apply(self, delta: v1.BookDelta) -> None:
        """Raises Diverged where an update is missing or comes again."""
        if delta.update_id != self.update_id + 1:
            raise Diverged(f"book update {delta.update_id} came after {self.update_id}")
        self.update_id = delta.update_id
        self.side(delta.side).set(delta.price_ticks, delta.quantity_lots)
