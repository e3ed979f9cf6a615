"""`kubectl bourse` on a real API server, with a real engine that watches Halts there. No operator runs."""

import json

import pytest
import yaml

from fixtures.apiservers import ADMIN_TOKEN
from fixtures.bourses import Cluster
from fixtures.engines import EngineFactory

pytestmark = pytest.mark.server


@pytest.fixture
def cluster(bourse_cluster: Cluster) -> Cluster:
    """An API server alone, where other tests mean a cluster with nodes by this name."""
    return bourse_cluster


@pytest.fixture
def halting(cluster: Cluster, engine_factory: EngineFactory, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """An engine carries out its Halts."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.server.kubeconfig(ADMIN_TOKEN)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    engine = engine_factory("--halts-namespace", cluster.namespace, "--exchange", "demo")
    engine.start()
    return cluster


def test_a_halt_is_asked_for_acknowledged_shown_and_lifted_with_no_operator(halting: Cluster) -> None:
    done = halting.bourse("halt", "btcusdt", "--reason", "wrong tick", "--for", "15m", "--name", "tick")
    assert done.returncode == 0, done.stderr
    first, acknowledged = done.stdout.splitlines()
    assert first == "Halt tick of BTCUSDT: HALT"
    assert acknowledged.split()[:4] == ["shard", "main", "Halted", "epoch"]
    seen = json.loads(halting.bourse("status", "-o", "json").stdout)
    [held] = [symbol for symbol in seen["symbols"] if symbol["name"] == "BTCUSDT"]
    assert held["held_by"] == ["tick"]
    assert [halt["acknowledged"] for halt in seen["halts"]] == [1]
    assert yaml.safe_load(halting.bourse("status", "-o", "yaml").stdout) == seen
    lifted = halting.bourse("lift", "tick")
    assert (lifted.returncode, lifted.stdout) == (0, "Halt tick is lifted; BTCUSDT: TRADING\n")
    assert json.loads(halting.bourse("status", "-o", "json").stdout)["halts"] == []


def test_a_halt_of_a_shard_that_takes_two_people_says_who_asked_for_it(halting: Cluster) -> None:
    asked = ("--reason", "funds differ", "--until-lifted", "--two-person", "--name", "two")
    done = halting.bourse("halt", "--shard", "main", *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Halt two of shard main: HALT\n  shard main  Halted")
    (halt,) = json.loads(halting.bourse("status", "-o", "json").stdout)["halts"]
    # As the API server names whoever asks.
    assert (halt["requester"], halt["two_person"], halt["in_shards"]) == ("admin", True, ["main"])
    assert "another than admin lifts it" in halting.bourse("status").stdout


def test_a_halt_of_everything_has_a_name_that_says_so(halting: Cluster) -> None:
    done = halting.bourse("halt", "--reason", "maintenance", "--until-lifted", "--reopen", "AUCTION:5s")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Halt halt-all-")


def test_a_halt_that_nobody_acknowledges_stands_and_ends_with_one(cluster: Cluster) -> None:
    done = cluster.bourse("halt", "--reason", "why", "--until-lifted", "--name", "slow", "--timeout", "0.5")
    assert done.returncode == 1
    assert done.stderr == (
        "nothing within 0.5 s from main: the Halt stands, and is carried out as soon as that can; "
        f"see kubectl bourse status -n {cluster.namespace}\n"
    )
    assert [halt["name"] for halt in json.loads(cluster.bourse("status", "-o", "json").stdout)["halts"]] == ["slow"]


def test_a_status_of_what_is_not_ready_ends_with_one(cluster: Cluster) -> None:
    done = cluster.bourse("status")
    assert done.returncode == 1
    assert "Exchange demo" in done.stdout
    assert "BTCUSDT" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("halt", "--reason", "x"), "give exactly one of --for 15m and --until-lifted"),
        (
            ("halt", "--reason", "x", "--for", "5m", "--until-lifted"),
            "give exactly one of --for 15m and --until-lifted",
        ),
        (("halt", "XRPUSDT", "--reason", "x", "--until-lifted"), "demo has no XRPUSDT; it has BTCUSDT, ETHUSDT"),
        (("halt", "--shard", "hot", "--reason", "x", "--until-lifted"), "demo has no shard hot; it has main"),
        (("halt", "--reason", "x", "--for", "soon"), "duration must be"),
        (("halt", "--reason", "x", "--for", "5m", "--reopen", "LATER"), "TRADING, POST_ONLY:30s or AUCTION:30s"),
        (("halt", "--reason", " ", "--for", "5m"), "reason must say why"),
        (("lift", "nothing"), "has no Halt nothing; there is none"),
        (("status", "--exchange", "other"), "has no Exchange other; there is demo"),
        (("status", "--watch", "-o", "json"), "--watch shows the table"),
        (("status", "--context", "nowhere"), "nowhere"),
        (("status", "--kubeconfig", "/nonexistent"), "/nonexistent: there is no such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(cluster: Cluster, arguments: tuple[str, ...], sentence: str) -> None:
    done = cluster.bourse(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_has_examples(cluster: Cluster) -> None:
    assert "kubectl bourse" in cluster.bourse("--help", namespace=False).stdout
    for command in ("status", "halt", "lift"):
        assert f"kubectl bourse {command}" in cluster.bourse(command, "--help", namespace=False).stdout
