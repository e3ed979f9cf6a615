"""A listing that cannot be traded exactly is refused with what is allowed."""

from typing import Any

import pytest
from pydantic import ValidationError

from openbourse.contracts import v1
from openbourse.contracts.listings import Listings

BTCUSDT = {"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.00001"}


def listings(**changes: Any) -> Listings:
    return Listings.model_validate(
        {
            "assets": [{"name": "BTC", "scale": 8}, {"name": "USDT", "scale": 8}],
            "symbols": [BTCUSDT | changes],
        }
    )


def test_assets_come_before_the_symbols_that_need_them() -> None:
    first, second, third = listings().definitions()
    assert (first, second) == (v1.DefineAsset(asset="BTC", scale=8), v1.DefineAsset(asset="USDT", scale=8))
    assert isinstance(third, v1.DefineSymbol)
    assert third.definition.tick_units == 1_000_000
    assert third.definition.lot_units == 1_000
    assert third.definition.maker_fee_ppm == 1_000


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base": "ETH"}, "asset ETH is not listed"),
        ({"quote": "BTC"}, "base and quote are the same"),
        ({"tickSize": "0"}, "tickSize must be greater than 0"),
        ({"lotSize": "0.000000001"}, "at most 8 are allowed"),
        ({"tickSize": "0.0001"}, "must be a whole number of USDT min-units"),
        ({"makerFee": "0.2"}, "at most 0.1"),
        ({"takerFee": "0.0000001"}, "at most 6"),
        ({"maxPrice": "90000000000"}, r"below 2\^63"),
        ({"tickSize": "-1"}, "should match pattern"),
        ({"tickSizes": "1"}, "Extra inputs are not permitted"),
    ],
)
def test_a_symbol_that_does_not_fit_is_refused_with_what_is_allowed(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        listings(**changes)


def test_nothing_is_listed_twice() -> None:
    with pytest.raises(ValidationError, match="asset BTC is listed twice"):
        Listings.model_validate({"assets": [{"name": "BTC", "scale": 8}] * 2})
