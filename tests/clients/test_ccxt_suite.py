"""ccxt's own test suite of an exchange, unchanged, against the whole exchange: sync, async, WebSocket; public, private.

Its exit code is 0 whatever happened: what counts is what it says. All run at the same time, in a busy market.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import ccxt
import pytest

from fixtures.busy_markets import Crowd, trading
from fixtures.exchanges import Exchange
from fixtures.figures import Show
from openbourse.gateway.keys import Key

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]

PROGRAM = Path(__file__).with_name("ccxt_suite.py")
FUNDS = {"BTC": "10", "ETH": "100", "USDT": "1000000"}
ENDED_S = 240.0

# What is not tested, and why: all of it is outside of a spot exchange's API of orders, account and market.
SKIPPED = {
    "fetchLeverageTiers": "leverage is of futures",
    "fetchMarginModes": "margin modes are of futures",
    "fetchBorrowInterest": "nothing is lent",
    "fetchTransfers": "there are no other wallets to transfer to",
    "fetchDeposits": "deposits are the ledger's, not of the trading API",
    "fetchWithdrawals": "withdrawals are the ledger's, not of the trading API",
    "watchPositions": "positions are of futures",
    # Its parser leaves that fee as the text that came, as it does with Binance's.
    "watchOrders": "ccxt does not take the fee in a trade's report: tested with an account that does not trade",
}
# Of methods that are tested, what is not looked at.
NOT_LOOKED_AT = {"orderBook": {"timestamp": "a spot book has no time, as at Binance"}}
# A spot exchange: ccxt would look for markets of other kinds.
HAS = {"swap": False, "future": False, "option": False}

RAN = {
    "--sync": {
        *("loadMarkets", "features", "afterConstruct", "fetchCurrencies", "fetchTicker", "fetchTickers"),
        *("fetchLastPrices", "fetchOHLCV", "fetchTrades", "fetchOrderBook", "fetchStatus", "fetchBalance"),
        *("fetchTransactionFees", "fetchTradingFees", "fetchOrders", "fetchOpenOrders", "fetchClosedOrders"),
        *("fetchMyTrades",),
    },
    "--ws": {
        *("loadMarkets", "watchOHLCV", "watchOHLCVForSymbols", "watchTicker", "watchTickers", "watchBidsAsks"),
        *("watchOrderBook", "watchOrderBookForSymbols", "watchTrades", "watchTradesForSymbols"),
        *("watchBalance", "watchMyTrades"),
    },
    "--ws of who does not trade": {"loadMarkets", "watchOrders"},
}
RAN["--async"] = RAN["--sync"]
OPTIONS = {"--sync": ["--sync"], "--async": [], "--ws": ["--ws"], "--ws of who does not trade": ["--ws"]}


def laid_out(folder: Path, key: Key, skipped: Mapping[str, object]) -> Path:
    """ccxt where its suite lets itself be run, with the files that it reads; the folder for PYTHONPATH."""
    installed, package = Path(ccxt.__file__).parent, folder / "python" / "ccxt"
    package.mkdir(parents=True)
    for part in installed.iterdir():
        if part.name not in ("test", "__pycache__"):
            (package / part.name).symlink_to(part)
    # It finds its files by the way up from here.
    shutil.copytree(installed / "test", package / "test")
    settings = {"apiKey": key.api_key, "secret": key.secret, "has": HAS}
    (folder / "keys.local.json").write_text(json.dumps({"binance": settings}))
    (folder / "skip-tests.json").write_text(json.dumps({"binance": {"skipMethods": {**skipped, **NOT_LOOKED_AT}}}))
    return package.parent


@pytest.fixture(scope="module")
def said(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """What the suite printed, each time that it ran."""
    crowd = Crowd(*(exchange.funded(FUNDS) for _ in range(3)))
    folder, running = tmp_path_factory.mktemp("ccxt"), dict[str, subprocess.Popen[str]]()
    with trading(exchange.gateway.url, crowd, ("BTCUSDT", "ETHUSDT")):
        for kind, options in OPTIONS.items():
            trades = kind in ("--sync", "--async", "--ws")
            skipped = SKIPPED if trades else {name: why for name, why in SKIPPED.items() if name != "watchOrders"}
            path = laid_out(folder / kind, crowd.maker if trades else crowd.bystander, skipped)
            running[kind] = subprocess.Popen(
                [
                    sys.executable,
                    PROGRAM,
                    *options,
                    "--private",
                    "--info",
                    "binance",
                    *([] if trades else ["watchOrders()"]),
                ],
                env={**os.environ, "PYTHONPATH": str(path), "GATEWAY": str(exchange.gateway.address)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            printed = {kind: process.communicate(timeout=ENDED_S)[0] for kind, process in running.items()}
        finally:
            for process in running.values():
                process.kill()
                process.wait()
    yield printed


@pytest.mark.parametrize("kind", OPTIONS)
def test_no_test_of_ccxts_suite_fails(said: Mapping[str, str], kind: str, show: Show) -> None:
    printed = said[kind]
    # A warning is a test that could not be done.
    assert "[TEST_FAILURE]" not in printed and "[TEST_WARNING]" not in printed, printed[-8_000:]

    def methods(what: str) -> set[str]:
        return set(re.findall(rf"^\[INFO\] {what} +binance (\w+)", printed, re.MULTILINE))

    ran = methods("TESTING DONE")
    assert ran == RAN[kind], printed[-8_000:]
    skipped = methods("SKIPPED_TEST")
    assert skipped <= set(SKIPPED)
    show(f"ccxt {ccxt.__version__} suite {kind}: 0 failures of {len(ran)} methods: {', '.join(sorted(ran))}")
    show(f"  skipped: {', '.join(f'{name} ({SKIPPED[name]})' for name in sorted(skipped)) or 'none'}")
    unsupported = methods("UNSUPPORTED_TEST") | methods("NOT_SUPPORTED")
    show(f"  not of Binance in ccxt: {', '.join(sorted(unsupported))}")
    show(f"  without a test in ccxt: {', '.join(sorted(methods('UNIMPLEMENTED_TEST')))}")
