"""Text becomes integers exactly or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbourse.contracts.units import INT64_MAX, InvalidDecimal, SymbolUnits, format_units, parse_units

BTCUSDT = SymbolUnits(tick_units=1_000_000, lot_units=1_000, base_scale=8, quote_scale=8)


@pytest.mark.parametrize(
    ("text", "scale", "units"),
    [("0", 8, 0), ("12.5", 8, 1_250_000_000), ("0.00000001", 8, 1), ("7.100", 1, 71), ("42", 0, 42)],
)
def test_a_decimal_is_read_exactly(text: str, scale: int, units: int) -> None:
    assert parse_units(text, scale) == units


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", " 1", "1.", ".5", "NaN", "1_000", "١", "0.000000001", "1" * 31]
)
def test_what_is_no_exact_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(InvalidDecimal):
        parse_units(text, 8)


def test_an_amount_over_64_bits_is_refused() -> None:
    assert parse_units(str(INT64_MAX), 0) == INT64_MAX
    with pytest.raises(InvalidDecimal, match="too large"):
        parse_units(str(INT64_MAX + 1), 0)


@given(st.integers(0, INT64_MAX), st.integers(0, 18))
def test_what_is_written_reads_back(units: int, scale: int) -> None:
    assert parse_units(format_units(units, scale), scale) == units


def test_a_price_off_the_tick_is_refused_with_the_tick() -> None:
    assert BTCUSDT.price_ticks("20000.01") == 2_000_001
    with pytest.raises(InvalidDecimal, match=r"not a multiple of 0\.01000000"):
        BTCUSDT.price_ticks("20000.001")


def test_a_notional_is_exact() -> None:
    assert BTCUSDT.quote_units_per_tick_lot == 10
    ticks, lots = BTCUSDT.price_ticks("20000"), BTCUSDT.quantity_lots("0.5")
    assert format_units(ticks * lots * BTCUSDT.quote_units_per_tick_lot, 8) == "10000.00000000"
