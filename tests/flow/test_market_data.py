"""Market data from an order to a trader's screen: engine, market data, gateway as processes, clients as on PyPI."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets

from fixtures.exchanges import Exchange
from fixtures.gateways import GatewayProcess, Trader
from fixtures.local_books import LocalBook, Side

pytestmark = pytest.mark.server

FUNDS = {"BTC": "100", "USDT": "10000000"}
HEARD_S = 20.0
Socket = websockets.ClientConnection


@asynccontextmanager
async def two_traders(exchange: Exchange, gateway: GatewayProcess) -> AsyncIterator[tuple[Trader, Trader]]:
    """What they leave in the book is cancelled."""
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as http:
        pair = Trader(http, exchange.funded(FUNDS)), Trader(http, exchange.funded(FUNDS))
        yield pair
        for trader in pair:
            await trader.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")


@asynccontextmanager
async def socket(gateway: GatewayProcess, path: str) -> AsyncIterator[Socket]:
    async with websockets.connect(f"ws://{gateway.address}{path}", proxy=None, max_size=None) as opened:
        yield opened


async def heard(opened: Socket, wanted: Callable[[Any], bool]) -> Any:
    """The first message that is wanted."""
    async with asyncio.timeout(HEARD_S):
        async for text in opened:
            message = json.loads(text)
            if wanted(message):
                return message
    raise AssertionError("the stream ended")


async def asked(opened: Socket, request_id: object, method: str, *parameters: object) -> Any:
    await opened.send(json.dumps({"method": method, "params": parameters, "id": request_id}))
    return await heard(opened, lambda message: isinstance(message, dict) and "id" in message)


async def trade(pair: tuple[Trader, Trader], price: str, quantity: str) -> None:
    maker, taker = pair
    for trader, side in ((maker, "SELL"), (taker, "BUY")):
        placed = await trader.place(side, quantity, price)
        assert placed.status_code == 200, placed.text


async def rows(http: httpx.AsyncClient, path: str, /, **parameters: object) -> Any:
    answer = await http.get(f"/api/v3/{path}", params={name: str(value) for name, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_answer_of_rest_shows_what_was_traded(exchange: Exchange) -> None:
    async with two_traders(exchange, exchange.gateway) as pair:
        http = pair[0].http
        async with socket(exchange.gateway, "/ws/btcusdt@trade") as stream:
            for number in range(4):
                await trade(pair, f"{50_000 + number}", "0.01")
            await heard(stream, lambda message: message["p"] == "50003.00000000")
        trades = await rows(http, "trades", symbol="BTCUSDT", limit=4)
        assert [row["price"] for row in trades] == [f"{50_000 + number}.00000000" for number in range(4)]
        assert trades[0]["quoteQty"] == "500.00000000"
        first = trades[0]["id"]
        assert await rows(http, "historicalTrades", symbol="BTCUSDT", fromId=first, limit=4) == trades
        aggregates = await rows(http, "aggTrades", symbol="BTCUSDT", limit=4)
        assert [(row["f"], row["l"]) for row in aggregates] == [(row["id"], row["id"]) for row in trades]
        since = await rows(http, "aggTrades", symbol="BTCUSDT", startTime=trades[1]["time"], limit=1000)
        assert since[-3:] == aggregates[-3:]
        candles = await rows(http, "klines", symbol="BTCUSDT", interval="1h", limit=1)
        assert candles == await rows(http, "uiKlines", symbol="BTCUSDT", interval="1h", limit=1)
        assert candles[0][4] == "50003.00000000"
        assert candles[0][6] - candles[0][0] == 3_600_000 - 1
        day = await rows(http, "ticker/24hr", symbol="BTCUSDT")
        assert (day["lastPrice"], day["lastId"], day["lastQty"]) == ("50003.00000000", first + 3, "0.01000000")
        mini = (await rows(http, "ticker/24hr", symbols='["BTCUSDT"]', type="MINI"))[0]
        assert mini["count"] == day["count"]
        assert "bidPrice" not in mini
        assert "priceChange" not in mini
        for path, more in (("ticker", {"windowSize": "2d"}), ("ticker/tradingDay", {"timeZone": "-1:00"})):
            row = await rows(http, path, symbol="BTCUSDT", **more)
            assert (row["lastPrice"], row["lastId"]) == ("50003.00000000", first + 3)
        assert await rows(http, "ticker/price", symbol="BTCUSDT") == {"symbol": "BTCUSDT", "price": "50003.00000000"}
        await pair[0].place("BUY", "0.5", "40000")
        await pair[1].place("SELL", "0.25", "60000")
        deadline = time.monotonic() + HEARD_S
        while (best := await rows(http, "ticker/bookTicker", symbol="BTCUSDT"))["askPrice"] != "60000.00000000":
            assert time.monotonic() < deadline, best
        assert (best["bidPrice"], best["bidQty"], best["askQty"]) == ("40000.00000000", "0.50000000", "0.25000000")
        assert {row["symbol"] for row in await rows(http, "ticker/price")} == {"BTCUSDT", "ETHUSDT"}
        average = await rows(http, "avgPrice", symbol="BTCUSDT")
        assert average["mins"] == 5
        assert float(day["lowPrice"]) <= float(average["price"]) <= float(day["highPrice"])


REFUSED = [
    ("trades", {}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
    ("trades", {"symbol": "NOPE"}, -1121, "Invalid symbol."),
    (
        "klines",
        {"symbol": "BTCUSDT"},
        -1102,
        "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
    ),
    ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120, "Invalid interval."),
    (
        "klines",
        {"symbol": "BTCUSDT", "interval": "1m", "timeZone": "15"},
        -1130,
        "Data sent for parameter 'timeZone' is not valid.",
    ),
    (
        "aggTrades",
        {"symbol": "BTCUSDT", "fromId": "1", "startTime": "1"},
        -1128,
        "Combination of optional parameters invalid.",
    ),
    ("ticker", {}, -1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!"),
    ("ticker", {"symbol": "BTCUSDT", "windowSize": "8d"}, -1130, "Data sent for parameter 'windowSize' is not valid."),
    (
        "ticker/24hr",
        {"symbol": "BTCUSDT", "symbols": '["ETHUSDT"]'},
        -1128,
        "Combination of optional parameters invalid.",
    ),
    ("ticker/24hr", {"symbol": "BTCUSDT", "type": "HALF"}, -1130, "Data sent for parameter 'type' is not valid."),
    ("ticker/price", {"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151, "Symbol is present multiple times in the list."),
    (
        "avgPrice",
        {"symbol": "BTCUSDT", "limit": "5"},
        -1104,
        "Not all sent parameters were read; read '1' parameter(s) but was sent '2'.",
    ),
]


@pytest.mark.parametrize(("path", "parameters", "code", "message"), REFUSED)
async def test_what_is_wrong_with_a_question_is_said_in_binances_words(
    exchange: Exchange, path: str, parameters: dict[str, str], code: int, message: str
) -> None:
    async with httpx.AsyncClient(base_url=exchange.gateway.url) as http:
        answer = await http.get(f"/api/v3/{path}", params=parameters)
    assert (answer.status_code, answer.json()["code"], answer.json()["msg"]) == (400, code, message)


WEIGHTS = [
    ("trades?symbol=BTCUSDT", 25),
    ("aggTrades?symbol=BTCUSDT", 4),
    ("klines?symbol=BTCUSDT&interval=1m", 2),
    ("ticker/24hr?symbol=BTCUSDT", 2),
    ("ticker/24hr", 80),
    ("ticker/price?symbol=BTCUSDT", 2),
    ("ticker/price", 4),
    ('ticker?symbols=["BTCUSDT","ETHUSDT"]', 8),
    ("ticker/tradingDay?symbol=BTCUSDT", 4),
]


async def test_each_question_weighs_what_it_weighs_at_binance(exchange: Exchange) -> None:
    # A gateway of its own: nobody else uses its windows.
    with exchange.another_gateway() as gateway:
        async with httpx.AsyncClient(base_url=gateway.url) as http:
            for path, weight in WEIGHTS:
                before, after = [
                    int((await http.get(f"/api/v3/{asked}")).headers["x-mbx-used-weight-1m"])
                    for asked in ("ping", path)
                ]
                # Less: another minute began.
                assert after - before == weight or after == weight, path


STREAMS = [
    *("trade", "aggTrade", "depth", "depth@100ms", "depth5", "depth10@100ms", "depth20", "bookTicker"),
    *("ticker", "miniTicker", "ticker_1h", "ticker_4h", "ticker_1d", "avgPrice"),
    *(
        f"kline_{of}"
        for of in ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
    ),
]
ALL = [*(f"btcusdt@{kind}" for kind in STREAMS), "!ticker@arr", "!miniTicker@arr", "!ticker_1h@arr"]


async def test_every_stream_tells_of_a_trade_and_a_candle_closes(exchange: Exchange) -> None:
    async with (
        two_traders(exchange, exchange.gateway) as pair,
        socket(exchange.gateway, f"/stream?streams={'/'.join(ALL)}") as stream,
    ):
        missing, closed = set(ALL), False
        await trade(pair, "50500", "0.03")
        await pair[0].place("BUY", "0.1", "40100")
        async with asyncio.timeout(HEARD_S):
            async for text in stream:
                message = json.loads(text)
                missing.discard(message["stream"])
                if message["stream"] == "btcusdt@kline_1s":
                    candle = message["data"]["k"]
                    closed = closed or (candle["x"] and candle["n"] >= 1 and candle["c"] == "50500.00000000")
                if not missing and closed:
                    return


async def test_requests_of_a_stream_connection_are_answered_as_binance_does(exchange: Exchange) -> None:
    async with socket(exchange.gateway, "/ws/0") as stream:
        assert await asked(stream, 1, "SUBSCRIBE", "btcusdt@trade", "btcusdt@depth") == {"result": None, "id": 1}
        assert (await asked(stream, 2, "LIST_SUBSCRIPTIONS"))["result"] == ["0", "btcusdt@trade", "btcusdt@depth"]
        assert await asked(stream, 3, "UNSUBSCRIBE", "btcusdt@trade", "never@heard") == {"result": None, "id": 3}
        assert await asked(stream, "four", "GET_PROPERTY", "combined") == {"result": False, "id": "four"}
    async with socket(exchange.gateway, "/ws") as stream:
        assert await asked(stream, 5, "SET_PROPERTY", "combined", True) == {"result": None, "id": 5}
        assert await asked(stream, 6, "GET_PROPERTY", "combined") == {"result": True, "id": 6}
        refusal = (await asked(stream, 7, "SET_PROPERTY", "combined", "yes"))["error"]
        assert refusal == {"code": 1, "msg": "Invalid value type: expected Boolean"}
        await stream.send("{")
        assert (await heard(stream, lambda message: "error" in message))["error"]["code"] == 3


async def test_who_sends_too_many_requests_is_let_go_with_a_reason(exchange: Exchange) -> None:
    async with socket(exchange.gateway, "/ws") as stream:
        for number in range(20):
            await stream.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            async with asyncio.timeout(HEARD_S):
                while True:
                    await stream.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
        1008,
        "Too many requests: at most 5 messages a second",
    )


async def begin(book: LocalBook, http: httpx.AsyncClient, stream: Socket) -> None:
    """Hears first, then asks."""
    first = await heard(stream, lambda message: "U" in message)
    book.begin(await rows(http, "depth", symbol="BTCUSDT", limit=5000), first)


async def follow(book: LocalBook, stream: Socket, until_id: int) -> None:
    async with asyncio.timeout(HEARD_S):
        while book.last_id < until_id:
            book.apply(json.loads(await stream.recv()))


async def churn(pair: tuple[Trader, Trader], seed: int, count: int) -> None:
    """Orders that rest, trade and go, around one price."""
    chance = random.Random(seed)  # noqa: S311
    for _ in range(count):
        trader = chance.choice(pair)
        placed = await trader.place(chance.choice(["BUY", "SELL"]), "0.001", str(45_000 + chance.randint(-40, 40)))
        assert placed.status_code == 200, placed.text
        if chance.random() < 0.4:
            await trader.call("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=placed.json()["orderId"])


@asynccontextmanager
async def trading(pair: tuple[Trader, Trader], seed: int) -> AsyncIterator[None]:
    """For as long as it is open: however late a stream begins, there is something to hear."""
    enough = asyncio.Event()

    async def until_enough() -> None:
        for more in itertools.count(seed):
            if enough.is_set():
                return
            await churn(pair, more, count=10)

    async with asyncio.TaskGroup() as group:
        group.create_task(until_enough())
        try:
            yield
        finally:
            enough.set()


async def end_book(http: httpx.AsyncClient) -> tuple[int, dict[str, Side]]:
    snapshot = await rows(http, "depth", symbol="BTCUSDT", limit=5000)
    return snapshot["lastUpdateId"], {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}


@pytest.mark.parametrize("name", ["btcusdt@depth", "btcusdt@depth@100ms", "btcusdt@depth@1000ms"])
async def test_a_book_kept_from_snapshot_and_diffs_is_the_engines(exchange: Exchange, name: str) -> None:
    async with two_traders(exchange, exchange.gateway) as pair, socket(exchange.gateway, f"/ws/{name}") as stream:
        book = LocalBook()
        async with trading(pair, seed=7):
            await begin(book, pair[0].http, stream)
        await churn(pair, seed=9, count=200)
        # However quick they were: a diff tells of a second at most.
        await asyncio.sleep(1.1)
        await churn(pair, seed=8, count=20)
        last_id, sides = await end_book(pair[0].http)
        await follow(book, stream, last_id)
    assert (book.last_id, book.sides) == (last_id, sides)
    assert book.diffs >= 2


async def test_a_book_is_kept_through_a_restart_of_the_gateway_and_of_the_market_data(exchange: Exchange) -> None:
    with exchange.another_gateway() as gateway:
        async with two_traders(exchange, exchange.gateway) as pair:
            for restart in (gateway, exchange.marketdata):
                async with trading(pair, seed=11):
                    async with socket(gateway, "/ws/btcusdt@depth@100ms") as stream:
                        book = LocalBook()
                        await begin(book, pair[0].http, stream)
                        await asyncio.to_thread(restart.kill)
                        with pytest.raises(websockets.ConnectionClosedError):
                            async with asyncio.timeout(HEARD_S):
                                while True:
                                    book.apply(json.loads(await stream.recv()))
                    await asyncio.to_thread(restart.start)
                    # A gateway stays ready without market data, and hears them again within a second or so.
                    await asyncio.to_thread(gateway.wait_for, "it hears them", lambda status: status["feeds"]["market"])
                async with socket(gateway, "/ws/btcusdt@depth@100ms") as stream:
                    again = LocalBook()
                    async with trading(pair, seed=13):
                        await begin(again, pair[0].http, stream)
                    await churn(pair, seed=17, count=100)
                    last_id, sides = await end_book(pair[0].http)
                    await follow(again, stream, last_id)
                assert (again.last_id, again.sides) == (last_id, sides)
