"""Clients as they are on PyPI, with nothing but their addresses changed, read the market: REST, streams, books."""

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import ccxt
import ccxt.pro
import pytest
from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_spot.spot import Spot

from fixtures.exchanges import Exchange

with warnings.catch_warnings():
    # It imports what websockets calls old.
    warnings.simplefilter("ignore", DeprecationWarning)
    import binance
    from binance.ws.depthcache import DepthCacheManager

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SYMBOL = "BTC/USDT"
FUNDS = {"BTC": "100", "USDT": "10000000"}
SHOWN_S = 20.0
PRICES = [42_000, 42_010, 42_005]


def point_at(client: Any, exchange: Exchange) -> Any:
    """The one change that a ccxt user makes, and for streams the same again."""
    for urls in (client.urls["api"], client.urls["api"].get("ws", {})):
        for name, old in urls.items():
            if isinstance(old, str):
                base = f"ws://{exchange.gateway.address}" if old.startswith("wss") else exchange.gateway.url
                path = old.partition(".com")[2].removeprefix(":9443")
                urls[name] = base + path
    return client


Pair = tuple[Any, Any]


@pytest.fixture
def traders(exchange: Exchange) -> Iterator[Pair]:
    keys = [exchange.funded(FUNDS), exchange.funded(FUNDS)]
    pair = [point_at(ccxt.binance({"apiKey": key.api_key, "secret": key.secret}), exchange) for key in keys]
    yield pair[0], pair[1]
    for client in pair:
        for order in client.fetch_open_orders(SYMBOL):
            client.cancel_order(order["id"], SYMBOL)
        client.session.close()


def trade(traders: Pair, price: float, amount: float = 0.01) -> None:
    traders[0].create_order(SYMBOL, "limit", "sell", amount, price)
    traders[1].create_order(SYMBOL, "limit", "buy", amount, price)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SHOWN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def traded(traders: Pair) -> Any:
    """Some trades that are shown; the client that asked for them."""
    for price in PRICES:
        trade(traders, price)
    client = traders[0]
    until(lambda: bool(client.fetch_trades(SYMBOL)[-1]["price"] == PRICES[-1]))
    return client


def test_ccxt_reads_all_of_it(traders: Pair) -> None:
    client = traded(traders)
    traders[0].create_order(SYMBOL, "limit", "sell", 0.5, 43_000)
    traders[1].create_order(SYMBOL, "limit", "buy", 0.25, 41_000)
    # ccxt's trades are aggregate ones.
    assert [row["price"] for row in client.fetch_trades(SYMBOL, limit=3)] == PRICES
    trades = client.fetch_trades(SYMBOL, limit=3, params={"fetchTradesMethod": "publicGetTrades"})
    assert [(row["price"], row["amount"], row["cost"]) for row in trades] == [
        (price, 0.01, price / 100) for price in PRICES
    ]
    until(lambda: bool(client.fetch_ticker(SYMBOL)["ask"] == 43_000))
    ticker = client.fetch_ticker(SYMBOL)
    assert (ticker["last"], ticker["bid"], ticker["bidVolume"], ticker["askVolume"]) == (42_005, 41_000, 0.25, 0.5)
    assert client.fetch_tickers([SYMBOL])[SYMBOL]["last"] == 42_005
    assert client.fetch_last_prices([SYMBOL])[SYMBOL]["price"] == 42_005
    assert client.fetch_bids_asks([SYMBOL])[SYMBOL]["ask"] == 43_000
    assert client.fetch_order_book(SYMBOL)["asks"][0] == [43_000, 0.5]
    for timeframe in client.timeframes:
        candles = client.fetch_ohlcv(SYMBOL, timeframe, limit=2 if timeframe != "1s" else 1000)
        assert max(candle[2] for candle in candles) >= 42_010, timeframe
        assert candles[-1][4] == 42_005, timeframe


