"""The rules for an order on one symbol, as exchangeInfo shows them and as an order is checked against them.

The engine holds the same limits and has the last word; checking here answers in Binance's words, in the order that
clients expect (PRICE_FILTER first), and keeps what can never be accepted off the engine.
"""

from collections.abc import Callable

from openbourse.contracts import v1
from openbourse.contracts.units import InvalidDecimal, SymbolUnits, format_units
from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid
from openbourse.gateway.parameters import DECIMAL, Parameters


def as_json(definition: v1.SymbolDefinition, units: SymbolUnits) -> list[dict[str, object]]:
    """The filters of a symbol."""
    largest_notional = definition.max_price_ticks * definition.max_quantity_lots * units.quote_units_per_tick_lot
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": units.tick_size,
            "maxPrice": units.format_price(definition.max_price_ticks),
            "tickSize": units.tick_size,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": units.lot_size,
            "maxQty": units.format_quantity(definition.max_quantity_lots),
            "stepSize": units.lot_size,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": format_units(definition.min_notional_units, units.quote_scale),
            "applyMinToMarket": False,
            "maxNotional": format_units(largest_notional, units.quote_scale),
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
    ]


def price_and_quantity(parameters: Parameters, definition: v1.SymbolDefinition, units: SymbolUnits) -> tuple[int, int]:
    """The order's ticks and lots. Raises Invalid with the first filter that fails."""
    price = parameters.mandatory("price", DECIMAL)
    quantity = parameters.mandatory("quantity", DECIMAL)
    _check_precision("price", price, units.quote_scale)
    _check_precision("quantity", quantity, units.base_scale)
    ticks = _within("PRICE_FILTER", price, units.price_ticks, definition.max_price_ticks, units.format_price)
    lots = _within("LOT_SIZE", quantity, units.quantity_lots, definition.max_quantity_lots, units.format_quantity)
    notional = ticks * lots * units.quote_units_per_tick_lot
    if notional < definition.min_notional_units:
        least = format_units(definition.min_notional_units, units.quote_scale)
        raise failure("NOTIONAL", f"{format_units(notional, units.quote_scale)} is less than {least}")
    return ticks, lots


def failure(name: str, detail: str) -> Invalid:
    return Invalid(errors.FILTER_FAILURE, name, detail=detail)


def _check_precision(name: str, text: str, scale: int) -> None:
    decimals = len(text.partition(".")[2].rstrip("0"))
    if decimals > scale:
        raise Invalid(errors.TOO_PRECISE, name, detail=f"{decimals} decimals, at most {scale} are allowed")


def _within(name: str, text: str, steps: Callable[[str], int], most: int, written: Callable[[int], str]) -> int:
    try:
        count = steps(text)
    except InvalidDecimal as error:
        raise failure(name, str(error)) from None
    if not 1 <= count <= most:
        raise failure(name, f"{text[:40]} is not between {written(1)} and {written(most)}")
    return count
