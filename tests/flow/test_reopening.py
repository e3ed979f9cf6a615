"""The demo's trading on one machine: every kind of order, a Halt, and the auction that opens the market again.

Everything is real but the nodes: the Halt is applied to an API server with kubectl, the engine reads it there.
"""

import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from fixtures import trading
from fixtures.apiservers import ADMIN_TOKEN, RunningApiServer
from fixtures.databases import PostgresServer
from fixtures.engines import RunningEngine
from fixtures.exchanges import Exchange, running_exchange
from openbourse.contracts.component import Component
from openbourse.contracts.tls import client_context

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

HALT = Path(__file__).resolve().parents[2] / "gitops/exchange/halt.yaml"
FUNDS = {"BTC": "10", "USDT": "1000000"}


@pytest.fixture
def kubectl(api_server: RunningApiServer) -> list[str]:
    """The command, in a namespace of the test."""
    namespace = f"flow-{secrets.token_hex(4)}"
    subprocess.run([*api_server.command(), "create", "namespace", namespace], check=True, timeout=30)
    return [*api_server.command(), "--namespace", namespace]


@pytest.fixture
def halted_by_kubectl(
    api_server: RunningApiServer,
    kubectl: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    tls_material: Mapping[Component, Path],
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Exchange]:
    """An exchange whose engine watches the Halts of that namespace."""
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig(ADMIN_TOKEN)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    arguments = ("--halts-namespace", kubectl[-1], "--exchange", "demo")
    engine = RunningEngine(tmp_path_factory.mktemp("halted"), tls_material, arguments=arguments)
    with running_exchange(engine, postgres, "halted", accounts=2) as exchange:
        yield exchange


def test_every_kind_of_order_and_an_auction_after_a_halt_end_in_the_ledger(
    halted_by_kubectl: Exchange, kubectl: list[str]
) -> None:
    exchange = halted_by_kubectl
    keys = [exchange.funded(FUNDS), exchange.funded(FUNDS)]
    alice, bob = (trading.trader(exchange.gateway.url, key.api_key, key.secret) for key in keys)
    for step in (trading.trade_at_market, trading.post_only, trading.fill_or_kill):
        step(alice, bob)

    subprocess.run([*kubectl, "apply", "-f", HALT], check=True, timeout=30)
    trading.eventually(lambda: trading.market_status(alice) == "HALT", 20)
    said = trading.refusal(lambda: alice.create_order(trading.SYMBOL, "limit", "buy", 0.001, 10_000))
    assert said == "MarketClosed: binance Market is closed."
    trading.reopen_with_auction(
        alice, bob, lambda: subprocess.run([*kubectl, "delete", "-f", HALT], check=True, timeout=30)
    )

    total = alice.fetch_balance()["total"]
    # 0.2 at market, 0.1 filled or killed, at 50,000; 0.3 in the auction at 49,500.
    assert total["BTC"] == pytest.approx(10 - 0.6)
    assert total["USDT"] == pytest.approx(1_000_000 + (0.3 * 50_000 + 0.3 * 49_500) * 0.999)
    tls = client_context(exchange.tls_material[Component.CLI])
    reconciled = httpx.post(f"{exchange.ledger_url}/v1/reconcile", verify=tls, timeout=60).raise_for_status().json()
    assert reconciled["equal"] is True, reconciled
