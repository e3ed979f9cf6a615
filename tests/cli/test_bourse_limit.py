"""`kubectl bourse limit`: TradingLimits, and the ConfigMap of everybody, are changed so that nobody undoes another."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures.bourses import Cluster
from openbourse.contracts.rate_limits import LimitsDocument
from openbourse.contracts.resources import TradingLimit

pytestmark = pytest.mark.server


@pytest.fixture
def limited(bourse_cluster: Cluster) -> Cluster:
    patch = json.dumps({"spec": {"gateway": {"limitsConfigMap": "limits"}}})
    bourse_cluster.kubectl("patch", "exchange", "demo", "--type=merge", "-p", patch)
    bourse_cluster.kubectl("create", "configmap", "limits", "--from-literal=limits.json={}", "--from-literal=other=x")
    return bourse_cluster


def _stored(cluster: Cluster) -> LimitsDocument:
    data = json.loads(cluster.kubectl("get", "configmap", "limits", "-o", "json"))["data"]
    assert data["other"] == "x"
    return LimitsDocument.model_validate_json(data["limits.json"])


def _objects(cluster: Cluster) -> dict[str, TradingLimit]:
    items = json.loads(cluster.kubectl("get", "tradinglimits", "-o", "json"))["items"]
    return {item["metadata"]["name"]: TradingLimit.model_validate(item) for item in items}


def test_an_exception_is_an_object_that_is_set_again_shown_and_removed(bourse_cluster: Cluster) -> None:
    of = ("--account", "1001")
    until = ("--until", "2099-12-01T00:00:00Z")
    done = bourse_cluster.bourse("limit", "set", *of, "--orders-per-10s", "500", "--reason", "market maker", *until)
    assert done.returncode == 0, done.stderr
    (limit,) = _objects(bourse_cluster).values()
    assert limit.metadata.name == "demo-account-1001"
    assert (limit.spec.account, limit.spec.orders_per_10s, limit.spec.reason) == (1001, 500, "market maker")
    assert limit.spec.until is not None and limit.spec.until.year == 2099
    assert "by admin" in done.stdout
    # In place of the one before: what is not said any more is gone.
    again = bourse_cluster.bourse("limit", "set", *of, "--orders-per-day", "9", "--reason", "less")
    assert again.returncode == 0, again.stderr
    (limit,) = _objects(bourse_cluster).values()
    assert (limit.spec.orders_per_10s, limit.spec.orders_per_day, limit.spec.until) == (None, 9, None)
    shown = json.loads(bourse_cluster.bourse("limit", "show", "-o", "json").stdout)["tradingLimits"]
    assert shown == [
        {
            **{"name": "demo-account-1001", "applied": "not seen by the operator yet", "exchange": "demo"},
            **{"account": 1001, "ordersPerDay": 9, "reason": "less"},
        }
    ]
    assert bourse_cluster.bourse("limit", "remove", *of, "--reason", "no more").returncode == 0
    assert not _objects(bourse_cluster)
    missing = bourse_cluster.bourse("limit", "remove", *of, "--reason", "no more")
    assert missing.returncode == 2
    assert "Exchange demo has no exception for account 1001" in missing.stderr


def test_one_that_somebody_made_with_another_name_is_changed_and_not_doubled(bourse_cluster: Cluster) -> None:
    spec = {"exchange": "demo", "address": "192.0.2.0/24", "weightPerMinute": 5, "reason": "by hand"}
    made = {"apiVersion": "openbourse.dev/v1alpha1", "kind": "TradingLimit", "metadata": {"name": "desk"}, "spec": spec}
    bourse_cluster.kubectl("apply", "-f", "-", input_=json.dumps(made))
    network = ("--address", "192.0.2.0/24", "--weight-per-minute", "0", "--reason", "abuse")
    assert bourse_cluster.bourse("limit", "set", *network).returncode == 0
    assert {name: limit.spec.weight_per_minute for name, limit in _objects(bourse_cluster).items()} == {"desk": 0}


def test_what_everybody_may_is_in_the_config_map_and_who_changed_it_stays(limited: Cluster) -> None:
    assert limited.bourse("limit", "set", "--weight-per-minute", "60", "--reason", "as said").returncode == 0
    assert _stored(limited).defaults.weight_per_minute == 60
    changes = json.loads(limited.bourse("limit", "show", "-o", "json").stdout)["changes"]
    assert [(change["who"], change["what"], change["why"]) for change in changes] == [
        ("admin", "set for everybody", "as said"),
    ]
    assert "set for everybody: as said" in limited.bourse("limit", "show").stdout


def test_an_exception_from_before_there_were_objects_is_shown_and_removed(limited: Cluster) -> None:
    override = {"account": 1001, "ordersPerDay": 7, "reason": "of old"}
    data = {"data": {"limits.json": json.dumps({"overrides": [override]})}}
    limited.kubectl("patch", "configmap", "limits", "--type=merge", "-p", json.dumps(data))
    assert "account 1001  orders_per_day 7  of old" in limited.bourse("limit", "show").stdout
    of = ("--account", "1001")
    assert limited.bourse("limit", "set", *of, "--orders-per-day", "8", "--reason", "more").returncode == 0
    assert limited.bourse("limit", "remove", *of, "--reason", "no more").returncode == 0
    assert _stored(limited).overrides == ()
    assert not _objects(limited)


def test_several_people_at_once_undo_nothing_of_each_other(limited: Cluster) -> None:
    def set_(words: tuple[str, ...]) -> int:
        return limited.bourse("limit", "set", *words, "--reason", "at once").returncode

    accounts = [("--account", "1001", "--orders-per-day", str(count)) for count in (1, 2)]
    everybody = [("--orders-per-day", "7"), ("--orders-per-10s", "8")]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(set_, (*accounts, *everybody))) == [0, 0, 0, 0]
    assert _stored(limited).defaults.said() == {"orders_per_day": 7, "orders_per_10s": 8}
    (limit,) = _objects(limited).values()
    assert limit.spec.orders_per_day in {1, 2}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("set", "--reason", "r"), "say a limit, for all or with --account, --api-key or --address for one"),
        (("set", "--account", "1001", "--weight-per-minute", "1", "--reason", "r"), "ordersPer10s or ordersPerDay"),
        (("set", "--account", "1001", "--orders-per-day", "1", "--reason", " "), "reason"),
        (("set", "--account", "1001", "--orders-per-day", "1", "--reason", "r", "--until", "soon"), "until"),
        (("set", "--orders-per-day", "1", "--reason", "r", "--until", "2099-01-01T00:00:00Z"), "ends an exception"),
        (("remove", "--account", "1009", "--reason", "r"), "it has no override for account 1009"),
        (("remove", "--reason", "r"), "say exactly one of --account, --api-key and --address"),
    ],
)
def test_what_makes_no_sense_changes_nothing(limited: Cluster, arguments: tuple[str, ...], sentence: str) -> None:
    done = limited.bourse("limit", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert _stored(limited) == LimitsDocument()
    assert not _objects(limited)


def test_an_exchange_that_names_no_config_map_says_what_to_do(bourse_cluster: Cluster) -> None:
    assert "everybody  as the gateway is told" in bourse_cluster.bourse("limit", "show").stdout
    done = bourse_cluster.bourse("limit", "set", "--orders-per-day", "1", "--reason", "r")
    assert done.returncode == 2
    assert "spec.gateway.limitsConfigMap" in done.stderr