@pytest.fixture
def loop_of_its_own() -> Iterator[None]:
    """python-binance makes one where there is none, and leaves it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.usefixtures("loop_of_its_own")
def test_python_binance_reads_all_of_it(traders: Pair, exchange: Exchange) -> None:
    traded(traders)
    client = binance.Client(ping=False)
    client.API_URL = f"{exchange.gateway.url}/api"
    pair = {"symbol": "BTCUSDT"}
    trades = client.get_recent_trades(**pair, limit=3)
    assert [float(row["price"]) for row in trades] == PRICES
    assert client.get_historical_trades(**pair, fromId=trades[0]["id"]) == trades
    assert [row["f"] for row in client.get_aggregate_trades(**pair, limit=3)] == [row["id"] for row in trades]
    assert float(client.get_klines(**pair, interval="1M")[-1][4]) == 42_005
    assert float(client.get_ui_klines(**pair, interval="1d")[-1][4]) == 42_005
    assert client.get_historical_klines("BTCUSDT", "1m", "1 hour ago UTC")
    assert list(client.aggregate_trade_iter("BTCUSDT", last_id=trades[0]["id"] - 1))
    assert float(client.get_avg_price(**pair)["price"]) > 0
    assert float(client.get_ticker(**pair)["lastPrice"]) == 42_005
    assert {row["symbol"] for row in client.get_all_tickers()} == {"BTCUSDT", "ETHUSDT"}
    assert float(client.get_symbol_ticker(**pair)["price"]) == 42_005
    assert client.get_orderbook_ticker(**pair)["symbol"] == "BTCUSDT"
    assert len(client.get_orderbook_tickers()) == 2
    assert client.get_symbol_ticker_window(**pair, windowSize="7d")["lastId"] == trades[-1]["id"]
    assert client.v3_get_ticker_trading_day(**pair)["lastId"] == trades[-1]["id"]
    client.close_connection()


def test_binances_own_client_reads_all_of_it(traders: Pair, exchange: Exchange) -> None:
    traded(traders)
    # Its answers are unions of all that Binance may say.
    api: Any = Spot(config_rest_api=ConfigurationRestAPI(base_path=exchange.gateway.url)).rest_api
    last_id = api.get_trades("BTCUSDT").data()[-1].id
    assert api.historical_trades("BTCUSDT", limit=1).data()[0].id == last_id
    assert api.agg_trades("BTCUSDT", limit=1).data()[0].l == last_id
    for interval in ("1s", "1m", "1w", "1M"):
        assert float(api.klines("BTCUSDT", interval).data()[-1][4]) == 42_005
        assert float(api.ui_klines("BTCUSDT", interval).data()[-1][4]) == 42_005
    assert api.avg_price("BTCUSDT").data().mins == 5
    assert api.ticker24hr(symbol="BTCUSDT").data().actual_instance.last_id == last_id
    assert api.ticker_trading_day(symbol="BTCUSDT").data().actual_instance.last_id == last_id
    assert api.ticker(symbol="BTCUSDT").data().actual_instance.last_id == last_id
    assert float(api.ticker_price(symbol="BTCUSDT").data().actual_instance.price) == 42_005
    assert api.ticker_book_ticker(symbol="BTCUSDT").data().actual_instance.symbol == "BTCUSDT"


@asynccontextmanager
async def ccxt_pro(exchange: Exchange) -> AsyncIterator[Any]:
    client = point_at(ccxt.pro.binance(), exchange)
    try:
        yield client
    finally:
        await client.close()


async def some_trading(traders: Pair, count: int) -> None:
    """Levels that come and go, and trades, from two accounts."""

    def work() -> None:
        for number in range(count):
            price = 42_500 + number % 17
            order = traders[0].create_order(SYMBOL, "limit", "sell", 0.01, price)
            if number % 3 == 0:
                traders[1].create_order(SYMBOL, "limit", "buy", 0.005, price)
            if number % 4 == 0:
                traders[0].cancel_order(order["id"], SYMBOL)
            traders[1].create_order(SYMBOL, "limit", "buy", 0.001, 41_500 - number % 13)

    await asyncio.to_thread(work)


async def test_ccxt_pro_follows_a_book_trades_tickers_and_candles(traders: Pair, exchange: Exchange) -> None:
    async with ccxt_pro(exchange) as client, asyncio.timeout(100):
        await client.watch_order_book(SYMBOL)
        watching = [
            asyncio.create_task(watch(SYMBOL))
            for watch in (client.watch_trades, client.watch_ticker, client.watch_ohlcv)
        ]
        await asyncio.sleep(0.5)
        await some_trading(traders, 60)
        await asyncio.gather(*watching)
        end = await asyncio.to_thread(traders[0].fetch_order_book, SYMBOL, 1000)
        while (book := client.orderbooks[SYMBOL])["nonce"] < end["nonce"]:
            await client.watch_order_book(SYMBOL)
        assert (list(map(list, book["bids"])), list(map(list, book["asks"]))) == (end["bids"], end["asks"])


async def test_python_binance_follows_a_book_and_its_streams(traders: Pair, exchange: Exchange) -> None:
    client = binance.AsyncClient()
    client.API_URL = f"{exchange.gateway.url}/api"
    manager = binance.BinanceSocketManager(client)
    manager.STREAM_URL = f"ws://{exchange.gateway.address}/"
    try:
        async with asyncio.timeout(100):
            cache_manager = DepthCacheManager(client, "BTCUSDT", bm=manager)
            async with (
                cache_manager as books,
                manager.multiplex_socket(["btcusdt@trade", "btcusdt@kline_1m"]) as streams,
            ):
                trading = asyncio.create_task(some_trading(traders, 60))
                heard = set[str]()
                while len(heard) < 2:
                    heard.add((await streams.recv())["stream"])
                cache = await books.recv()
                await trading
                end = await asyncio.to_thread(traders[0].fetch_order_book, SYMBOL, 1000)
                deadline = time.monotonic() + SHOWN_S
                while (cache.get_bids(), cache.get_asks()) != (end["bids"], end["asks"]):
                    assert time.monotonic() < deadline
                    cache = await books.recv() or cache
    finally:
        await client.close_connection()


async def test_binances_own_client_hears_streams(traders: Pair, exchange: Exchange) -> None:
    config = ConfigurationWebSocketStreams(stream_url=f"ws://{exchange.gateway.address}", reconnect_delay=100)
    streams: Any = Spot(config_ws_streams=config).websocket_streams
    connection = await streams.create_connection()
    try:
        heard: asyncio.Queue[Any] = asyncio.Queue()
        (await connection.agg_trade(symbol="btcusdt")).on("message", heard.put_nowait)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(trade, traders, 42_200)
        async with asyncio.timeout(SHOWN_S):
            assert float((await heard.get()).p) == 42_200
    finally:
        await connection.close_connection(close_session=True)
