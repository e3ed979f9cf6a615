"""ccxt as it is on PyPI, with nothing but its URLs changed, against the whole exchange: engine, ledger, gateway."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import ccxt
import ccxt.async_support
import pytest

from fixtures.exchanges import Exchange

pytestmark = pytest.mark.server

SYMBOL = "BTC/USDT"
FUNDS = {"BTC": "10", "USDT": "1000000"}
SETTLED_S = 20.0


def point_at(client: Any, url: str) -> Any:
    """The one change that a ccxt user makes; it is in the README in the same words."""
    client.urls["api"] = {name: url + old.partition(".com")[2] for name, old in client.urls["api"].items()}
    return client


Pair = tuple[Any, Any]


@pytest.fixture
def clients(exchange: Exchange) -> Iterator[Pair]:
    """Two accounts with funds; what they leave in the book is cancelled."""
    keys = [exchange.funded(FUNDS), exchange.funded(FUNDS)]
    pair = [point_at(ccxt.binance({"apiKey": key.api_key, "secret": key.secret}), exchange.gateway.url) for key in keys]
    yield pair[0], pair[1]
    for client in pair:
        for order in client.fetch_open_orders(SYMBOL):
            client.cancel_order(order["id"], SYMBOL)
        client.session.close()


def settled_trades(client: Any, count: int) -> list[dict[str, Any]]:
    """The account's trades, once the ledger has as many."""
    until = time.monotonic() + SETTLED_S
    while len(trades := client.fetch_my_trades(SYMBOL)) < count and time.monotonic() < until:
        time.sleep(0.05)
    return list(trades)


def test_it_loads_markets_currencies_and_fees_with_a_key(clients: Pair) -> None:
    client = clients[0]
    markets = client.load_markets()
    assert sorted(markets) == ["BTC/USDT", "ETH/USDT"]
    market = markets[SYMBOL]
    assert (market["active"], market["spot"], market["margin"]) == (True, True, False)
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.00001)
    assert {"BTC", "ETH", "USDT"} <= set(client.currencies)
    assert client.fetch_trading_fees()[SYMBOL]["taker"] == 0.001
    assert abs(client.fetch_time() - time.time() * 1000) < 60_000
    assert client.fetch_status()["status"] == "ok"


def test_an_order_lives_as_the_unified_api_says(clients: Pair) -> None:
    alice, bob = clients
    assert alice.fetch_balance()["BTC"] == {"free": 10.0, "used": 0.0, "total": 10.0}
    sold = alice.create_order(SYMBOL, "limit", "sell", 0.5, 50_000)
    assert (sold["status"], sold["filled"], sold["remaining"], sold["side"]) == ("open", 0.0, 0.5, "sell")
    assert alice.fetch_balance()["BTC"] == {"free": 9.5, "used": 0.5, "total": 10.0}
    assert alice.fetch_order_book(SYMBOL)["asks"] == [[50_000.0, 0.5]]

    bought = bob.create_order(SYMBOL, "limit", "buy", 0.2, 50_000)
    assert (bought["status"], bought["filled"], bought["average"], bought["cost"]) == (
        "closed",
        0.2,
        50_000.0,
        10_000.0,
    )
    assert bought["fee"] == {"currency": "BTC", "cost": 0.0002}

    order = alice.fetch_order(sold["id"], SYMBOL)
    assert (order["status"], order["filled"], order["remaining"]) == ("open", 0.2, 0.3)
    assert [row["id"] for row in alice.fetch_open_orders(SYMBOL)] == [sold["id"]]
    assert alice.cancel_order(sold["id"], SYMBOL)["status"] == "canceled"
    assert alice.fetch_open_orders(SYMBOL) == []
    assert alice.fetch_balance()["total"]["USDT"] == 1_009_990.0
    assert bob.fetch_balance()["total"]["BTC"] == 10.1998


def test_trades_come_from_the_ledger(clients: Pair) -> None:
    alice, bob = clients
    sold = alice.create_order(SYMBOL, "limit", "sell", 0.3, 51_000)
    for _ in range(3):
        bob.create_order(SYMBOL, "limit", "buy", 0.1, 51_000)
    [first, *_] = trades = settled_trades(alice, 3)
    assert len(trades) == 3
    assert (first["order"], first["side"], first["takerOrMaker"]) == (sold["id"], "sell", "maker")
    assert (first["price"], first["amount"], first["cost"]) == (51_000.0, 0.1, 5_100.0)
    assert first["fee"] == {"currency": "USDT", "cost": 5.1}
    mine = settled_trades(bob, 3)
    assert [trade["id"] for trade in mine] == [trade["id"] for trade in trades]
    assert {(trade["side"], trade["takerOrMaker"], trade["fee"]["currency"]) for trade in mine} == {
        ("buy", "taker", "BTC")
    }
    assert [trade["id"] for trade in alice.fetch_my_trades(SYMBOL, limit=1)] == [trades[-1]["id"]]
    assert len(alice.fetch_my_trades(SYMBOL, params={"fromId": trades[1]["id"]})) == 2
    assert len(alice.fetch_my_trades(SYMBOL, since=first["timestamp"])) == 3
    assert len(alice.fetch_order_trades(sold["id"], SYMBOL)) == 3


