"""`kubectl bourse switchover`: whom it names and when it names nobody; and on real engines, without an operator."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest

from fixtures.apiservers import ADMIN_TOKEN
from fixtures.bourses import Cluster
from fixtures.engines import EngineFactory, make_tls_material
from fixtures.members import RunningShard
from fixtures.operator_worlds import a_shard
from fixtures.processes import free_address
from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.switching import epoch_of, successor
from openbourse.contracts.component import Component
from openbourse.contracts.leadership import EPOCH, LEASE, unfounded
from openbourse.contracts.resources import EngineShard
from openbourse.contracts.session import Address

PODS = ("demo-engine-main-0", "demo-engine-main-1", "demo-engine-main-2")


def shard_with(*in_sync: bool, leader: str | None = PODS[0]) -> EngineShard:
    members = [
        {"pod": pod, "role": "leader" if pod == leader else "standby", "inSync": fit, "committedSeq": 100 + number}
        for number, (pod, fit) in enumerate(zip(PODS, in_sync, strict=False))
    ]
    status = {"leader": leader, "members": members, "record": "demo-engine-main"}
    return EngineShard.model_validate(a_shard().model_dump(by_alias=True) | {"status": status})


def test_the_standby_in_sync_that_has_most_is_named() -> None:
    assert successor(shard_with(True, True, True), None) == PODS[2]
    assert successor(shard_with(True, True, False), None) == PODS[1]
    assert successor(shard_with(True, True, True), PODS[1]) == PODS[1]


@pytest.mark.parametrize(
    ("shard", "to", "sentence"),
    [
        (shard_with(True, False), None, "no standby is in sync (demo-engine-main-1 is standby)"),
        (shard_with(True), None, "no standby is in sync (it has no other engine)"),
        (shard_with(True, True, True), PODS[0], "demo-engine-main-0 leads already"),
        (shard_with(True, True, False), PODS[2], "is no standby in sync; --to may be demo-engine-main-1"),
        (shard_with(True, True, leader=None), None, "nobody is known to lead"),
    ],
)
def test_nobody_is_named_with_a_reason(shard: EngineShard, to: str | None, sentence: str) -> None:
    with pytest.raises(NotDone) as raised:
        successor(shard, to)
    assert sentence in str(raised.value)


def test_the_epoch_is_of_the_record() -> None:
    assert epoch_of(shard_with(True), {"metadata": {"annotations": {EPOCH: "7"}}}) == 7
    for lease, sentence in ((None, "is not there"), (unfounded("main"), "nobody has led it yet")):
        with pytest.raises(NotDone, match=sentence):
            epoch_of(shard_with(True), lease)


@pytest.fixture(scope="session")
def tls_material(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Component, Path]:
    """For engines that are told apart by their host, as pods are."""
    return make_tls_material(tmp_path_factory.mktemp("tls"), ("127.0.0.1", "127.0.0.2", "localhost"))


@pytest.mark.server
def test_a_shard_switches_over_when_it_is_asked_to_and_no_operator_runs(
    bourse_cluster: Cluster, engine_factory: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, lease = bourse_cluster, f"shard-{secrets.token_hex(4)}"
    monkeypatch.setenv("KUBECONFIG", str(cluster.server.kubeconfig(ADMIN_TOKEN)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    made = unfounded("main")
    made["metadata"]["name"] = lease
    made |= {"apiVersion": LEASE.api_version, "kind": LEASE.kind}
    cluster.kubectl("create", "-f", "-", input_=json.dumps(made))
    hosts = ("127.0.0.1", "127.0.0.2")
    places = [Address(host, free_address().port) for host in hosts]
    halts = ("--halts-namespace", cluster.namespace, "--exchange", "demo")
    shard = RunningShard(
        [
            engine_factory(
                f"--record-lease={cluster.namespace}/{lease}",
                f"--place={place}",
                *(f"--peer={other}" for other in places if other != place),
                *halts,
            )
            for place in places
        ]
    )
    shard.start()
    leader = shard.wait_for_leader(in_sync=2)
    old = hosts[shard.members.index(leader)]
    (new,) = (host for host in hosts if host != old)
    # What the operator says of it.
    members = [{"pod": host, "role": "leader" if host == old else "standby", "inSync": True} for host in hosts]
    status = {"status": {"leader": old, "members": members, "record": lease}}
    cluster.kubectl("patch", "engineshard", "main", "--subresource=status", "--type=merge", "-p", json.dumps(status))

    done = cluster.bourse("switchover", "main", "-o", "json")
    assert done.returncode == 0, done.stderr + done.stdout
    said = json.loads(done.stdout)
    assert said["pause_ms"] is not None
    del said["pause_ms"]
    assert said == {
        "shard": "main",
        "outcome": "Done",
        "old_leader": old,
        "new_leader": new,
        "epoch": 2,
        "message": "",
    }
    assert shard.wait_for_leader(in_sync=2) is not leader
    # The status still says that the old one leads: the engine knows better, and says so.
    again = cluster.bourse("switchover", "main", "--to", new)
    assert again.returncode == 1
    assert f"{new} leads already" in again.stdout
    nobody = cluster.bourse("switchover", "second")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert "has no EngineShard second; there is main" in nobody.stderr
