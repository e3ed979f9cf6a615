"""On the cluster, while ccxt trades: engines are asked to switch over, drained, upgraded, and given a bad image; and a
market that is halted reopens.

No order that was acknowledged is lost or there twice, and the longest pause is said. One exchange for all of it:
engines on two nodes, everything else on a third.
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
from fixtures.cluster_exchanges import READY_TIMEOUT_S, ClusterExchange
from fixtures.cluster_load import wrong_in_log
from fixtures.clusters import Cluster
from fixtures.figures import Show
from fixtures.trading import eventually
from openbourse.contracts.leadership import EPOCH, IN_SYNC

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

# The chart is installed once in a cluster, so there is one such namespace.
NAMESPACE = "demo"
ENGINES, REST = ("openbourse-worker", "openbourse-worker2"), "openbourse-worker3"
PLUGIN = Path(sys.executable).with_name("kubectl-bourse")
IN_SYNC_S = 120
# A phase of reopening: longer than the operator takes to look at the engines again.
PHASE_S = 12
SEEN_S = 60
UPGRADED_S = 150
# For a machine that does more than this test.
PAUSE_MS_MOST = 5_000


@pytest.fixture(scope="module")
def exchange(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterExchange]:
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout_s=180)
    exchange = ClusterExchange(cluster, NAMESPACE, tmp_path_factory.mktemp("exchange"))
    try:
        with cluster.cordoned(*ENGINES):
            exchange.begin()
        exchange.make_keys()
        with cluster.cordoned(REST):
            exchange.apply_exchange()
        with cluster.cordoned(*ENGINES):
            for component in ("gateway", "ledger"):
                exchange.kubectl("delete", "pod", "-l", f"app.kubernetes.io/component={component}")
                exchange.kubectl("rollout", "status", "deployment", "-l", f"app.kubernetes.io/component={component}")
        exchange.deposit()
        yield exchange
    finally:
        cluster.kubectl("uncordon", *ENGINES, REST)
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def status(exchange: ClusterExchange) -> dict[str, Any]:
    found: dict[str, Any] = exchange.cluster.get("-n", NAMESPACE, "shard", "main")["status"]
    return found


def condition(exchange: ClusterExchange, name: str) -> dict[str, Any]:
    return next((each for each in status(exchange)["conditions"] if each["type"] == name), {})


def holding(exchange: ClusterExchange, name: str) -> dict[str, Any] | None:
    """The condition, if it is true."""
    found = condition(exchange, name)
    return found if found.get("status") == "True" else None


def last_take_over(exchange: ClusterExchange, epoch: int) -> dict[str, Any] | None:
    """The last one, if it began that epoch."""
    found: dict[str, Any] = status(exchange).get("lastFailover", {})
    return found if found.get("epoch") == epoch else None


def record(exchange: ClusterExchange) -> tuple[int, int]:
    """Epoch, and how many are in sync."""
    annotations = exchange.cluster.get("-n", NAMESPACE, "lease", "demo-engine-main")["metadata"]["annotations"]
    return int(annotations[EPOCH]), len(annotations[IN_SYNC].split(","))


def wait_until_in_sync(exchange: ClusterExchange) -> None:
    def holds() -> bool:
        said = status(exchange)
        return (said.get("epoch"), said.get("inSync")) == record(exchange) and said.get("inSync") == 2

    eventually(holds, IN_SYNC_S)


def expect_all_there(exchange: ClusterExchange, told: Told) -> None:
    assert told.failed == []
    assert wrong_in_log(exchange, told.acknowledged, exchange.leader()[0]) == []


def figures(told: Told, since_s: float) -> str:
    return (
        f"nobody had an acknowledgement for {told.pause_ms(since_s):.0f} ms at most, {len(told.acknowledged)} orders "
        f"by ccxt, none lost, none twice, {len(told.asked_again)} asked for again"
    )


def pods_of(exchange: ClusterExchange) -> dict[str, str]:
    found = exchange.cluster.get("-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=engine")["items"]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in found}


def test_a_person_switches_over(exchange: ClusterExchange, show: Show) -> None:
    wait_until_in_sync(exchange)
    old, _ = exchange.leader()
    with ccxt_trading(exchange) as told:
        began_s = time.monotonic()
        done = subprocess.run(
            [str(PLUGIN), "switchover", "main", "-n", NAMESPACE, "-o", "json"],
            env=exchange.cluster.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        time.sleep(1)
    said = json.loads(done.stdout)
    assert (said["old_leader"], said["new_leader"] == old) == (old, False)
    wait_until_in_sync(exchange)
    show(f"on the cluster, kubectl bourse switchover: {said['pause_ms']} ms by itself; {figures(told, began_s)}")
    expect_all_there(exchange, told)
    assert told.pause_ms(began_s) < PAUSE_MS_MOST


def test_a_drain_of_the_leaders_node_leads_to_a_switchover_first(exchange: ClusterExchange, show: Show) -> None:
    wait_until_in_sync(exchange)
    leader, node = exchange.leader()
    epoch, _ = record(exchange)
    with ccxt_trading(exchange) as told:
        began_s = time.monotonic()
        drain = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s")
        exchange.cluster.kubectl(*drain, timeout_s=100)
        time.sleep(1)
    took = eventually(lambda: last_take_over(exchange, epoch + 1), 30)
    spread = eventually(lambda: holding(exchange, "SpreadIsImpossible"), 30)
    exchange.cluster.kubectl("uncordon", node)
    wait_until_in_sync(exchange)
    show(f"on the cluster, the leader's node drained: {figures(told, began_s)}")
    assert took["planned"] is True
    assert took["leader"] != leader
    assert spread["message"].startswith(f"{leader} has no node (Unschedulable: ")
    expect_all_there(exchange, told)
    assert told.pause_ms(began_s) < PAUSE_MS_MOST


def test_a_rolling_upgrade_goes_standby_switchover_old_leader(exchange: ClusterExchange, show: Show) -> None:
    wait_until_in_sync(exchange)
    before, (epoch, _) = pods_of(exchange), record(exchange)
    resources = {"spec": {"resources": {"requests": {"cpu": "101m", "memory": "256Mi"}}}}
    with ccxt_trading(exchange) as told:
        began_s = time.monotonic()
        exchange.kubectl("patch", "shard", "main", "--type=merge", "-p", json.dumps(resources))
        eventually(lambda: not set(before.values()) & set(pods_of(exchange).values()), UPGRADED_S)
        wait_until_in_sync(exchange)
        took_s = time.monotonic() - began_s
    eventually(lambda: condition(exchange, "Upgrading")["status"] == "False", 30)
    show(f"on the cluster, a rolling upgrade in {took_s:.0f} s: {figures(told, began_s)}")
    assert record(exchange)[0] == epoch + 1, "one switchover, no other take-over"
    assert status(exchange)["lastFailover"]["planned"] is True
    expect_all_there(exchange, told)
    assert told.pause_ms(began_s) < PAUSE_MS_MOST


@pytest.mark.parametrize("phase", ["POST_ONLY", "AUCTION"])
def test_a_market_is_seen_by_kubectl_to_halt_to_reopen_step_by_step_and_to_trade(
    exchange: ClusterExchange, show: Show, phase: str
) -> None:
    name = f"reopens-{phase.lower().replace('_', '-')}"
    reopen = {"mode": phase, "seconds": PHASE_S}
    spec = {"exchange": "demo", "symbols": ["BTCUSDT"], "reason": "a wrong tick", "untilLifted": True, "reopen": reopen}
    halt = {"apiVersion": "openbourse.dev/v1alpha1", "kind": "Halt", "metadata": {"name": name}, "spec": spec}
    exchange.cluster.apply(halt, namespace=NAMESPACE)
    seen = [seen_as(exchange, "HALT", f"Halt/{name}")]
    exchange.kubectl("delete", "halt", name)
    seen += [seen_as(exchange, phase, "phase"), seen_as(exchange, "TRADING", "")]
    show(f"reopening by {phase} as kubectl get symbol shows it: {', '.join(seen)}")
    other = exchange.cluster.get("-n", NAMESPACE, "symbol", "ethusdt")["status"]
    assert (other["state"], other.get("heldBy", "")) == ("TRADING", ""), "no other market was touched"


def seen_as(exchange: ClusterExchange, state: str, held_by: str) -> str:
    """How long until the columns of `kubectl get symbol` say so, and nothing that is no step on the way."""
    began_s = time.monotonic()
    columns = "custom-columns=STATE:.status.state,HELD:.status.heldBy"
    while time.monotonic() - began_s < SEEN_S:
        found = exchange.kubectl("get", "symbol", "btcusdt", "--no-headers", "-o", columns).split()
        if found == [state, held_by or "<none>"]:
            return f"{state} after {time.monotonic() - began_s:.1f} s"
        time.sleep(0.1)
    raise AssertionError(f"not {state} by {held_by or 'nothing'} within {SEEN_S} s, but {found}")


def test_an_image_that_does_not_start_costs_one_standby_and_is_named(exchange: ClusterExchange) -> None:
    wait_until_in_sync(exchange)
    image = exchange.kubectl("get", "exchange", "demo", "-o", "jsonpath={.spec.image}")
    leader, _ = exchange.leader()
    before = pods_of(exchange)
    try:
        patch_image(exchange, "openbourse:nowhere")
        held = eventually(lambda: holding(exchange, "UpgradeIsHeld"), 90)
        assert held["reason"] == "NewPodDoesNotRun"
        (standby,) = set(before) - {leader}
        assert held["message"].startswith(f"{standby} of the new template does not run (")
        assert pods_of(exchange)[leader] == before[leader]
        exchange.cluster.wait(NAMESPACE, "shard/main", "condition=Ready")
    finally:
        patch_image(exchange, image)
    wait_until_in_sync(exchange)
    assert exchange.leader()[0] == leader
    exchange.cluster.wait(NAMESPACE, "exchange/demo", "condition=Ready", timeout_s=READY_TIMEOUT_S)


def patch_image(exchange: ClusterExchange, image: str) -> None:
    exchange.kubectl("patch", "exchange", "demo", "--type=merge", "-p", json.dumps({"spec": {"image": image}}))
