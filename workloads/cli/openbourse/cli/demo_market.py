"""What a made-up market does next: a seeded walk of the price, a maker's ladder around it, a taker's orders.

Values in, values out: no clock, no socket, and the same seed makes the same market. Prices and quantities are whole
ticks and lots.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one market. A size of 1.0 is `typical_lots`."""

    symbol: str
    tick_size: str
    lot_size: str
    first_ticks: int
    # Between the levels of the ladder, about.
    gap_ticks: int
    typical_lots: int


@dataclass(frozen=True, slots=True)
class Quote:
    side: Side
    ticks: int
    lots: int


@dataclass(frozen=True, slots=True)
class Step:
    """Orders of the maker that go, by id, and that come; then what the taker sends, which never rests."""

    cancels: tuple[int, ...]
    places: tuple[Quote, ...]
    takes: tuple[Quote, ...]


LEVELS = 16
# The maker leaves orders alone until the price has come so near, or gone so far, in gaps.
NEAREST, FURTHEST = 0.5, 2.5 * LEVELS
CHANGES_MOST = 6
TAKES_CHANCE = 0.75
# Of the price in one step, and how strongly it is drawn back to where it began.
STEP_SHARE, HOME_SHARE = 0.000035, 0.0003


@dataclass(slots=True)
class Walk:
    """The price that everybody has in mind, and how nervous they are."""

    shape: Shape
    seed: int
    chance: random.Random = field(init=False)
    home: float = field(init=False)
    ticks: float = field(init=False)
    drift: float = 0.0
    nerves: float = 1.0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - nothing here is a secret
        self.home = self.ticks = float(self.shape.first_ticks)

    def begin(self, ticks: int) -> None:
        """Where the market was when it was left."""
        self.home = self.ticks = float(ticks)

    def step(self, open_orders: Mapping[int, Quote]) -> Step:
        """`open_orders`: the maker's own, by id."""
        self._move()
        cancels = [order for order, quote in open_orders.items() if not self._is_good(quote)][:CHANGES_MOST]
        # Now and then somebody thinks again.
        if open_orders and self.chance.random() < 0.5:
            cancels.append(self.chance.choice(list(open_orders)))
        kept = [quote for order, quote in open_orders.items() if order not in cancels]
        return Step(tuple(dict.fromkeys(cancels)), tuple(self._missing(kept)), tuple(self._takes()))

    def _move(self) -> None:
        chance = self.chance
        self.nerves += 0.05 * (1.0 - self.nerves) + (1.5 if chance.random() < 0.01 else 0.0)
        self.drift = 0.96 * self.drift + chance.gauss(0, 0.35)
        sway = (chance.gauss(0, 1.0) + 0.25 * self.drift) * self.nerves * STEP_SHARE * self.ticks
        self.ticks = max(self.shape.gap_ticks * FURTHEST, self.ticks + sway + HOME_SHARE * (self.home - self.ticks))

    def _is_good(self, quote: Quote) -> bool:
        away = (self.ticks - quote.ticks) * (1 if quote.side is Side.BUY else -1) / self.shape.gap_ticks
        return NEAREST <= away <= FURTHEST

    def _missing(self, kept: Iterable[Quote]) -> Iterable[Quote]:
        counts = {side: sum(quote.side is side for quote in kept) for side in Side}
        for side, count in counts.items():
            for level in range(min(LEVELS - count, CHANGES_MOST)):
                # Most of them near, some far away, and the further the larger.
                away = 0.7 + self.chance.expovariate(1.0) * (1.0 + 0.6 * LEVELS * (level % 3 > 0))
                away = min(away, FURTHEST - 1)
                ticks = self.ticks + away * self.shape.gap_ticks * (-1 if side is Side.BUY else 1)
                size = self.chance.lognormvariate(0, 0.7) * (0.5 + away / 8)
                yield Quote(side, max(1, round(ticks)), max(1, round(size * self.shape.typical_lots)))

    def _takes(self) -> Iterable[Quote]:
        if self.chance.random() > TAKES_CHANCE:
            return
        side = Side.BUY if self.chance.random() < 0.5 + max(-0.3, min(0.3, self.drift / 4)) else Side.SELL
        reach = 4 * self.shape.gap_ticks * self.nerves
        ticks = self.ticks + (reach if side is Side.BUY else -reach)
        size = self.chance.lognormvariate(-1.6, 0.9) * self.nerves
        yield Quote(side, max(1, round(ticks)), max(1, round(size * self.shape.typical_lots)))
