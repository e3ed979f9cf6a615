"""Every kind of order, and every way to change or end one, over the wire and before a real engine."""

import asyncio
from typing import Any

import httpx
import pytest

from fixtures.gateways import Trader, Venue

pytestmark = pytest.mark.server

Pair = tuple[Trader, Trader]


def code(answer: httpx.Response) -> tuple[int, int, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["msg"]


async def placed(trader: Trader, side: str, quantity: str, price: str, **more: object) -> dict[str, Any]:
    answer = await trader.place(side, quantity, price, **more)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def market(trader: Trader, side: str, **size: str) -> httpx.Response:
    return await trader.call("POST", "/api/v3/order", symbol="BTCUSDT", side=side, type="MARKET", **size)


async def post_only(trader: Trader, side: str, quantity: str, price: str, **more: object) -> httpx.Response:
    terms = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT_MAKER", "quantity": quantity, "price": price}
    return await trader.call("POST", "/api/v3/order", **terms, **more)


async def test_a_market_order_by_quantity_takes_what_it_meets(traders: Pair) -> None:
    maker, taker = traders
    await placed(maker, "SELL", "0.1", "30000")
    await placed(maker, "SELL", "0.2", "30010")
    body = (await market(taker, "BUY", quantity="0.2")).json()
    shown = [body[name] for name in ("type", "timeInForce", "price", "status", "executedQty", "cummulativeQuoteQty")]
    assert shown == ["MARKET", "GTC", "0.00000000", "FILLED", "0.20000000", "6001.00000000"]
    assert [(fill["price"], fill["qty"]) for fill in body["fills"]] == [
        ("30000.00000000", "0.10000000"),
        ("30010.00000000", "0.10000000"),
    ]
    assert await taker.balance("USDT") == ("993999.00000000", "0.00000000")
    rest = (await market(taker, "BUY", quantity="0.2")).json()
    assert (rest["status"], rest["executedQty"]) == ("EXPIRED", "0.10000000")


async def test_a_market_order_by_amount_spends_no_more_than_that(traders: Pair) -> None:
    maker, taker = traders
    await placed(maker, "SELL", "1", "30000")
    body = (await market(taker, "BUY", quoteOrderQty="1000")).json()
    shown = [body[name] for name in ("status", "origQuoteOrderQty", "executedQty", "cummulativeQuoteQty")]
    assert shown == ["FILLED", "1000.00000000", "0.03333000", "999.90000000"]
    assert await taker.balance("USDT") == ("999000.10000000", "0.00000000")
    await placed(taker, "BUY", "1", "29000")
    sold = (await market(maker, "SELL", quoteOrderQty="2900")).json()
    assert (sold["status"], sold["executedQty"], sold["side"]) == ("FILLED", "0.10000000", "SELL")


async def test_a_market_order_that_meets_nothing_expires_and_costs_nothing(traders: Pair) -> None:
    _, taker = traders
    for size in ({"quantity": "0.1"}, {"quoteOrderQty": "1000"}):
        body = (await market(taker, "BUY", **size)).json()
        assert (body["status"], body["executedQty"], body["fills"]) == ("EXPIRED", "0.00000000", [])
    assert await taker.balance("USDT") == ("1000000.00000000", "0.00000000")


async def test_a_post_only_order_rests_or_is_refused(traders: Pair) -> None:
    maker, taker = traders
    answer = (await post_only(maker, "SELL", "0.1", "30000")).json()
    assert set(answer) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    order = (await maker.call("GET", "/api/v3/order", symbol="BTCUSDT", orderId=answer["orderId"])).json()
    assert (order["type"], order["timeInForce"], order["status"]) == ("LIMIT_MAKER", "GTC", "NEW")
    assert code(await post_only(taker, "BUY", "0.1", "30000")) == (
        400,
        -2010,
        "Order would immediately match and take.",
    )
    body = (await post_only(taker, "BUY", "0.1", "29999.99", newOrderRespType="FULL")).json()
    assert (body["status"], body["fills"]) == ("NEW", [])


async def test_fill_or_kill_is_all_or_nothing(traders: Pair) -> None:
    maker, taker = traders
    await placed(maker, "SELL", "0.1", "30000")
    await placed(maker, "SELL", "0.1", "30001")
    killed = await placed(taker, "BUY", "0.2", "30000", timeInForce="FOK")
    assert (killed["status"], killed["executedQty"], killed["timeInForce"]) == ("EXPIRED", "0.00000000", "FOK")
    filled = await placed(taker, "BUY", "0.2", "30001", timeInForce="FOK")
    assert (filled["status"], filled["executedQty"]) == ("FILLED", "0.20000000")


@pytest.mark.parametrize(
    ("mode", "taker", "maker"),
    [
        # What is not said is the symbol's: the maker goes, the taker goes on.
        (None, ("NEW", None), ("EXPIRED_IN_MATCH", "0.30000000")),
        ("EXPIRE_TAKER", ("EXPIRED_IN_MATCH", "0.20000000"), ("NEW", None)),
        ("EXPIRE_BOTH", ("EXPIRED_IN_MATCH", "0.20000000"), ("EXPIRED_IN_MATCH", "0.30000000")),
        ("DECREMENT", ("EXPIRED_IN_MATCH", "0.20000000"), ("NEW", "0.20000000")),
        ("NONE", ("FILLED", None), ("PARTIALLY_FILLED", None)),
    ],
)
async def test_an_account_trades_with_itself_as_it_asks_to(
    traders: Pair, mode: str | None, taker: tuple[str, str | None], maker: tuple[str, str | None]
) -> None:
    alice, _ = traders
    resting = await placed(alice, "SELL", "0.3", "30000")
    asked = {} if mode is None else {"selfTradePreventionMode": mode}
    body = await placed(alice, "BUY", "0.2", "30000", **asked)
    assert (body["status"], body.get("preventedQuantity")) == taker
    assert body["selfTradePreventionMode"] == (mode or "EXPIRE_MAKER")
    after = (await alice.call("GET", "/api/v3/order", symbol="BTCUSDT", orderId=resting["orderId"])).json()
    assert (after["status"], after.get("preventedQuantity")) == maker


async def test_a_cancel_may_be_restricted_to_what_the_order_is(traders: Pair) -> None:
    maker, taker = traders
    order = (await placed(maker, "SELL", "0.2", "30000"))["orderId"]

    async def cancel(restriction: str) -> httpx.Response:
        return await maker.call(
            "DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=order, cancelRestrictions=restriction
        )

    restricted = (400, -2011, "Order was not canceled due to cancel restrictions.")
    assert code(await cancel("ONLY_PARTIALLY_FILLED")) == restricted
    await placed(taker, "BUY", "0.1", "30000")
    assert code(await cancel("ONLY_NEW")) == restricted
    assert code(await cancel("ONLY_OLD")) == (400, -1145, "Invalid cancelRestrictions")
    assert (await cancel("ONLY_PARTIALLY_FILLED")).json()["status"] == "CANCELED"


async def test_all_open_orders_of_a_symbol_are_cancelled_at_once(traders: Pair) -> None:
    alice, bob = traders
    orders = [(await placed(alice, "BUY", "0.01", str(20_000 + number)))["orderId"] for number in range(30)]
    partly = await placed(alice, "SELL", "0.2", "30000")
    await placed(bob, "BUY", "0.1", "30000")
    other = await placed(alice, "BUY", "1", "1000", symbol="ETHUSDT")
    theirs = await placed(bob, "BUY", "0.1", "19000")

    answer = await alice.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    assert answer.status_code == 200, answer.text
    assert [row["orderId"] for row in answer.json()] == [*orders, partly["orderId"]]
    last = answer.json()[-1]
    assert (last["status"], last["executedQty"], last["origClientOrderId"]) == (
        "CANCELED",
        "0.10000000",
        partly["clientOrderId"],
    )
    assert await alice.open_orders() == [other["orderId"]]
    assert await bob.open_orders() == [theirs["orderId"]]
    again = await alice.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    assert code(again) == (400, -2011, "Unknown order sent.")


async def replace(trader: Trader, order: int, mode: str, **more: object) -> httpx.Response:
    terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    sent = {**terms, "price": "20000", "cancelReplaceMode": mode, "cancelOrderId": order, **more}
    return await trader.call("POST", "/api/v3/order/cancelReplace", **sent)


async def test_an_order_is_replaced_by_another(traders: Pair) -> None:
    alice, _ = traders
    old = await placed(alice, "BUY", "0.1", "19000", newClientOrderId="old")
    answer = await replace(
        alice, old["orderId"], "STOP_ON_FAILURE", newClientOrderId="new", cancelNewClientOrderId="cancel"
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["cancelResult"], body["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    cancel, new = body["cancelResponse"], body["newOrderResponse"]
    assert (cancel["status"], cancel["origClientOrderId"], cancel["clientOrderId"]) == ("CANCELED", "old", "cancel")
    assert (new["status"], new["clientOrderId"], new["price"]) == ("NEW", "new", "20000.00000000")
    assert await alice.open_orders() == [new["orderId"]]
    assert "x-mbx-order-count-10s" in answer.headers


@pytest.mark.parametrize(
    ("mode", "known", "change", "status", "expected"),
    [
        ("STOP_ON_FAILURE", False, {}, 400, (-2022, "FAILURE", "NOT_ATTEMPTED", -2011, None)),
        ("ALLOW_FAILURE", False, {}, 409, (-2021, "FAILURE", "SUCCESS", -2011, None)),
        ("ALLOW_FAILURE", False, {"quantity": "100"}, 400, (-2022, "FAILURE", "FAILURE", -2011, -2010)),
        ("STOP_ON_FAILURE", True, {"quantity": "100"}, 409, (-2021, "SUCCESS", "FAILURE", None, -2010)),
        (
            "ALLOW_FAILURE",
            True,
            {"cancelRestrictions": "ONLY_PARTIALLY_FILLED"},
            409,
            (-2021, "FAILURE", "SUCCESS", -2011, None),
        ),
    ],
)
async def test_a_replacement_that_fails_says_what_was_done(
    traders: Pair, mode: str, known: bool, change: dict[str, str], status: int, expected: tuple[object, ...]
) -> None:
    alice, _ = traders
    old = (await placed(alice, "BUY", "0.1", "19000"))["orderId"]
    answer = await replace(alice, old if known else old + 1_000_000, mode, **change)
    body = answer.json()
    data = body["data"]
    cancel, new = data["cancelResponse"], data["newOrderResponse"]
    assert answer.status_code == status
    assert (
        body["code"],
        data["cancelResult"],
        data["newOrderResult"],
        cancel.get("code"),
        new and new.get("code"),
    ) == expected


async def test_a_replacement_that_breaks_a_filter_cancels_nothing(traders: Pair) -> None:
    alice, _ = traders
    old = (await placed(alice, "BUY", "0.1", "19000"))["orderId"]
    refused = (400, -1013, "Filter failure: PRICE_FILTER")
    assert code(await replace(alice, old, "ALLOW_FAILURE", price="1.001")) == refused
    assert code(await replace(alice, old, "PERHAPS"))[1] == -1130
    assert code(await replace(alice, old, "ALLOW_FAILURE", cancelOrigClientOrderId="other"))[1] == -2039
    assert await alice.open_orders() == [old]


async def test_an_amended_order_keeps_its_place(traders: Pair) -> None:
    alice, bob = traders
    first = await placed(alice, "SELL", "0.3", "30000", newClientOrderId="before")
    second = await placed(bob, "SELL", "0.1", "30000")

    async def amend(quantity: str, **more: object) -> httpx.Response:
        sent = {"symbol": "BTCUSDT", "orderId": first["orderId"], "newQty": quantity, **more}
        return await alice.call("PUT", "/api/v3/order/amend/keepPriority", **sent)

    answer = await amend("0.2", newClientOrderId="after")
    assert answer.status_code == 200, answer.text
    order = answer.json()["amendedOrder"]
    assert (order["origClientOrderId"], order["clientOrderId"], order["qty"]) == ("before", "after", "0.20000000")
    assert await alice.balance("BTC") == ("9.80000000", "0.20000000")
    assert code(await amend("0.2")) == (400, -2038, "The requested action would change no state; rejecting.")
    assert code(await amend("0.3")) == (400, -2038, "Order amend (quantity increase) is not supported.")
    assert code(await amend("0")) == (400, -1013, "Filter failure: LOT_SIZE")
    assert code(await amend("0.1", orderId=first["orderId"] + 1_000_000)) == (400, -2038, "Unknown order sent.")
    assert code(await amend("0.1", origClientOrderId="before"))[1] == -2039
    named = await amend("0.1", origClientOrderId="after")
    assert named.json()["amendedOrder"]["clientOrderId"] not in {"before", "after"}
    bought = await bob.call(*("POST", "/api/v3/order"), symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1")
    assert bought.json()["status"] == "FILLED"
    states = {
        (await trader.call("GET", "/api/v3/order", symbol="BTCUSDT", orderId=row["orderId"])).json()["status"]
        for trader, row in ((alice, first), (bob, second))
    }
    assert states == {"FILLED", "NEW"}


async def test_of_many_replacements_of_one_order_one_cancels_it(traders: Pair) -> None:
    alice, _ = traders
    old = (await placed(alice, "BUY", "0.1", "19000"))["orderId"]
    answers = await asyncio.gather(*(replace(alice, old, "STOP_ON_FAILURE") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 9]
    assert len(await alice.open_orders()) == 1


async def test_exchange_info_names_the_filter_of_all_symbols_together(venue: Venue) -> None:
    async with httpx.AsyncClient(base_url=venue.gateway.url) as http:
        info = (await http.get("/api/v3/exchangeInfo")).json()
    assert info["exchangeFilters"] == [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 10_000}]
    assert info["symbols"][0]["orderTypes"] == ["LIMIT", "LIMIT_MAKER", "MARKET"]
