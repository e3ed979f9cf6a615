"""Clients as they are on PyPI trade over the WebSocket API, ask for their history, and hear of their accounts."""

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ccxt
import ccxt.pro
import pytest
from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketAPI
from binance_sdk_spot.spot import Spot

from fixtures.exchanges import Exchange
from fixtures.websocket_apis import PrivateKey, ed25519, private_pem, rsa_key, signer
from openbourse.gateway.keys import Key

with warnings.catch_warnings():
    # It imports what websockets calls old.
    warnings.simplefilter("ignore", DeprecationWarning)
    import binance

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SYMBOL = "BTC/USDT"
PAIR = {"symbol": "BTCUSDT"}
LIMIT = {**PAIR, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
FUNDS = {"BTC": "10", "USDT": "1000000"}
HEARD_S = 30.0
READ_AGAIN_S = 0.6


@dataclass(frozen=True)
class Credentials:
    api_key: str
    secret: str


@pytest.fixture(scope="module")
def account(exchange: Exchange) -> Key:
    return exchange.funded(FUNDS)


@pytest.fixture(scope="module")
def credentials(exchange: Exchange, account: Key) -> dict[str, Credentials]:
    """Of each kind of key, of one account."""
    made = {"hmac": Credentials(account.api_key, account.secret)}
    private_keys: dict[str, PrivateKey] = {"ed25519": ed25519(), "rsa": rsa_key()}
    for kind, private in private_keys.items():
        key = signer(exchange.gateway.keys, account.account, private)
        made[kind] = Credentials(key.api_key, private_pem(private))
    time.sleep(READ_AGAIN_S)
    return made


def point_at(client: Any, exchange: Exchange) -> Any:
    """The one change that a ccxt user makes; for the WebSocket API there is one more address."""
    api = client.urls["api"]
    for name, old in api.items():
        if isinstance(old, str):
            api[name] = exchange.gateway.url + old.partition(".com")[2]
    if "ws" in api:
        api["ws"]["spot"] = f"ws://{exchange.gateway.address}/ws"
        api["ws"]["ws-api"]["spot"] = f"ws://{exchange.gateway.address}/ws-api/v3"
    return client


@pytest.fixture
def other(exchange: Exchange) -> Iterator[Any]:
    """Whom the account trades with."""
    key = exchange.funded(FUNDS)
    client = point_at(ccxt.binance({"apiKey": key.api_key, "secret": key.secret}), exchange)
    yield client
    for order in client.fetch_open_orders(SYMBOL):
        client.cancel_order(order["id"], SYMBOL)
    client.session.close()


@asynccontextmanager
async def ccxt_pro(exchange: Exchange, key: Credentials) -> AsyncIterator[Any]:
    client = point_at(ccxt.pro.binance({"apiKey": key.api_key, "secret": key.secret}), exchange)
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("kind", ["hmac", "ed25519", "rsa"])
async def test_ccxt_pro_trades_over_the_websocket_api(
    exchange: Exchange, credentials: dict[str, Credentials], other: Any, kind: str
) -> None:
    async with ccxt_pro(exchange, credentials[kind]) as client, asyncio.timeout(HEARD_S):
        # It sends that name beside Binance's own for it.
        named = {"clientOrderId": f"mine-{kind}"}
        placed = await client.create_order_ws(SYMBOL, "limit", "buy", 0.1, 20_000, named)
        assert (placed["status"], placed["clientOrderId"]) == ("open", f"mine-{kind}")
        assert await client.create_order_ws(SYMBOL, "limit", "buy", 0.1, 20_000, {"test": True})
        found = await client.fetch_order_ws(placed["id"], SYMBOL)
        assert (found["price"], found["amount"], found["status"]) == (20_000, 0.1, "open")
        edited = await client.edit_order_ws(placed["id"], SYMBOL, "limit", "buy", 0.2, 20_001)
        assert (edited["price"], edited["amount"], edited["status"]) == (20_001, 0.2, "open")
        assert [order["id"] for order in await client.fetch_open_orders_ws(SYMBOL)] == [edited["id"]]
        canceled = await client.cancel_order_ws(edited["id"], SYMBOL)
        assert (canceled["status"], canceled["id"]) == ("canceled", edited["id"])
        await client.create_order_ws(SYMBOL, "limit", "buy", 0.1, 20_002)
        assert len(await client.cancel_all_orders_ws(SYMBOL)) == 1
        await asyncio.to_thread(other.create_order, SYMBOL, "limit", "sell", 0.01, 30_000)
        bought = await client.create_order_ws(SYMBOL, "market", "buy", 0.01)
        assert (bought["status"], bought["filled"], bought["average"]) == ("closed", 0.01, 30_000)
        orders = await client.fetch_orders_ws(SYMBOL)
        assert [order["status"] for order in orders][-4:] == ["canceled", "canceled", "canceled", "closed"]
        assert [order["id"] for order in await client.fetch_closed_orders_ws(SYMBOL)][-1] == bought["id"]
        # It reads a futures account out of it, whatever it is; what came is beside that.
        assert float((await client.fetch_balance_ws())["info"]["balances"][0]["free"]) > 10
        assert (await client.fetch_trades_ws(SYMBOL))[-1]["price"] == 30_000
        assert (await client.fetch_ohlcv_ws(SYMBOL, "1d"))[-1][4] == 30_000
        with pytest.raises(ccxt.InsufficientFunds):
            await client.create_order_ws(SYMBOL, "limit", "buy", 9_000, 20_000)
        with pytest.raises(ccxt.OrderNotFound):
            await client.cancel_order_ws("1", SYMBOL)


async def test_ccxt_pro_hears_orders_trades_and_balances(
    exchange: Exchange, credentials: dict[str, Credentials], other: Any
) -> None:
    async with ccxt_pro(exchange, credentials["hmac"]) as client, asyncio.timeout(HEARD_S):
        await client.load_markets()
        watching = asyncio.create_task(client.watch_orders(SYMBOL))
        balances = asyncio.create_task(client.watch_balance())
        trades = asyncio.create_task(client.watch_my_trades(SYMBOL))
        await asyncio.sleep(1.0)
        placed = await client.create_order(SYMBOL, "limit", "sell", 0.2, 31_000, {"clientOrderId": "heard"})
        [order] = await watching
        assert (order["id"], order["clientOrderId"], order["status"]) == (placed["id"], "heard", "open")
        assert (await balances)["BTC"]["used"] == 0.2
        await asyncio.to_thread(other.create_order, SYMBOL, "limit", "buy", 0.05, 31_000)
        trade = (await trades)[-1]
        assert (trade["order"], trade["amount"], trade["price"], trade["takerOrMaker"]) == (
            *(placed["id"], 0.05, 31_000, "maker"),
        )
        assert trade["fee"] == {"cost": 1.55, "currency": "USDT"}
        await client.cancel_order(placed["id"], SYMBOL)
        while order["status"] != "canceled":
            order = (await client.watch_orders(SYMBOL))[-1]
        # Its name, not the cancel's.
        assert (order["id"], order["clientOrderId"], order["filled"]) == (placed["id"], "heard", 0.05)


def test_ccxt_reads_the_history_of_an_account(exchange: Exchange, other: Any) -> None:
    first = other.create_order(SYMBOL, "limit", "buy", 0.1, 20_000)
    edited = other.edit_order(first["id"], SYMBOL, "limit", "buy", 0.1, 20_001)
    other.cancel_order(edited["id"], SYMBOL)
    orders = other.fetch_orders(SYMBOL)
    assert [(order["id"], order["status"]) for order in orders] == [
        (first["id"], "canceled"),
        (edited["id"], "canceled"),
    ]
    assert [order["id"] for order in other.fetch_canceled_orders(SYMBOL)] == [first["id"], edited["id"]]
    assert other.fetch_order(first["id"], SYMBOL)["status"] == "canceled"
    since = orders[0]["timestamp"]
    assert [order["id"] for order in other.fetch_orders(SYMBOL, since=since)] == [first["id"], edited["id"]]
    assert other.fetch_orders(SYMBOL, since=since + 3_600_000) == []
    assert other.private_get_account_commission(PAIR)["standardCommission"]["maker"] == "0.00100000"
    assert int(other.private_get_ratelimit_order()[1]["count"]) >= 2


def loose(kind: str, key: Credentials) -> dict[str, Any]:
    """How python-binance and Binance's own client are given a key."""
    return {"api_secret": key.secret} if kind == "hmac" else {"private_key": key.secret}


@pytest.mark.parametrize("kind", ["hmac", "ed25519", "rsa"])
async def test_python_binance_trades_and_hears(
    exchange: Exchange, credentials: dict[str, Credentials], kind: str
) -> None:
    key = credentials[kind]
    client = binance.AsyncClient(key.api_key, **loose(kind, key))
    client.API_URL = f"{exchange.gateway.url}/api"
    client.ws_api._url = f"ws://{exchange.gateway.address}/ws-api/v3"
    manager = binance.BinanceSocketManager(client)
    try:
        async with asyncio.timeout(HEARD_S), manager.user_socket() as user:
            placed = await client.ws_create_order(**LIMIT, quantity="0.10", price="20000.00", newClientOrderId=kind)
            report = await user.recv()
            assert (report["e"], report["x"], report["i"], report["c"]) == (
                *("executionReport", "NEW", placed["orderId"], kind),
            )
            assert (await user.recv())["e"] == "outboundAccountPosition"
            assert (await client.ws_get_order(**PAIR, orderId=placed["orderId"]))["status"] == "NEW"
            replaced = await client.ws_cancel_and_replace_order(
                **LIMIT,
                **{"quantity": "0.10", "price": "20001", "cancelOrderId": placed["orderId"]},
                cancelReplaceMode="STOP_ON_FAILURE",
            )
            second = replaced["newOrderResponse"]["orderId"]
            assert [row["orderId"] for row in await client.ws_get_open_orders(**PAIR)] == [second]
            canceled = await client.ws_cancel_order(**PAIR, orderId=second, newClientOrderId="away")
            while (report := await user.recv()).get("i") != second or report["x"] != "CANCELED":
                pass
            assert (report["c"], report["C"]) == ("away", canceled["origClientOrderId"])
            everything = await client.ws_get_all_orders(**PAIR)
            assert everything == await client.get_all_orders(**PAIR)
            assert (await client.ws_get_account())["canTrade"] is True
            assert (await client.ws_get_commission_rates(**PAIR))["symbol"] == "BTCUSDT"
            assert len(await client.ws_get_account_rate_limits_orders()) == 2
            assert len(await client.get_current_order_count()) == 2
            assert await client.ws_get_prevented_matches(**PAIR, orderId=second) == []
            assert await client.get_prevented_matches(**PAIR, orderId=second) == []
            assert (await client.v3_get_account_commission(**PAIR))["symbol"] == "BTCUSDT"
            assert await client.ws_get_exchange_info(symbols=["BTCUSDT"])
            assert (await client.ws_get_order_book(**PAIR, limit=5))["lastUpdateId"] > 0
    finally:
        await client.close_connection()


async def test_python_binance_keeps_a_listen_key(exchange: Exchange, credentials: dict[str, Credentials]) -> None:
    key = credentials["hmac"]
    client = binance.AsyncClient(key.api_key, key.secret)
    client.API_URL = f"{exchange.gateway.url}/api"
    try:
        listen_key = await client.stream_get_listen_key()
        await client.stream_keepalive(listen_key)
        await client.stream_close(listen_key)
        with pytest.raises(binance.BinanceAPIException, match="This listenKey does not exist"):
            await client.stream_keepalive(listen_key)
    finally:
        await client.close_connection()


@pytest.mark.parametrize("kind", ["hmac", "ed25519", "rsa"])
async def test_binances_own_client_trades_and_hears(
    exchange: Exchange, credentials: dict[str, Credentials], tmp_path: Path, kind: str
) -> None:
    key = credentials[kind]
    config = ConfigurationWebSocketAPI(
        api_key=key.api_key, stream_url=f"ws://{exchange.gateway.address}/ws-api/v3", **loose(kind, key)
    )
    api: Any = Spot(config_ws_api=config).websocket_api
    connection = await api.create_connection()
    try:
        async with asyncio.timeout(HEARD_S):
            if kind == "ed25519":
                assert (await connection.session_logon()).data().result.api_key == key.api_key
                subscribed = await connection.user_data_stream_subscribe()
            else:
                subscribed = await connection.user_data_stream_subscribe_signature()
            heard: asyncio.Queue[Any] = asyncio.Queue()
            subscribed.stream.on("message", heard.put_nowait)
            placed = (
                (await connection.order_place(**_terms(0.1, 20_000.0), new_client_order_id=f"own-{kind}")).data().result
            )
            report = (await heard.get()).actual_instance
            assert (report.x, report.i, report.c) == ("NEW", placed.order_id, f"own-{kind}")
            status = (await connection.order_status("BTCUSDT", order_id=placed.order_id)).data().result
            assert (status.status, status.orig_qty) == ("NEW", "0.10000000")
            amended = await connection.order_amend_keep_priority("BTCUSDT", new_qty=0.05, order_id=placed.order_id)
            assert amended.data().result.amended_order.qty == "0.05000000"
            canceled = (await connection.order_cancel("BTCUSDT", order_id=placed.order_id)).data().result
            assert canceled.status == "CANCELED"
            history = (await connection.all_orders("BTCUSDT")).data().result
            assert history[-1].status == "CANCELED"
            assert (await connection.account_commission("BTCUSDT")).data().result.symbol == "BTCUSDT"
            assert (await connection.account_status()).data().result.can_trade
            assert (await connection.time()).data().result.server_time > 0
    finally:
        await connection.close_connection(close_session=True)


def _terms(quantity: float, price: float) -> dict[str, Any]:
    return {
        **{"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "time_in_force": "GTC"},
        **{"quantity": quantity, "price": price},
    }


@pytest.mark.parametrize("kind", ["hmac", "ed25519", "rsa"])
def test_binances_own_client_reads_the_history_over_rest(
    exchange: Exchange, credentials: dict[str, Credentials], kind: str
) -> None:
    key = credentials[kind]
    config = ConfigurationRestAPI(api_key=key.api_key, base_path=exchange.gateway.url, **loose(kind, key))
    api: Any = Spot(config_rest_api=config).rest_api
    placed = api.new_order(**_terms(0.1, 20_000.0)).data()
    amended = api.order_amend_keep_priority("BTCUSDT", new_qty=0.05, order_id=placed.order_id).data()
    assert amended.amended_order.qty == "0.05000000"
    replaced = api.order_cancel_replace(
        cancel_replace_mode="STOP_ON_FAILURE", cancel_order_id=placed.order_id, **_terms(0.1, 20_001.0)
    ).data()
    assert replaced.new_order_response.status == "NEW"
    assert api.delete_open_orders("BTCUSDT").data()
    history = api.all_orders("BTCUSDT").data()
    assert [order.status for order in history[-2:]] == ["CANCELED", "CANCELED"]
    assert api.account_commission("BTCUSDT").data().symbol == "BTCUSDT"
    assert len(api.rate_limit_order().data()) == 2
    assert api.my_prevented_matches("BTCUSDT", order_id=placed.order_id).data() == []
