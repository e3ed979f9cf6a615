"""The wire before a real engine: what is placed is there, what is cancelled is gone, each error has its code."""

import asyncio
import hmac
import json
import time
from decimal import Decimal

import httpx
import pytest

from fixtures.gateways import Trader, Venue
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import committed_events

pytestmark = pytest.mark.server

Pair = tuple[Trader, Trader]


def code(answer: httpx.Response) -> tuple[int, int, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["msg"]


async def test_a_resting_order_is_in_the_book_and_its_funds_are_locked_until_it_is_cancelled(traders: Pair) -> None:
    alice, _ = traders
    placed = await alice.place("BUY", "0.5", "20000", newClientOrderId="rests")
    body = placed.json()
    assert placed.status_code == 200
    assert (body["status"], body["clientOrderId"], body["executedQty"], body["fills"]) == (
        "NEW",
        "rests",
        "0.00000000",
        [],
    )
    assert int(placed.headers["x-mbx-order-count-10s"]) >= 1
    assert int(placed.headers["x-mbx-order-count-1d"]) >= 1
    assert await alice.balance("USDT") == ("990000.00000000", "10000.00000000")
    depth = (await alice.http.get("/api/v3/depth", params={"symbol": "BTCUSDT", "limit": 5})).json()
    assert depth["bids"] == [["20000.00000000", "0.50000000"]]
    assert await alice.open_orders() == [body["orderId"]]

    canceled = await alice.call(
        "DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=body["orderId"], newClientOrderId="cancels"
    )
    ids = [canceled.json()[name] for name in ("status", "origClientOrderId", "clientOrderId", "orderId")]
    assert ids == ["CANCELED", "rests", "cancels", body["orderId"]]
    assert await alice.balance("USDT") == ("1000000.00000000", "0.00000000")
    assert (await alice.http.get("/api/v3/depth", params={"symbol": "BTCUSDT"})).json()["bids"] == []


async def test_a_fill_is_shown_with_its_trades_and_fees(traders: Pair) -> None:
    maker, taker = traders
    sold = (await maker.place("SELL", "0.5", "30000")).json()
    bought = (await taker.place("BUY", "0.2", "30010")).json()
    assert (bought["status"], bought["executedQty"], bought["cummulativeQuoteQty"]) == (
        "FILLED",
        "0.20000000",
        "6000.00000000",
    )
    [fill] = bought["fills"]
    assert {name: fill[name] for name in ("price", "qty", "commission", "commissionAsset")} == {
        "price": "30000.00000000",
        "qty": "0.20000000",
        "commission": "0.00020000",
        "commissionAsset": "BTC",
    }
    rest = (await maker.call("GET", "/api/v3/order", symbol="BTCUSDT", orderId=sold["orderId"])).json()
    assert (rest["status"], rest["executedQty"], rest["isWorking"]) == ("PARTIALLY_FILLED", "0.20000000", True)
    # 6000 less the maker's 0.1 %.
    assert await maker.balance("USDT") == ("1005994.00000000", "0.00000000")
    assert await taker.balance("BTC") == ("10.19980000", "0.00000000")


@pytest.mark.parametrize(("kind", "more"), [("ACK", False), ("RESULT", True), ("FULL", True)])
async def test_the_trader_chooses_how_much_is_shown(traders: Pair, kind: str, more: bool) -> None:
    body = (await traders[0].place("BUY", "0.5", "20000", newOrderRespType=kind)).json()
    assert ("status" in body, "fills" in body) == (more, kind == "FULL")


async def test_what_an_ioc_order_cannot_match_expires(traders: Pair) -> None:
    maker, taker = traders
    await maker.place("SELL", "0.1", "31000")
    body = (await taker.place("BUY", "0.3", "31000", timeInForce="IOC")).json()
    assert (body["status"], body["executedQty"], body["timeInForce"]) == ("EXPIRED", "0.10000000", "IOC")
    assert await taker.open_orders() == []


async def test_an_order_is_found_by_either_id_and_by_nobody_else(traders: Pair) -> None:
    alice, bob = traders
    order = (await alice.place("BUY", "0.5", "20000", newClientOrderId="find-me")).json()["orderId"]

    async def find(trader: Trader, **target: object) -> httpx.Response:
        return await trader.call("GET", "/api/v3/order", symbol="BTCUSDT", **target)

    for target in (
        {"orderId": order},
        {"origClientOrderId": "find-me"},
        {"orderId": order, "origClientOrderId": "find-me"},
    ):
        assert (await find(alice, **target)).json()["orderId"] == order
    missing = (400, -2013, "Order does not exist.")
    assert code(await find(bob, orderId=order)) == missing
    assert code(await find(alice, orderId=order + 1_000_000)) == missing
    assert code(await find(alice, origClientOrderId="other")) == missing
    assert code(await find(alice, orderId=order, origClientOrderId="other"))[1] == -2039
    assert code(await find(alice)) == (
        400,
        -1102,
        "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
    )


async def test_an_order_is_cancelled_once_and_by_its_owner(traders: Pair) -> None:
    alice, bob = traders
    order = (await alice.place("BUY", "0.5", "20000", newClientOrderId="cancel-me")).json()["orderId"]

    async def cancel(trader: Trader, **target: object) -> httpx.Response:
        return await trader.call("DELETE", "/api/v3/order", symbol="BTCUSDT", **target)

    unknown = (400, -2011, "Unknown order sent.")
    assert code(await cancel(bob, orderId=order)) == unknown
    assert code(await cancel(alice, orderId=order, origClientOrderId="other"))[1] == -2039
    assert (await cancel(alice, orderId=order, origClientOrderId="cancel-me")).json()["status"] == "CANCELED"
    assert code(await cancel(alice, origClientOrderId="cancel-me")) == unknown


async def test_money_that_is_not_there_cannot_be_spent(traders: Pair) -> None:
    refused = (400, -2010, "Account has insufficient balance for requested action.")
    assert (await traders[0].place("BUY", "1", "1000000")).status_code == 200
    assert code(await traders[1].place("BUY", "1.00001", "1000000")) == refused
    assert code(await traders[1].place("SELL", "10.00001", "1000000")) == refused
    assert await traders[1].balance("USDT") == ("1000000.00000000", "0.00000000")


async def test_of_many_orders_with_one_client_order_id_exactly_one_is_accepted(traders: Pair) -> None:
    alice, _ = traders
    answers = await asyncio.gather(*(alice.place("BUY", "0.01", "20000", newClientOrderId="once") for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 19]
    assert {code(answer) for answer in answers if answer.status_code == 400} == {(400, -2010, "Duplicate order sent.")}
    assert len(await alice.open_orders()) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"symbol": "DOGEUSDT"}, (400, -1121, "Invalid symbol.")),
        ({"price": "20000.001"}, (400, -1013, "Filter failure: PRICE_FILTER")),
        ({"quantity": "0.000001"}, (400, -1013, "Filter failure: LOT_SIZE")),
        ({"price": "1.000000001"}, (400, -1111, "Parameter 'price' has too much precision.")),
        ({"side": "UP"}, (400, -1117, "Invalid side.")),
        ({"type": "MARKET"}, (400, -1106, "Parameter 'timeInForce' sent when not required.")),
        ({"stopPrice": "1"}, (400, -1106, "Parameter 'stopPrice' sent when not required.")),
        (
            {"colour": "red"},
            (400, -1104, "Not all sent parameters were read; read '9' parameter(s) but was sent '10'."),
        ),
    ],
)
async def test_an_order_that_breaks_a_rule_is_refused_and_changes_nothing(
    traders: Pair, change: dict[str, str], expected: tuple[int, int, str]
) -> None:
    alice, _ = traders
    terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    sent = {**terms, "price": "20000", "newClientOrderId": "x", **change}
    assert code(await alice.call("POST", "/api/v3/order", **sent)) == expected
    assert code(await alice.call("POST", "/api/v3/order/test", **sent))[1] == expected[1]
    assert await alice.open_orders() == []


