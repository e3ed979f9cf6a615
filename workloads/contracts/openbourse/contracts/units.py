"""Money and prices as integers, and the one place where text becomes one of them.

Amounts are min-units of an asset (10^scale make one whole unit), prices are ticks, quantities are lots. Everything
inside OpenBourse is an integer; decimals exist as text at the edges and are read and written here, exactly or not
at all. Nothing here rounds.
"""

import re
from dataclasses import dataclass

from openbourse.contracts import v1

INT64_MAX = 2**63 - 1
SCALE_MAX = 18
PPM = 1_000_000

# Accounts of the shard itself; traders begin at FIRST_TRADER.
FEES_ACCOUNT = 1
EXTERNAL_ACCOUNT = 2
FIRST_TRADER = 1000

_DECIMAL = re.compile(r"(?P<whole>[0-9]{1,30})(?:\.(?P<fraction>[0-9]{1,30}))?")


class InvalidDecimal(ValueError):
    """Text that is not a plain decimal number, or has more decimals than its unit allows."""


def parse_units(text: str, scale: int) -> int:
    """Reads "12.5" at scale 8 as 1_250_000_000 min-units.

    Raises InvalidDecimal for a sign, an exponent, a value over int64, or digits beyond the scale (zeros are fine).
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidDecimal(f"{text[:40]!r} is not a decimal number such as 12.5")
    fraction = (match["fraction"] or "").rstrip("0")
    if len(fraction) > scale:
        raise InvalidDecimal(f"{text[:40]!r} has {len(fraction)} decimals, at most {scale} are allowed")
    value = int(match["whole"] + fraction.ljust(scale, "0"))
    if value > INT64_MAX:
        raise InvalidDecimal(f"{text[:40]!r} is too large")
    return value


def format_units(value: int, scale: int) -> str:
    """Writes 1_250_000_000 min-units at scale 8 as "12.50000000": always `scale` decimals, as Binance does."""
    if value < 0:
        return "-" + format_units(-value, scale)
    if scale == 0:
        return str(value)
    digits = str(value).zfill(scale + 1)
    return f"{digits[:-scale]}.{digits[-scale:]}"


@dataclass(frozen=True, slots=True)
class SymbolUnits:
    """How one symbol's ticks and lots are written as decimals."""

    tick_units: int
    lot_units: int
    base_scale: int
    quote_scale: int

    @classmethod
    def of(cls, definition: v1.SymbolDefinition, scales: dict[str, int]) -> "SymbolUnits":
        """From a listing; `scales` gives each asset's scale. Raises KeyError for an asset without one."""
        return cls(
            tick_units=definition.tick_units,
            lot_units=definition.lot_units,
            base_scale=scales[definition.base_asset],
            quote_scale=scales[definition.quote_asset],
        )

    @property
    def quote_units_per_tick_lot(self) -> int:
        """What one lot costs at a price of one tick, in quote min-units. Whole, or the symbol could not be listed."""
        whole_base: int = 10**self.base_scale
        return self.tick_units * self.lot_units // whole_base

    def price_ticks(self, text: str) -> int:
        """Raises InvalidDecimal when the price is no multiple of the tick."""
        return _steps(parse_units(text, self.quote_scale), self.tick_units, text, self.tick_size)

    def quantity_lots(self, text: str) -> int:
        """Raises InvalidDecimal when the quantity is no multiple of the lot."""
        return _steps(parse_units(text, self.base_scale), self.lot_units, text, self.lot_size)

    def format_price(self, ticks: int) -> str:
        return format_units(ticks * self.tick_units, self.quote_scale)

    def format_quantity(self, lots: int) -> str:
        return format_units(lots * self.lot_units, self.base_scale)

    @property
    def tick_size(self) -> str:
        return format_units(self.tick_units, self.quote_scale)

    @property
    def lot_size(self) -> str:
        return format_units(self.lot_units, self.base_scale)


def _steps(value: int, step: int, text: str, step_text: str) -> int:
    count, rest = divmod(value, step)
    if rest:
        raise InvalidDecimal(f"{text[:40]!r} is not a multiple of {step_text}")
    return count
