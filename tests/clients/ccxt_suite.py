"""ccxt's own test suite of an exchange, unchanged, pointed at a gateway: a program, run as ccxt's own `tests_init` is.

  PYTHONPATH=<folder of ccxt> python ccxt_suite.py [--sync|--ws] [--private] --info binance

`GATEWAY` in the environment is HOST:PORT. ccxt's folder must not be in site-packages, and two folders above it are
the files of which the suite reads keys and skips.
"""

import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import ccxt

sys.path.insert(0, str(Path(ccxt.__file__).parent / "test"))

helpers = importlib.import_module("tests_helpers")
Tests: Any = importlib.import_module("tests_sync" if helpers.IS_SYNCHRONOUS else "tests_async").testMainClass


def point_at(exchange: Any, gateway: str) -> None:
    """The one change that a ccxt user makes; for WebSocket there are two more addresses."""
    api = exchange.urls["api"]
    for name, old in api.items():
        if isinstance(old, str):
            api[name] = f"http://{gateway}{old.partition('.com')[2]}"
    if "ws" in api:
        api["ws"]["spot"] = f"ws://{gateway}/ws"
        api["ws"]["ws-api"]["spot"] = f"ws://{gateway}/ws-api/v3"


class Suite(Tests):  # type: ignore[misc]
    def check_constructor(self, exchange: Any) -> None:
        super().check_constructor(exchange)
        point_at(exchange, os.environ["GATEWAY"])


running = Suite().init(helpers.argvExchange, helpers.argvSymbol, helpers.argvMethod)
if not helpers.IS_SYNCHRONOUS:
    asyncio.run(running)