def test_an_immediate_or_cancel_order_and_a_client_order_id(clients: Pair) -> None:
    alice, _ = clients
    expired = alice.create_order(SYMBOL, "limit", "buy", 0.1, 100, {"timeInForce": "IOC", "clientOrderId": "mine-1"})
    assert (expired["status"], expired["clientOrderId"]) == ("expired", "mine-1")
    assert alice.fetch_order("", SYMBOL, {"clientOrderId": "mine-1"})["id"] == expired["id"]


def test_market_orders_by_quantity_and_by_cost(clients: Pair) -> None:
    alice, bob = clients
    alice.create_order(SYMBOL, "limit", "sell", 0.5, 50_000)
    bought = bob.create_order(SYMBOL, "market", "buy", 0.2)
    assert (bought["type"], bought["status"], bought["filled"], bought["average"]) == ("market", "closed", 0.2, 50_000)
    spent = bob.create_market_buy_order_with_cost(SYMBOL, 5_000)
    assert (spent["status"], spent["filled"], spent["cost"]) == ("closed", 0.1, 5_000)
    bob.create_order(SYMBOL, "limit", "buy", 0.5, 49_000)
    sold = alice.create_order(SYMBOL, "market", "sell", 0.1)
    assert (sold["status"], sold["cost"], sold["fee"]) == ("closed", 4_900, {"currency": "USDT", "cost": 4.9})
    brought = alice.create_market_sell_order_with_cost(SYMBOL, 9_800)
    assert (brought["status"], brought["filled"]) == ("closed", 0.2)


def test_post_only_rests_or_is_the_exception_for_it(clients: Pair) -> None:
    alice, bob = clients
    alice.create_order(SYMBOL, "limit", "sell", 0.1, 50_000)
    resting = bob.create_order(SYMBOL, "limit", "buy", 0.1, 49_999, {"postOnly": True})
    assert (resting["postOnly"], bob.fetch_order(resting["id"], SYMBOL)["status"]) == (True, "open")
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        bob.create_order(SYMBOL, "limit", "buy", 0.1, 50_000, {"postOnly": True})


def test_fill_or_kill(clients: Pair) -> None:
    alice, bob = clients
    alice.create_order(SYMBOL, "limit", "sell", 0.1, 50_000)
    killed = bob.create_order(SYMBOL, "limit", "buy", 0.2, 50_000, {"timeInForce": "FOK"})
    assert (killed["status"], killed["filled"]) == ("expired", 0)
    filled = bob.create_order(SYMBOL, "limit", "buy", 0.1, 50_000, {"timeInForce": "FOK"})
    assert (filled["status"], filled["filled"]) == ("closed", 0.1)


def test_all_orders_are_cancelled_with_one_call(clients: Pair) -> None:
    alice, _ = clients
    placed = [alice.create_order(SYMBOL, "limit", "buy", 0.01, 20_000 + number)["id"] for number in range(5)]
    canceled = alice.cancel_all_orders(SYMBOL)
    assert [(order["id"], order["status"]) for order in canceled] == [(order, "canceled") for order in placed]
    assert alice.fetch_open_orders(SYMBOL) == []


def test_an_order_is_edited(clients: Pair) -> None:
    """ccxt edits a spot order by cancelling it and placing another in one call."""
    alice, _ = clients
    first = alice.create_order(SYMBOL, "limit", "buy", 0.1, 20_000)
    second = alice.edit_order(first["id"], SYMBOL, "limit", "buy", 0.2, 21_000)
    assert (second["price"], second["amount"], second["status"]) == (21_000, 0.2, "open")
    assert [order["id"] for order in alice.fetch_open_orders(SYMBOL)] == [second["id"]]
    assert alice.fetch_order(first["id"], SYMBOL)["status"] == "canceled"


def test_an_order_that_would_trade_with_ones_own_is_shown_as_ended(clients: Pair) -> None:
    alice, _ = clients
    own = alice.create_order(SYMBOL, "limit", "sell", 0.1, 50_000)
    taker = alice.create_order(SYMBOL, "limit", "buy", 0.1, 50_000, {"selfTradePrevention": "EXPIRE_TAKER"})
    assert (taker["status"], taker["filled"]) == ("expired", 0)
    assert alice.fetch_order(own["id"], SYMBOL)["status"] == "open"


