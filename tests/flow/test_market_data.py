"""Market data from an order to a trader's screen: engine, market data, gateway as processes, clients as on PyPI."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import binance
import ccxt
import httpx
import pytest
import websockets
from binance.spot import Spot

from fixtures.exchanges import Exchange
from fixtures.gateways import GatewayProcess, Trader

pytestmark = pytest.mark.server

FUNDS = {"BTC": "100", "USDT": "10000000"}
SHOWN_S = 20.0
Socket = websockets.ClientConnection
