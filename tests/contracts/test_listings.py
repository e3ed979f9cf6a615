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


def definition(**changes: Any) -> v1.SymbolDefinition:
    *_, last = listings(**changes).definitions()
    assert isinstance(last, v1.DefineSymbol)
    return last.definition


def test_what_is_not_said_protects_a_trader_from_himself_and_hinders_nobody() -> None:
    assert definition() == v1.SymbolDefinition(
        symbol="BTCUSDT",
        base_asset="BTC",
        quote_asset="USDT",
        tick_units=1_000_000,
        lot_units=1_000,
        max_price_ticks=100_000_000,
        max_quantity_lots=900_000_000,
        maker_fee_ppm=1_000,
        taker_fee_ppm=1_000,
        fee_charge=v1.FeeCharge.FEE_CHARGE_RECEIVED,
        self_trade_prevention=v1.SelfTradePrevention.SELF_TRADE_PREVENTION_EXPIRE_MAKER,
        average_minutes=5,
    )


def test_every_term_becomes_a_number() -> None:
    listed = definition(
        minPrice="0.015",
        minQuantity="0.000011",
        marketMaxQuantity="0.00199",
        minNotional="5",
        maxNotional="900",
        feeCharge="Quote",
        selfTradePrevention="Transfer",
        bidBand={"lowest": "0.2", "highest": "5"},
        askBand={"highest": "1.000001"},
        averageMinutes=60,
        marketCollar="0.05",
        staticBand="0.1",
        dynamicBand="0.02",
        volatilityAuction="1m30s",
        referencePrice="50000.01",
    )
    # A least is rounded up to the step, a most down: what the step does not reach is not allowed by either.
    assert (listed.min_price_ticks, listed.min_quantity_lots, listed.market_max_quantity_lots) == (2, 2, 199)
    assert (listed.min_notional_units, listed.max_notional_units) == (500_000_000, 90_000_000_000)
    assert listed.fee_charge == v1.FeeCharge.FEE_CHARGE_QUOTE
    assert listed.self_trade_prevention == v1.SelfTradePrevention.SELF_TRADE_PREVENTION_TRANSFER
    assert listed.bid_band == v1.PriceBand(lowest_ppm=200_000, highest_ppm=5_000_000)
    assert listed.ask_band == v1.PriceBand(highest_ppm=1_000_001)
    assert (listed.average_minutes, listed.market_collar_ppm) == (60, 50_000)
    assert (listed.static_band_ppm, listed.dynamic_band_ppm, listed.volatility_auction_ms) == (100_000, 20_000, 90_000)
    assert listed.reference_price_ticks == 5_000_001


def test_without_a_band_there_is_no_auction_to_be_long() -> None:
    assert definition(volatilityAuction="5m").volatility_auction_ms == 0


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
        ({"maxPrice": "900000", "maxQuantity": "100000", "feeCharge": "Quote", "takerFee": "0.1"}, r"below 2\^63"),
        ({"minPrice": "1000000.01"}, "minPrice may be at most maxPrice"),
        ({"minQuantity": "9000.00001"}, "minQuantity may be at most maxQuantity"),
        ({"marketMaxQuantity": "9000.00001"}, "marketMaxQuantity may be at most maxQuantity"),
        ({"marketMaxQuantity": "0.000001"}, "marketMaxQuantity must be at least one lot"),
        ({"minNotional": "6", "maxNotional": "5"}, "minNotional may be at most maxNotional"),
        ({"feeCharge": "Base"}, "'Received' or 'Quote'"),
        ({"selfTradePrevention": "Cancel"}, "'None', 'ExpireTaker', 'ExpireMaker'"),
        ({"bidBand": {"highest": "4294.967296"}}, "bidBand may be at most 4294.967295 times"),
        ({"askBand": {"lowest": "0.0000001"}}, "askBand.lowest .* at most 6"),
        ({"askBand": {"lowest": "2", "highest": "1"}}, "askBand.lowest may be at most askBand.highest"),
        ({"averageMinutes": 61}, "less than or equal to 60"),
        ({"marketCollar": "1"}, "marketCollar may be at most 0.999999"),
        ({"staticBand": "1.5"}, "staticBand may be at most 0.999999"),
        ({"dynamicBand": "0.1", "volatilityAuction": "soon"}, "volatilityAuction must be a time such as 90s"),
        ({"dynamicBand": "0.1", "volatilityAuction": "61m"}, "volatilityAuction may be at most 1h"),
        ({"referencePrice": "0.005"}, "referencePrice must be a multiple of tickSize"),
        ({"referencePrice": "1000000.01"}, "at most maxPrice"),
        ({"tickSize": "-1"}, "should match pattern"),
        ({"tickSizes": "1"}, "Extra inputs are not permitted"),
    ],
)
def test_a_symbol_that_does_not_fit_is_refused_with_what_is_allowed(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        listings(**changes)


def safety(**changes: Any) -> v1.ConfigureSafety:
    return Listings.model_validate({"safety": changes}).safety.configuration()


def test_a_shard_slows_down_and_stops_while_its_ledger_lags() -> None:
    limits = v1.SafetyLimits(throttle=5_000, cancel_only=15_000, halt=60_000)
    assert safety() == v1.ConfigureSafety(settlement_lag_ms=limits, throttled_orders_per_second=1_000)
    only_halt = {"throttleSeconds": 0, "cancelOnlySeconds": 0, "haltSeconds": 2}
    assert safety(settlementLag=only_halt).settlement_lag_ms == v1.SafetyLimits(halt=2_000)
    never = {"throttleSeconds": 0, "cancelOnlySeconds": 0, "haltSeconds": 0}
    assert safety(settlementLag=never, throttledOrdersPerSecond=0) == v1.ConfigureSafety()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"settlementLag": {"throttleSeconds": 15}}, "must grow in this order, those that are not 0"),
        ({"settlementLag": {"cancelOnlySeconds": 60}}, "must grow in this order"),
        ({"settlementLag": {"cancelOnlySeconds": 0, "haltSeconds": 5}}, "must grow in this order"),
        ({"settlementLag": {"haltSeconds": 86_401}}, "less than or equal to 86400"),
        ({"settlementLag": {"haltSeconds": -1}}, "greater than or equal to 0"),
        ({"settlementLag": {"haltSeconds": 1.5}}, "valid integer"),
        ({"throttledOrdersPerSecond": 0}, "must be at least 1 where throttleSeconds is not 0"),
        ({"settlementLagSeconds": 5}, "Extra inputs are not permitted"),
    ],
)
def test_safety_limits_that_do_not_fit_are_refused_with_what_is_allowed(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        safety(**changes)


def test_nothing_is_listed_twice() -> None:
    with pytest.raises(ValidationError, match="asset BTC is listed twice"):
        Listings.model_validate({"assets": [{"name": "BTC", "scale": 8}] * 2})
