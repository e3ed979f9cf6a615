"""The cluster itself: what everything else that is tested on it relies on."""

import time
import urllib.request
from typing import Any

import pytest

from fixtures.clusters import NODE_PORT, Cluster

pytestmark = pytest.mark.cluster

NODES = ["openbourse-control-plane", "openbourse-worker", "openbourse-worker2", "openbourse-worker3"]
IMAGE = "openbourse/openbourse:dev"
# A pod is ready when its process is there, which may be before it listens.
ASK = """
import time, urllib.request
deadline_s = time.monotonic() + 20
while True:
    try:
        print(urllib.request.urlopen('http://server/', timeout=5).status)
        break
    except OSError:
        if time.monotonic() > deadline_s:
            raise
        time.sleep(0.2)
"""
SERVE = "from http.server import *; HTTPServer(('', 8000), SimpleHTTPRequestHandler).serve_forever()"


def python_pod(name: str, code: str, *, node: str | None = None, claim: str | None = None) -> dict[str, Any]:
    """A pod as restricted as ours are, running one line of Python in the project's image."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "python",
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "command": ["python", "-c", code],
                "workingDir": "/opt",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    if node:
        spec["nodeName"] = node
    if claim:
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8000} | spec.pop("port", {})]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports} | spec,
    }


def said(cluster: Cluster, namespace: str, pod: str) -> str:
    """What a pod printed, once it has ended well."""
    cluster.wait(namespace, f"pod/{pod}", "jsonpath={.status.phase}=Succeeded")
    return cluster.kubectl("-n", namespace, "logs", pod).strip()


def test_four_nodes_are_ready(cluster: Cluster) -> None:
    nodes = cluster.get("nodes")["items"]
    ready = [
        node["metadata"]["name"]
        for node in nodes
        if {"type": "Ready", "status": "True"}.items()
        <= next(c for c in node["status"]["conditions"] if c["type"] == "Ready").items()
    ]
    assert sorted(ready) == NODES


@pytest.mark.usefixtures("images")
def test_a_restricted_pod_runs_as_its_own_user_on_a_read_only_root(cluster: Cluster, namespace: str) -> None:
    code = "import os; print(os.getuid(), os.access('/', os.W_OK), os.access('/opt/openbourse', os.W_OK))"
    cluster.apply(python_pod("restricted", code), namespace=namespace)
    assert said(cluster, namespace, "restricted") == "65532 False False"


def test_a_pod_that_is_not_restricted_is_refused(cluster: Cluster, namespace: str) -> None:
    pod = python_pod("root", "pass")
    pod["spec"]["securityContext"] = {"runAsUser": 0}
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted'):
        cluster.apply(pod, namespace=namespace)


@pytest.mark.usefixtures("images")
def test_a_volume_outlives_its_pod(cluster: Cluster, namespace: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
    }
    writer = python_pod("writer", "print(open('/data/word', 'w').write('kept'))", claim="data")
    cluster.apply(claim, writer, namespace=namespace)
    assert said(cluster, namespace, "writer") == "4"
    cluster.kubectl("-n", namespace, "delete", "pod", "writer")
    cluster.apply(python_pod("reader", "print(open('/data/word').read())", claim="data"), namespace=namespace)
    assert said(cluster, namespace, "reader") == "kept"


@pytest.mark.usefixtures("images")
def test_a_service_is_found_by_its_name_from_another_node(cluster: Cluster, namespace: str) -> None:
    cluster.apply(python_pod("server", SERVE, node=NODES[1]), service("server"), namespace=namespace)
    cluster.wait(namespace, "pod/server", "condition=Ready")
    cluster.apply(python_pod("client", ASK, node=NODES[2]), namespace=namespace)
    assert said(cluster, namespace, "client") == "200"


@pytest.mark.usefixtures("images")
def test_a_node_port_is_reached_from_the_machine(cluster: Cluster, namespace: str) -> None:
    server = service("server", type="NodePort", port={"nodePort": 30081})
    cluster.apply(python_pod("server", SERVE, node=NODES[3]), server, namespace=namespace)
    cluster.wait(namespace, "pod/server", "condition=Ready")
    deadline_s = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{NODE_PORT + 1}/", timeout=2) as answer:
                assert answer.status == 200
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "paused"])
def test_a_node_that_was_stopped_comes_back(cluster: Cluster, killed: bool) -> None:
    node = NODES[3]
    if killed:
        cluster.docker("kill", node)
    else:
        cluster.pause(node)
    assert "running" not in cluster.docker("inspect", "-f", "{{.State.Status}}", node)
    cluster.up()
    cluster.wait("default", f"node/{node}", "condition=Ready")