@pytest.mark.parametrize(
    ("mistake", "exception", "says"),
    [
        (
            lambda c: c.create_order(SYMBOL, "limit", "buy", 100, 900_000),
            ccxt.InsufficientFunds,
            "insufficient balance",
        ),
        (lambda c: c.privatePostOrder(limit_order(price="20000.001")), ccxt.InvalidOrder, "PRICE_FILTER"),
        (lambda c: c.privatePostOrder(limit_order(quantity="0.000001")), ccxt.InvalidOrder, "LOT_SIZE"),
        (lambda c: c.privatePostOrder(limit_order(price="20000.000000001")), ccxt.BadRequest, "-1111"),
        (lambda c: c.privatePostOrder(limit_order(type="MARKET")), ccxt.BadRequest, "-1106"),
        (lambda c: c.privatePostOrder(limit_order(type="STOP_LOSS")), ccxt.BadRequest, "Stop loss orders are not"),
        (lambda c: c.privatePostOrder(limit_order(symbol="DOGEUSDT")), ccxt.BadSymbol, "Invalid symbol."),
        (lambda c: c.privatePostOrder(limit_order(side="UP")), ccxt.BadRequest, "Invalid side."),
        (lambda c: c.create_order(SYMBOL, "market", "sell", 10.1), ccxt.InsufficientFunds, "insufficient balance"),
        (lambda c: c.edit_order("999999999", SYMBOL, "limit", "buy", 0.1, 20_000), ccxt.ExchangeError, "-2022"),
        (lambda c: c.cancel_all_orders(SYMBOL), ccxt.OrderNotFound, "Unknown order sent."),
        (lambda c: c.fetch_order("999999999", SYMBOL), ccxt.OrderNotFound, "Order does not exist."),
        (lambda c: c.cancel_order("999999999", SYMBOL), ccxt.OrderNotFound, "Unknown order sent."),
        (lambda c: c.publicGetDepth({"symbol": "DOGEUSDT"}), ccxt.BadSymbol, "Invalid symbol."),
        (lambda c: c.privateGetOrder({"symbol": "BTCUSDT"}), ccxt.BadRequest, "must be sent"),
        (lambda c: c.privateGetAccount({"colour": "red"}), ccxt.BadRequest, "-1104"),
    ],
)
def test_each_mistake_is_the_exception_that_a_bot_expects(
    clients: Pair, mistake: Any, exception: type[Exception], says: str
) -> None:
    clients[0].load_markets()
    with pytest.raises(exception, match=says) as raised:
        mistake(clients[0])
    assert type(raised.value) is exception


def limit_order(**change: str) -> dict[str, str]:
    terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    return {**terms, "price": "20000", **change}


def test_a_client_order_id_that_is_in_use_is_refused(clients: Pair) -> None:
    """ccxt has no exception of its own for -2010 "Duplicate order sent." of Binance: it is an InvalidOrder there."""
    alice, _ = clients
    alice.create_order(SYMBOL, "limit", "buy", 0.1, 20_000, {"clientOrderId": "twice"})
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        alice.create_order(SYMBOL, "limit", "buy", 0.1, 20_000, {"clientOrderId": "twice"})


@pytest.mark.parametrize(
    ("change", "exception", "says"),
    [
        ({"secret": "0" * 64}, ccxt.AuthenticationError, "-1022"),
        ({"apiKey": "0" * 64}, ccxt.AuthenticationError, "-2015"),
        ({"apiKey": "no key"}, ccxt.AuthenticationError, "-2014"),
    ],
)
def test_who_has_no_right_key_is_kept_out(
    exchange: Exchange, clients: Pair, change: dict[str, str], exception: type[Exception], says: str
) -> None:
    keys = {"apiKey": clients[0].apiKey, "secret": clients[0].secret, **change}
    stranger = point_at(ccxt.binance(keys), exchange.gateway.url)
    with pytest.raises(exception, match=says) as raised:
        stranger.privateGetAccount()
    assert type(raised.value) is exception
    stranger.session.close()


def test_a_clock_that_is_wrong_is_an_invalid_nonce(clients: Pair) -> None:
    client = clients[0]
    for wrong_ms in (-60_000, 60_000):
        with pytest.raises(ccxt.InvalidNonce, match="-1021"):
            client.privateGetAccount({"timestamp": client.milliseconds() + wrong_ms})


def test_too_much_is_a_rate_limit(exchange: Exchange, clients: Pair) -> None:
    key = clients[0]
    with exchange.another_gateway("--weight-per-minute", "30") as gateway:
        client = point_at(ccxt.binance({"apiKey": key.apiKey, "secret": key.secret}), gateway.url)
        with pytest.raises(ccxt.DDoSProtection, match="-1003"):
            for _ in range(20):
                client.publicGetDepth({"symbol": "BTCUSDT"})
        client.session.close()


@pytest.fixture
async def async_client(exchange: Exchange) -> AsyncIterator[Any]:
    key = await asyncio.to_thread(exchange.funded, FUNDS)
    client = ccxt.async_support.binance({"apiKey": key.api_key, "secret": key.secret})
    yield point_at(client, exchange.gateway.url)
    await client.close()


async def test_the_asynchronous_client_trades_as_well(async_client: Any) -> None:
    client = async_client
    await client.load_markets()
    assert (await client.fetch_balance())["free"]["USDT"] == 1_000_000.0
    placed = await asyncio.gather(
        *(client.create_order(SYMBOL, "limit", "buy", 0.01, 20_000 + number) for number in range(10))
    )
    orders = await client.fetch_open_orders(SYMBOL)
    assert sorted(order["id"] for order in orders) == sorted(order["id"] for order in placed)
    canceled = await asyncio.gather(*(client.cancel_order(order["id"], SYMBOL) for order in orders))
    assert {order["status"] for order in canceled} == {"canceled"}
    with pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order(placed[0]["id"], SYMBOL)
