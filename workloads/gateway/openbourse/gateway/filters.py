"""The rules for an order on one symbol, as exchangeInfo shows them and as an order is checked against them.

The engine holds the same limits and has the last word; checking here answers in Binance's words, in the order that
clients expect (PRICE_FILTER first), and keeps what can never be accepted off the engine. What depends on prices of the
moment (PERCENT_PRICE_BY_SIDE, the notional of a MARKET order by quantity) only the engine can check.
"""

from collections.abc import Callable
from dataclasses import dataclass

from openbourse.contracts import v1
from openbourse.contracts.units import PPM, InvalidDecimal, SymbolUnits, format_units, parse_units
from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid
from openbourse.gateway.parameters import DECIMAL, Parameters

# An account's open orders in a shard where nothing else is configured for it: the kernel's own default.
OPEN_ORDERS_MOST = 10_000


def of_the_exchange() -> list[dict[str, object]]:
    """The filters that count over all symbols."""
    return [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": OPEN_ORDERS_MOST}]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What `price_and_quantity` holds an order against, worked out once."""

    ticks: tuple[int, int]
    lots: tuple[int, int]
    notional_units: tuple[int, int]
    units_per_tick_lot: int

    @classmethod
    def of(cls, definition: v1.SymbolDefinition, units: SymbolUnits) -> "Bounds":
        return cls(
            (_least_ticks(definition), definition.max_price_ticks),
            (_least_lots(definition), definition.max_quantity_lots),
            (max(definition.min_notional_units, 1), _most_notional_units(definition, units)),
            units.quote_units_per_tick_lot,
        )

    def hold(self, ticks: int, lots: int) -> bool:
        """Whether an order with this price and quantity passes every filter."""
        least_ticks, most_ticks = self.ticks
        least_lots, most_lots = self.lots
        least, most = self.notional_units
        return (
            least_ticks <= ticks <= most_ticks
            and least_lots <= lots <= most_lots
            and least <= ticks * lots * self.units_per_tick_lot <= most
        )


def as_json(definition: v1.SymbolDefinition, units: SymbolUnits) -> list[dict[str, object]]:
    """The filters of a symbol."""
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": units.format_price(_least_ticks(definition)),
            "maxPrice": units.format_price(definition.max_price_ticks),
            "tickSize": units.tick_size,
        },
        _lots("LOT_SIZE", definition.max_quantity_lots, definition, units),
        _lots("MARKET_LOT_SIZE", _most_market_lots(definition), definition, units),
        {
            "filterType": "NOTIONAL",
            "minNotional": format_units(definition.min_notional_units, units.quote_scale),
            "applyMinToMarket": True,
            "maxNotional": format_units(_most_notional_units(definition, units), units.quote_scale),
            "applyMaxToMarket": True,
            "avgPriceMins": definition.average_minutes,
        },
        *_bands(definition),
    ]


def _lots(name: str, most: int, definition: v1.SymbolDefinition, units: SymbolUnits) -> dict[str, object]:
    return {
        "filterType": name,
        "minQty": units.format_quantity(_least_lots(definition)),
        "maxQty": units.format_quantity(most),
        "stepSize": units.lot_size,
    }


def _bands(definition: v1.SymbolDefinition) -> list[dict[str, object]]:
    """None where no side has a bound."""
    bid, ask = definition.bid_band, definition.ask_band
    if not any((bid.lowest_ppm, bid.highest_ppm, ask.lowest_ppm, ask.highest_ppm)):
        return []
    # What is not bounded is shown with a bound that no price can reach: a price is at most so many ticks, and what it
    # is held against at least one.
    unbounded = definition.max_price_ticks * PPM
    return [
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": format_units(bid.highest_ppm or unbounded, 6),
            "bidMultiplierDown": format_units(bid.lowest_ppm, 6),
            "askMultiplierUp": format_units(ask.highest_ppm or unbounded, 6),
            "askMultiplierDown": format_units(ask.lowest_ppm, 6),
            "avgPriceMins": definition.average_minutes,
        }
    ]


