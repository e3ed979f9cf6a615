"""exchangeInfo shows what is listed, and nothing that does not work."""

import pytest

from fixtures.markets import a_market, listed
from openbourse.contracts import v1
from openbourse.gateway.errors import Invalid

MARKET = a_market()


def test_exchange_info_shows_only_what_works() -> None:
    body = MARKET.as_json()
    filters = body["filters"]
    assert isinstance(filters, list)
    assert [row["filterType"] for row in filters] == ["PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL"]
    assert filters[0] == {
        "filterType": "PRICE_FILTER",
        "minPrice": "0.010000",
        "maxPrice": "1000000.000000",
        "tickSize": "0.010000",
    }
    assert (filters[1]["stepSize"], filters[1]["maxQty"]) == ("0.00010000", "100.00000000")
    assert (filters[2]["minQty"], filters[2]["maxQty"]) == ("0.00010000", "100.00000000")
    assert filters[3] == {
        "filterType": "NOTIONAL",
        "minNotional": "5.000000",
        "applyMinToMarket": True,
        "maxNotional": "100000000.000000",
        "applyMaxToMarket": True,
        "avgPriceMins": 5,
    }
    assert body["orderTypes"] == ["LIMIT", "LIMIT_MAKER", "MARKET"]
    assert body["defaultSelfTradePreventionMode"] == "EXPIRE_MAKER"
    assert body["allowedSelfTradePreventionModes"] == [
        *("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
    ]
    assert (body["baseAssetPrecision"], body["quoteAssetPrecision"]) == (8, 6)


def test_every_limit_of_a_listing_is_a_filter() -> None:
    market = a_market(
        minPrice="1",
        minQuantity="0.001",
        marketMaxQuantity="50",
        maxNotional="900",
        bidBand={"lowest": "0.2", "highest": "5"},
        averageMinutes=1,
        selfTradePrevention="None",
    )
    body = market.as_json()
    filters = body["filters"]
    assert isinstance(filters, list)
    price, lots, market_lots, notional, bands = filters
    assert price["minPrice"] == "1.000000"
    assert (lots["minQty"], lots["maxQty"]) == ("0.00100000", "100.00000000")
    assert (market_lots["minQty"], market_lots["maxQty"]) == ("0.00100000", "50.00000000")
    assert (notional["maxNotional"], notional["avgPriceMins"]) == ("900.000000", 1)
    assert bands == {
        "filterType": "PERCENT_PRICE_BY_SIDE",
        "bidMultiplierUp": "5.000000",
        "bidMultiplierDown": "0.200000",
        # No bound: more than any price can be of any other.
        "askMultiplierUp": "100000000.000000",
        "askMultiplierDown": "0.000000",
        "avgPriceMins": 1,
    }
    assert body["defaultSelfTradePreventionMode"] == "NONE"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (v1.SymbolState.SYMBOL_STATE_TRADING, "TRADING"),
        (v1.SymbolState.SYMBOL_STATE_HALT, "HALT"),
        (v1.SymbolState.SYMBOL_STATE_CANCEL_ONLY, "BREAK"),
        (v1.SymbolState.SYMBOL_STATE_POST_ONLY, "PRE_TRADING"),
        (v1.SymbolState.SYMBOL_STATE_AUCTION, "AUCTION_MATCH"),
    ],
)
def test_a_symbols_state_has_binances_word(state: v1.SymbolState.ValueType, status: str) -> None:
    assert listed(state).market("BTCUSDT").status == status


@pytest.mark.parametrize(
    ("symbols", "permissions", "status", "expected"),
    [
        (None, None, None, ["BTCUSDT"]),
        (["BTCUSDT"], None, None, ["BTCUSDT"]),
        (None, ["MARGIN"], None, []),
        (None, ["SPOT", "MARGIN"], None, ["BTCUSDT"]),
        (None, None, "HALT", []),
        (["NONE"], None, None, -1121),
        (["BTCUSDT", "BTCUSDT"], None, None, -1151),
        (["BTCUSDT"], ["SPOT"], None, -1128),
        (None, None, "OPEN", -1122),
    ],
)
def test_exchange_info_selects(
    symbols: list[str] | None, permissions: list[str] | None, status: str | None, expected: list[str] | int
) -> None:
    if isinstance(expected, int):
        with pytest.raises(Invalid) as refused:
            listed().selected(symbols, permissions, status)
        assert refused.value.code == expected
    else:
        assert [market.symbol for market in listed().selected(symbols, permissions, status)] == expected