async def test_a_test_order_is_checked_and_not_placed(traders: Pair) -> None:
    alice, _ = traders
    terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    answer = await alice.call("POST", "/api/v3/order/test", **terms, price="20000")
    assert (answer.status_code, answer.json()) == (200, {})
    rates = await alice.call("POST", "/api/v3/order/test", **terms, price="20000", computeCommissionRates="true")
    assert rates.json()["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
    assert await alice.open_orders() == []


async def test_parameters_come_in_query_form_and_json_and_the_query_wins(traders: Pair) -> None:
    alice, _ = traders
    terms = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01"

    async def send(query: str, body: bytes, content_type: str) -> httpx.Response:
        query = f"{query}&timestamp={time.time_ns() // 1000}"
        signature = hmac.digest(alice.key.secret.encode(), query.encode() + body, "sha256").hex()
        return await alice.http.post(
            f"/api/v3/order?{query}&signature={signature}",
            content=body,
            headers={"X-MBX-APIKEY": alice.key.api_key, "Content-Type": content_type},
        )

    form = await send(terms, b"price=19000&quantity=5", "application/x-www-form-urlencoded")
    assert (form.json()["price"], form.json()["origQty"]) == ("19000.00000000", "0.01000000")
    document = json.dumps({"price": "19001", "newOrderRespType": "RESULT"}).encode()
    assert (await send(terms, document, "application/json")).json()["price"] == "19001.00000000"


async def test_times_come_in_the_unit_that_was_asked_for(traders: Pair) -> None:
    alice, _ = traders
    order = (await alice.place("BUY", "0.01", "20000")).json()
    assert abs(order["transactTime"] / 1000 - time.time()) < 60
    alice.http.headers["X-MBX-TIME-UNIT"] = "MICROSECOND"
    [row] = (await alice.call("GET", "/api/v3/openOrders", symbol="BTCUSDT")).json()
    assert row["time"] // 1000 == order["transactTime"]


async def test_exchange_info_shows_what_the_engine_lists(venue: Venue) -> None:
    async with httpx.AsyncClient(base_url=venue.gateway.url) as http:
        everything = (await http.get("/api/v3/exchangeInfo")).json()
        assert [(row["symbol"], row["status"]) for row in everything["symbols"]] == [
            ("BTCUSDT", "TRADING"),
            ("ETHUSDT", "TRADING"),
        ]
        two = await http.get("/api/v3/exchangeInfo", params={"symbols": '["ETHUSDT","BTCUSDT"]'})
        assert [row["symbol"] for row in two.json()["symbols"]] == ["ETHUSDT", "BTCUSDT"]
        one = await http.get("/api/v3/exchangeInfo", params={"symbol": "ETHUSDT", "showPermissionSets": "false"})
        assert [(row["symbol"], row["permissionSets"]) for row in one.json()["symbols"]] == [("ETHUSDT", [])]
        assert code(await http.get("/api/v3/exchangeInfo", params={"symbol": "DOGEUSDT"})) == (
            400,
            -1121,
            "Invalid symbol.",
        )


@pytest.mark.parametrize(("limit", "levels", "weight"), [(None, 3, 5), (1, 1, 5), (500, 3, 25), (9999, 3, 250)])
async def test_depth_has_as_many_levels_as_were_asked_for(
    traders: Pair, limit: int | None, levels: int, weight: int
) -> None:
    alice, _ = traders
    for price in (100, 101, 102):
        assert (await alice.place("BUY", "0.1", str(price))).status_code == 200
    parameters = {"symbol": "BTCUSDT"} if limit is None else {"symbol": "BTCUSDT", "limit": str(limit)}
    before = int((await alice.http.get("/api/v3/ping")).headers["x-mbx-used-weight-1m"])
    answer = await alice.http.get("/api/v3/depth", params=parameters)
    prices = [Decimal(price) for price, _ in answer.json()["bids"]]
    assert prices == [102, 101, 100][:levels]
    # A minute may end in between, and then its count begins anew.
    assert int(answer.headers["x-mbx-used-weight-1m"]) in {before + weight, weight}
    assert code(await alice.http.get("/api/v3/depth", params={"symbol": "BTCUSDT", "limit": "0"}))[1] == -1130
    assert code(await alice.http.get("/api/v3/depth", params={**parameters, "symbolStatus": "HALT"}))[1] == -1220


async def test_the_request_id_goes_with_the_order_to_its_events(traders: Pair, venue: Venue) -> None:
    alice, _ = traders
    alice.http.headers["X-Request-Id"] = "from-the-edge-1"
    placed = await alice.place("BUY", "0.01", "20000")
    assert placed.headers["x-request-id"] == "from-the-edge-1"
    order = placed.json()["orderId"]
    events = committed_events(
        "main", [venue.engine.address], venue.engine.client_tls(Component.LEDGER), "test", from_seq=order
    )
    async with asyncio.timeout(20):
        batch = await anext(events)
    await events.aclose()  # type: ignore[attr-defined]
    accepted = [event for event in batch.events if event.HasField("order_accepted")]
    assert accepted[0].order_accepted.order.order_id == order
    assert (accepted[0].correlation_id, accepted[0].causation_id) == ("from-the-edge-1", "from-the-edge-1")
    assert accepted[0].order_accepted.order.status == v1.OrderStatus.ORDER_STATUS_NEW


async def test_with_the_ledger_away_only_trades_are_missing(traders: Pair) -> None:
    answer = await traders[0].call("GET", "/api/v3/myTrades", symbol="BTCUSDT")
    assert (answer.status_code, answer.json()["code"]) == (503, -1001)
    assert (await traders[0].place("BUY", "0.01", "20000")).status_code == 200


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"symbol": "DOGEUSDT"}, -1121),
        ({"fromId": 1, "startTime": 1}, -1128),
        ({"orderId": 1, "endTime": 1}, -1128),
        ({"startTime": 1_700_000_000_000, "endTime": 1_700_086_400_001}, -1127),
        ({"limit": 0}, -1130),
        ({"startTime": "yesterday"}, -1100),
    ],
)
async def test_trades_that_cannot_be_asked_for_are_refused(
    traders: Pair, parameters: dict[str, object], expected: int
) -> None:
    answer = await traders[0].call("GET", "/api/v3/myTrades", **{"symbol": "BTCUSDT", **parameters})
    assert (answer.status_code, answer.json()["code"]) == (400, expected)


async def test_what_clients_ask_for_at_the_start_is_there(traders: Pair) -> None:
    alice, _ = traders
    coins = (await alice.call("GET", "/sapi/v1/capital/config/getall")).json()
    assert [(coin["coin"], coin["free"]) for coin in coins] == [
        ("BTC", "10.00000000"),
        ("ETH", "0.00000000"),
        ("USDT", "1000000.00000000"),
    ]
    assert (await alice.call("GET", "/sapi/v1/asset/tradeFee", symbol="BTCUSDT")).json() == [
        {"symbol": "BTCUSDT", "makerCommission": "0.00100000", "takerCommission": "0.00100000"}
    ]
    account = (await alice.call("GET", "/api/v3/account", omitZeroBalances="true")).json()
    assert [row["asset"] for row in account["balances"]] == ["BTC", "USDT"]
    assert (account["makerCommission"], account["uid"]) == (10, alice.key.account)
