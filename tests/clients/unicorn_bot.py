"""What a bot with the unicorn-binance packages does in a minute, with nothing but its addresses changed.

Says what it saw as JSON; ends with 1 when something is not so. Arguments: host:port, API key, secret. Its managers have
threads and loops of their own, which is why it is a process of its own.
"""

import json
import os
import queue
import sys
import time
from collections.abc import Callable
from typing import Any

from unicorn_binance_local_depth_cache import BinanceLocalDepthCacheManager
from unicorn_binance_rest_api import BinanceRestApiManager
from unicorn_binance_websocket_api import BinanceWebSocketApiManager

PAIR = "BTCUSDT"
WITHIN_S = 40.0
AT, API_KEY, SECRET = (sys.argv[1:] + [""] * 3)[:3]
TERMS = {"symbol": PAIR, "side": "BUY", "timeInForce": "GTC", "type": "LIMIT"}
QUIET = {"exchange": "binance.com", "warn_on_update": False, "disable_colorama": True}


class Rest(BinanceRestApiManager):  # type: ignore[misc]
    """It asks for the time while it is made, so that its address is changed within."""

    def _init_session(self) -> Any:
        self.API_URL = f"http://{AT}/api"
        return super()._init_session()


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {WITHIN_S:g} s: {what}"
        time.sleep(0.05)


def heard(told: "queue.Queue[Any]", wanted: Callable[[Any], bool]) -> Any:
    while True:
        message = told.get(timeout=WITHIN_S)
        if wanted(message):
            return message


def rest(client: Rest) -> None:
    assert client.ping() == {}
    assert [row["symbol"] for row in client.get_exchange_info()["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    placed = client.create_order(**TERMS, quantity="0.01", price="20000", newClientOrderId="unicorn-rest")
    assert client.get_order(symbol=PAIR, origClientOrderId="unicorn-rest")["orderId"] == placed["orderId"]
    assert [row["orderId"] for row in client.get_open_orders(symbol=PAIR)] == [placed["orderId"]]
    assert client.cancel_order(symbol=PAIR, orderId=placed["orderId"])["status"] == "CANCELED"
    assert client.get_account()["canTrade"] is True


def account(manager: Any) -> None:
    told: queue.Queue[Any] = queue.Queue()
    keys = {"api_key": API_KEY, "api_secret": SECRET, "output": "dict"}
    hearing = manager.create_stream("arr", "!userData", process_stream_data=told.put, **keys)
    api = manager.create_stream(api=True, process_stream_data=lambda _: None, **keys)
    until(lambda: manager.get_stream_info(hearing)["status"] == "running", "its user stream runs")
    until(lambda: manager.get_stream_info(api)["status"] == "running", "its WebSocket API runs")
    # Its subscription goes out behind that.
    time.sleep(0.5)
    terms = {"symbol": PAIR, "side": "BUY", "order_type": "LIMIT", "time_in_force": "GTC"}
    name, answer = manager.api.spot.create_order(
        **terms, stream_id=api, price=20000.0, quantity=0.01, new_client_order_id="unicorn-ws", return_response=True
    )
    assert (name, answer["status"]) == ("unicorn-ws", 200), answer
    report = heard(told, lambda event: event.get("event", event).get("c") == "unicorn-ws")
    report = report.get("event", report)
    assert (report["e"], report["x"], report["i"]) == ("executionReport", "NEW", answer["result"]["orderId"])
    canceled = manager.api.spot.cancel_order(
        stream_id=api, symbol=PAIR, orig_client_order_id="unicorn-ws", return_response=True
    )
    assert canceled["status"] == 200, canceled
    heard(told, lambda event: event.get("event", event).get("x") == "CANCELED")
    for stream in (hearing, api):
        manager.stop_stream(stream)


def book(client: Rest) -> dict[str, int]:
    """Its local depth cache, while orders come and go, and the engine's at its end."""
    caches = BinanceLocalDepthCacheManager(
        **QUIET, ubra_manager=client, depth_cache_update_interval=100, init_interval=0.2
    )
    caches.ubwa.websocket_base_uri = f"ws://{AT}/"
    try:
        assert caches.create_depthcache(markets=PAIR)
        # Something has to happen, for it begins with a diff.
        for number in range(400):
            placed = client.create_order(
                **{**TERMS, "side": "BUY" if number % 2 else "SELL"},
                quantity="0.01",
                price=str(20_000 - number if number % 2 else 60_000 + number),
            )
            if number % 3:
                client.cancel_order(symbol=PAIR, orderId=placed["orderId"])
            if number > 100 and caches.is_depth_cache_synchronized(market=PAIR):
                break
            time.sleep(0.02)
        until(lambda: caches.is_depth_cache_synchronized(market=PAIR), "its depth cache is there")
        end = client.get_order_book(symbol=PAIR, limit=1000)
        sides = [[[float(word) for word in row] for row in end[side]] for side in ("bids", "asks")]
        until(
            lambda: [[list(row) for row in side] for side in (caches.get_bids(PAIR), caches.get_asks(PAIR))] == sides,
            f"its depth cache is the engine's at {end['lastUpdateId']}",
        )
        client.cancel_all_open_orders(symbol=PAIR)
        return {"levels": len(sides[0]) + len(sides[1]), "lastUpdateId": end["lastUpdateId"]}
    finally:
        caches.stop_manager()


def main() -> None:
    client = Rest(API_KEY, SECRET, **QUIET)
    rest(client)
    manager = BinanceWebSocketApiManager(
        **QUIET,
        ubra_manager=client,
        websocket_base_uri=f"ws://{AT}/",
        websocket_api_base_uri=f"ws://{AT}/ws-api/v3",
    )
    try:
        account(manager)
        # It stops the client for REST with itself.
        seen = book(client)
    finally:
        manager.stop_manager()
    print(json.dumps({"book": seen}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
    # Its threads would take some seconds more.
    os._exit(0)
