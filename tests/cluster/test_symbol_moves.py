"""On the cluster: a shard is added to an exchange that trades, and a symbol moved there and back by `kubectl bourse`.

No order that was acknowledged is lost or there twice, in whichever shard it was; the pause is said.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.ccxt_load import Told, ccxt_trading
from fixtures.cluster_exchanges import ClusterExchange
from fixtures.cluster_load import in_log
from fixtures.clusters import Cluster
from fixtures.figures import Show
from fixtures.trading import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

NAMESPACE = "demo"
PLUGIN = Path(sys.executable).with_name("kubectl-bourse")
SHARDS = ("main", "second")
# For a machine that does more than this test.
PAUSE_MS_MOST = 10_000


@pytest.fixture(scope="module")
def exchange(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterExchange]:
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout_s=180)
    exchange = ClusterExchange(cluster, NAMESPACE, tmp_path_factory.mktemp("exchange"))
    try:
        exchange.begin()
        exchange.make_keys()
        exchange.apply_exchange(standbys=0)
        exchange.deposit()
        yield exchange
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def bourse(exchange: ClusterExchange, *words: str) -> Any:
    done = subprocess.run(
        [str(PLUGIN), *words, "-n", NAMESPACE, "-o", "json"],
        env=exchange.cluster.environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def expect_all_there(exchange: ClusterExchange, told: Told) -> None:
    """Each order in the logs of both shards is the one that was acknowledged, and no other has its name."""
    assert told.failed == []
    logs = [in_log(exchange, f"demo-engine-{shard}-0", shard) for shard in SHARDS]
    made = {name: {order for log in logs for order in log.get(name, [])} for name in told.acknowledged}
    assert {name: orders for name, orders in made.items() if orders != {told.acknowledged[name]}} == {}


def go_on(told: Told) -> None:
    before = len(told.at_s)
    eventually(lambda: len(told.at_s) > before + 20, 60)


def test_a_symbol_moves_to_a_shard_that_was_added_and_back_while_ccxt_trades(
    exchange: ClusterExchange, show: Show
) -> None:
    exchange.add_shard()
    pauses = []
    with ccxt_trading(exchange) as told:
        for target in ("second", "main"):
            began_s = time.monotonic()
            moved = bourse(exchange, "move-symbol", "BTCUSDT", "--to", target, "--yes")
            assert (moved["state"], moved["shard"]) == ("Completed", target)
            go_on(told)
            pauses.append((moved["paused_ms"], told.pause_ms(began_s)))
    expect_all_there(exchange, told)
    symbol = exchange.cluster.get("-n", NAMESPACE, "symbol", "btcusdt")
    assert symbol["status"]["shard"] == "main"
    assert max(seen_ms for _, seen_ms in pauses) < PAUSE_MS_MOST
    said = "; ".join(f"{paused} ms by the engines, {seen:.0f} ms without an acknowledgement" for paused, seen in pauses)
    show(f"on the cluster, a symbol moved away and back: {said}; {len(told.acknowledged)} orders, none lost or twice")
