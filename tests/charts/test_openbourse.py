"""The chart: refuses wrong values, gives the same objects each time, and no pod of it has a privilege."""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.apiservers import RunningApiServer, cluster_binary, delete_policies
from openbourse.contracts.apiserver import ApiServer, Object, Resource
from openbourse.operator.manifests import kinds

CHART = Path(__file__).parents[2] / "charts" / "openbourse"
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> "Helm":
    return Helm(cluster_binary("helm"), tmp_path_factory.mktemp("helm"))


class Helm:
    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self._environment = {**os.environ} | {f"HELM_{name}_HOME": str(home) for name in ("CACHE", "CONFIG", "DATA")}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)

    def template(self, *values: str) -> list[Object]:
        settings = [part for value in values for part in ("--set", value)]
        result = self.run("template", "openbourse", str(CHART), "--namespace", "openbourse-system", *settings)
        assert result.returncode == 0, result.stderr
        return [document for document in yaml.safe_load_all(result.stdout) if document]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


@pytest.mark.server
def test_lint_has_nothing_to_say(helm: Helm) -> None:
    result = helm.run("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.server
def test_the_same_values_give_the_same_objects(helm: Helm) -> None:
    assert helm.template() == helm.template()


@pytest.mark.server
@pytest.mark.parametrize(
    "value",
    [
        "replicas=0",
        "replica=1",
        "image.pullPolicy=Sometimes",
        "watchNamespaces={Trading}",
        "image.tag=",
        "x.y=z",
        "admission.enabled=maybe",
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, value: str) -> None:
    result = helm.run("template", "openbourse", str(CHART), "--set", value)
    assert result.returncode != 0
    assert value.partition("=")[0].split(".")[0] in result.stderr


@pytest.mark.server
def test_with_namespaces_named_the_operator_may_act_in_no_other(helm: Helm) -> None:
    objects = helm.template("watchNamespaces={trading,testing}")
    everywhere = {binding["roleRef"]["name"] for binding in of_kind(objects, "ClusterRoleBinding")}
    assert everywhere == {"openbourse-operator-policies", "openbourse-operator-people"}
    without = of_kind(helm.template("signForPeople=false"), "ClusterRoleBinding")
    assert "openbourse-operator-people" not in {binding["roleRef"]["name"] for binding in without}
    # Of what no namespace has, it reads nodes by name and two named policies.
    roles = {role["metadata"]["name"]: role for role in of_kind(objects, "ClusterRole")}
    nodes, policies = roles["openbourse-operator-policies"]["rules"]
    assert (nodes["verbs"], nodes["resources"]) == (["get"], ["nodes"])
    assert (policies["verbs"], policies["resourceNames"]) == (["get"], ["openbourse-halts"])
    bound = {
        b["metadata"]["namespace"] for b in of_kind(objects, "RoleBinding") if b["roleRef"]["kind"] == "ClusterRole"
    }
    assert bound == {"trading", "testing"}
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "OPENBOURSE_WATCH_NAMESPACES", "value": "trading,testing"} in container["env"]


@pytest.mark.server
def test_admission_can_be_left_out_and_nobody_need_break_glass(helm: Helm) -> None:
    names = {policy["metadata"]["name"] for policy in of_kind(helm.template(), "ValidatingAdmissionPolicy")}
    assert names == {"openbourse-halts", "openbourse-break-glass", "openbourse-records"}
    (policy,) = of_kind(helm.template("admission.breakGlassGroups=null"), "ValidatingAdmissionPolicy")
    assert policy["metadata"]["name"] == "openbourse-halts"
    assert not of_kind(helm.template("admission.enabled=false"), "ValidatingAdmissionPolicy")


@pytest.mark.server
def test_one_replica_has_no_disruption_budget_that_would_block_a_drain(helm: Helm) -> None:
    assert not of_kind(helm.template("replicas=1"), "PodDisruptionBudget")
    assert of_kind(helm.template(), "PodDisruptionBudget")


@pytest.mark.server
def test_no_rule_has_a_wildcard_and_secrets_cannot_be_listed(helm: Helm) -> None:
    roles = [*of_kind(helm.template(), "ClusterRole"), *of_kind(helm.template(), "Role")]
    rules: list[dict[str, Any]] = [rule for role in roles for rule in role["rules"]]
    assert "*" not in json.dumps(rules)
    secrets = {tuple(rule["verbs"]) for rule in rules if "secrets" in rule["resources"]}
    # The operator's, and those of people who break the glass.
    assert secrets == {("get", "create", "patch"), ("get", "create", "update", "patch", "delete")}


@pytest.mark.server
def test_rehearsals_are_off_and_apart_from_everything_else_when_they_are_on(helm: Helm) -> None:
    before = helm.template()
    assert "openbourse-rehearsals" not in json.dumps(before)
    objects = helm.template("rehearsals.enabled=true")
    added = [each for each in objects if each not in before]
    assert len(added) + len(before) == len(objects), "nobody else gets another right"
    house = "openbourse-rehearsals"
    role, beside_the_operator = of_kind(added, "Role")
    (everywhere,) = of_kind(added, "ClusterRole")
    assert role["metadata"]["namespace"] == house
    assert beside_the_operator["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    makes_pods = [rule for rule in everywhere["rules"] if "pods" in rule["resources"]]
    assert [rule["verbs"] for rule in makes_pods] == [["list"]], "where exchanges are it makes none"
    assert "secrets" not in json.dumps(everywhere["rules"])
    assert "*" not in json.dumps([role["rules"], everywhere["rules"]])
    (deployment,) = of_kind(added, "Deployment")
    assert deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"], "it is not privileged itself"
    (token,) = of_kind(added, "PersistentVolumeClaim")
    assert token["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", "keys that are lost sign no more"
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert {"name": "token", "persistentVolumeClaim": {"claimName": token["metadata"]["name"]}} in volumes


@pytest.mark.server
@pytest.mark.parametrize(
    "namespaces", ["watchNamespaces={openbourse-rehearsals}", "rehearsals.namespace=openbourse-system"]
)
def test_privileged_pods_are_admitted_where_nothing_else_is(helm: Helm, namespaces: str) -> None:
    settings = ("--namespace", "openbourse-system", "--set", "rehearsals.enabled=true", "--set", namespaces)
    result = helm.run("template", "openbourse", str(CHART), *settings)
    assert result.returncode != 0
    assert "privileged pods are admitted there" in result.stderr


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        yield api


@pytest.mark.server
async def test_the_api_server_takes_it_all_and_a_second_time_changes_nothing(
    api_server: RunningApiServer, api: ApiServer, helm: Helm, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    metadata = {"name": "openbourse-system", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    await api.apply(NAMESPACES, {"metadata": metadata}, "test")
    objects = helm.template()
    file = tmp_path / "chart.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    request.addfinalizer(lambda: delete_policies(api_server))
    api_server.kubectl_apply(file)
    before = await api.get(kinds.DEPLOYMENT, "openbourse-system", "openbourse-operator")
    api_server.kubectl_apply(file)
    after = await api.get(kinds.DEPLOYMENT, "openbourse-system", "openbourse-operator")
    assert before is not None
    assert after is not None
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    # What the restricted standard says of the pod, the API server itself is asked.
    template = before["spec"]["template"]
    pod = {"metadata": {"name": "as-pod", "namespace": "openbourse-system", **template["metadata"]}}
    await api.create(kinds.POD, pod | {"spec": template["spec"]})
    await api.delete(kinds.POD, "openbourse-system", "as-pod")