def price_and_quantity(parameters: Parameters, definition: v1.SymbolDefinition, units: SymbolUnits) -> tuple[int, int]:
    """Ticks and lots of an order with a price. Raises Invalid with the first filter that fails."""
    price = _decimal(parameters, "price", units.quote_scale)
    quantity = _decimal(parameters, "quantity", units.base_scale)
    ticks = _within(
        "PRICE_FILTER",
        price,
        units.price_ticks,
        (_least_ticks(definition), definition.max_price_ticks),
        units.format_price,
    )
    lots = _lots_within("LOT_SIZE", quantity, definition.max_quantity_lots, definition, units)
    _check_notional(ticks * lots * units.quote_units_per_tick_lot, definition, units)
    return ticks, lots


def market_quantity(parameters: Parameters, definition: v1.SymbolDefinition, units: SymbolUnits) -> int:
    """Lots of a MARKET order. Raises Invalid with the first filter that fails."""
    quantity = _decimal(parameters, "quantity", units.base_scale)
    _lots_within("LOT_SIZE", quantity, definition.max_quantity_lots, definition, units)
    return _lots_within("MARKET_LOT_SIZE", quantity, _most_market_lots(definition), definition, units)


def market_amount(parameters: Parameters, definition: v1.SymbolDefinition, units: SymbolUnits) -> int:
    """Quote min-units that a MARKET order is to spend or bring. Raises Invalid."""
    text = _decimal(parameters, "quoteOrderQty", units.quote_scale)
    try:
        amount = parse_units(text, units.quote_scale)
    except InvalidDecimal as error:
        raise failure("NOTIONAL", str(error)) from None
    _check_notional(amount, definition, units)
    return amount


def amended_quantity(parameters: Parameters, definition: v1.SymbolDefinition, units: SymbolUnits) -> int:
    """Lots that an order is to have. Raises Invalid."""
    quantity = _decimal(parameters, "newQty", units.base_scale)
    return _lots_within("LOT_SIZE", quantity, definition.max_quantity_lots, definition, units)


def failure(name: str, detail: str) -> Invalid:
    return Invalid(errors.FILTER_FAILURE, name, detail=detail)


def _decimal(parameters: Parameters, name: str, scale: int) -> str:
    text = parameters.mandatory(name, DECIMAL)
    decimals = len(text.partition(".")[2].rstrip("0"))
    if decimals > scale:
        raise Invalid(errors.TOO_PRECISE, name, detail=f"{decimals} decimals, at most {scale} are allowed")
    return text


def _lots_within(name: str, text: str, most: int, definition: v1.SymbolDefinition, units: SymbolUnits) -> int:
    return _within(name, text, units.quantity_lots, (_least_lots(definition), most), units.format_quantity)


def _within(
    name: str, text: str, steps: Callable[[str], int], bounds: tuple[int, int], written: Callable[[int], str]
) -> int:
    try:
        count = steps(text)
    except InvalidDecimal as error:
        raise failure(name, str(error)) from None
    least, most = bounds
    if not least <= count <= most:
        raise failure(name, f"{text[:40]} is not between {written(least)} and {written(most)}")
    return count


def _check_notional(notional_units: int, definition: v1.SymbolDefinition, units: SymbolUnits) -> None:
    least, most = max(definition.min_notional_units, 1), _most_notional_units(definition, units)
    if not least <= notional_units <= most:
        written = [format_units(value, units.quote_scale) for value in (notional_units, least, most)]
        raise failure("NOTIONAL", f"{written[0]} is not between {written[1]} and {written[2]}")


def _least_ticks(definition: v1.SymbolDefinition) -> int:
    return max(definition.min_price_ticks, 1)


def _least_lots(definition: v1.SymbolDefinition) -> int:
    return max(definition.min_quantity_lots, 1)


def _most_market_lots(definition: v1.SymbolDefinition) -> int:
    return definition.market_max_quantity_lots or definition.max_quantity_lots


def _most_notional_units(definition: v1.SymbolDefinition, units: SymbolUnits) -> int:
    """Where nothing is said, that of the largest order."""
    largest = definition.max_price_ticks * definition.max_quantity_lots * units.quote_units_per_tick_lot
    return definition.max_notional_units or largest
