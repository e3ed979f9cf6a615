"""Orders on the cluster while the PostgreSQL of their ledger fails: settlement waits, goes on, and has all of it once.

The primary's node has nothing else of the exchange, so what stands when it is lost is the settlement alone.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from fixtures.cluster_exchanges import ClusterExchange
from fixtures.cluster_load import under_load, wrong_in_log
from fixtures.cluster_postgresql import POSTGRESQL, frozen, node_of, promote
from fixtures.clusters import Cluster
from fixtures.figures import Show
from fixtures.trading import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

# The chart is installed once in a cluster, so there is one such namespace.
NAMESPACE = "demo"
OPERATORS, SERVERS = "openbourse-worker3", ("openbourse-worker", "openbourse-worker2")
LEDGER_STATUS = 7101
FROZEN_S = 4.0
SETTLED_S = 120.0
# Less than it takes to copy a database, more than any batch.
STOOD_S_LEAST = 2.0
CLOSED = "the shard's safety level is"
CHAIN = "select string_agg(batch || ' ' || encode(head, 'hex'), ',' order by batch) from ledger.batches"


@dataclass
class Settled:
    """What the ledger said of itself, as often as it was asked: when, up to which seq, and how far the engine was."""

    said: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def seq(self) -> int:
        return self.said[-1][1]

    def stood_s(self, since_s: float) -> float:
        """The longest time without a step forward that ended after `since_s`."""
        steps = [later for sooner, later in itertools.pairwise(self.said) if later[1] > sooner[1]]
        gaps = [later[0] - sooner[0] for sooner, later in itertools.pairwise(steps) if later[0] > since_s]
        return max(gaps, default=0.0)


@contextlib.contextmanager
def watched(exchange: ClusterExchange) -> Iterator[Settled]:
    settled, stop = Settled(), threading.Event()

    def watch(port: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5) as http:
            while not stop.is_set():
                with contextlib.suppress(httpx.TransportError):
                    status: dict[str, Any] = http.get("/status").json()
                    settled.said.append((time.monotonic(), status["watermark_seq"], status["engine_committed_seq"]))
                stop.wait(0.05)

    pod = exchange.kubectl("get", "pod", "-l", "app.kubernetes.io/component=ledger", "-o", "name").strip()
    with exchange.forwarded(exchange.namespace, pod, LEDGER_STATUS) as port:
        watching = threading.Thread(target=watch, args=(port,), daemon=True)
        watching.start()
        try:
            eventually(lambda: settled.said, 20)
            yield settled
        finally:
            stop.set()
            watching.join(10)


@pytest.fixture(scope="module")
def exchange(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterExchange]:
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout_s=180)
    made = ClusterExchange(cluster, NAMESPACE, tmp_path_factory.mktemp("exchange"))
    try:
        with cluster.cordoned(*SERVERS):
            made.install_operator()
        with cluster.cordoned(OPERATORS):
            made.start_postgresql()
        made.make_keys()
        with cluster.cordoned(node_of(cluster, NAMESPACE, made.primary())):
            made.apply_exchange()
        made.deposit()
        yield made
    finally:
        cluster.up()
        cluster.kubectl("uncordon", *SERVERS)
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def wait_until_all_is_settled(settled: Settled) -> None:
    eventually(lambda: settled.said[-1][1] == settled.said[-1][2], SETTLED_S)


def test_while_the_standby_is_frozen_nothing_is_settled_and_orders_go_on(exchange: ClusterExchange) -> None:
    with watched(exchange) as settled:
        with under_load(exchange) as load:
            with frozen(exchange.cluster, NAMESPACE, POSTGRESQL[1]):
                # What had its answer already is told a moment later.
                time.sleep(1)
                stands_at, orders = settled.seq, len(load.at_s)
                time.sleep(FROZEN_S)
                assert settled.seq == stands_at
                assert settled.said[-1][2] > stands_at
                assert len(load.at_s) > orders
            eventually(lambda: settled.seq > stands_at, SETTLED_S)
        wait_until_all_is_settled(settled)
    assert load.unanswered == {}


def test_a_lost_primary_loses_nothing_that_was_settled_and_its_promoted_standby_settles_on(
    exchange: ClusterExchange, show: Show
) -> None:
    old, new = exchange.primary(), POSTGRESQL[1]
    node, volume = node_of(exchange.cluster, NAMESPACE, old), uid_of_volume(exchange, old)
    with watched(exchange) as settled:
        with under_load(exchange) as load:
            before = exchange.sql(CHAIN)
            began_s = time.monotonic()
            exchange.cluster.docker("kill", node)
            steps = promote(exchange.cluster, NAMESPACE, "--the-old-node-is-off", new)
            eventually(lambda: settled.stood_s(began_s) > STOOD_S_LEAST, SETTLED_S)
            stood_s, orders = settled.stood_s(began_s), len(load.at_s)
            eventually(lambda: len(load.at_s) > orders, SETTLED_S)
        wait_until_all_is_settled(settled)
    show(f"on the cluster, PostgreSQL's node lost and its standby promoted at once: settlement stood {stood_s:.1f} s")
    show(f"of which the script: {', '.join(steps.splitlines())}")
    # What the engine does when its ledger is 15 s behind; before that nothing is refused, and after it neither.
    assert all(CLOSED in said for said in load.unanswered.values()), load.unanswered
    assert exchange.primary() == new
    assert uid_of_volume(exchange, old) != volume, "a node that is lost may keep its volume"
    assert exchange.sql(CHAIN).startswith(f"{before},"), "what was settled is not there as it was"
    assert exchange.sql("select count(*) - count(distinct trade_id) from ledger.trades") == "0"
    assert wrong_in_log(exchange, load.acknowledged, exchange.leader()[0]) == []
    with exchange.ledger() as options:
        assert "equal" in exchange.openbourse("ledger", "reconcile", *options)


def uid_of_volume(exchange: ClusterExchange, pod: str) -> str:
    return exchange.kubectl("get", "pvc", f"data-{pod}", "-o", "jsonpath={.metadata.uid}")
