"""The chart: refuses wrong values, gives the same objects each time, and no pod of it has a privilege."""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.apiservers import RunningApiServer, cluster_binary
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
    ["replicas=0", "replica=1", "image.pullPolicy=Sometimes", "watchNamespaces={Trading}", "image.tag=", "x.y=z"],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, value: str) -> None:
    result = helm.run("template", "openbourse", str(CHART), "--set", value)
    assert result.returncode != 0
    assert value.partition("=")[0].split(".")[0] in result.stderr


@pytest.mark.server
def test_with_namespaces_named_the_operator_may_act_in_no_other(helm: Helm) -> None:
    objects = helm.template("watchNamespaces={trading,testing}")
    assert not of_kind(objects, "ClusterRoleBinding")
    bound = {
        b["metadata"]["namespace"] for b in of_kind(objects, "RoleBinding") if b["roleRef"]["kind"] == "ClusterRole"
    }
    assert bound == {"trading", "testing"}
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "OPENBOURSE_WATCH_NAMESPACES", "value": "trading,testing"} in container["env"]


@pytest.mark.server
def test_one_replica_has_no_disruption_budget_that_would_block_a_drain(helm: Helm) -> None:
    assert not of_kind(helm.template("replicas=1"), "PodDisruptionBudget")
    assert of_kind(helm.template(), "PodDisruptionBudget")


@pytest.mark.server
def test_no_rule_has_a_wildcard_and_secrets_cannot_be_listed(helm: Helm) -> None:
    roles = [*of_kind(helm.template(), "ClusterRole"), *of_kind(helm.template(), "Role")]
    rules: list[dict[str, Any]] = [rule for role in roles for rule in role["rules"]]
    assert "*" not in json.dumps(rules)
    (secrets,) = [rule for rule in rules if "secrets" in rule["resources"]]
    assert secrets["verbs"] == ["get", "create", "patch"]


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[ApiServer]:
    async with ApiServer.connect(api_server.credentials()) as api:
        yield api


@pytest.mark.server
async def test_the_api_server_takes_it_all_and_a_second_time_changes_nothing(
    api_server: RunningApiServer, api: ApiServer, helm: Helm, tmp_path: Path
) -> None:
    metadata = {"name": "openbourse-system", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    await api.apply(NAMESPACES, {"metadata": metadata}, "test")
    objects = helm.template()
    file = tmp_path / "chart.yaml"
    file.write_text(yaml.safe_dump_all(objects))
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
