"""What every object of ours has in common: metadata, owners, pods without privileges, services, policies."""

from collections.abc import Mapping, Sequence
from typing import Any

from openbourse.contracts.apiserver import Object, Resource
from openbourse.contracts.component import Component
from openbourse.contracts.resources import API_VERSION, CustomResource, Exchange
from openbourse.contracts.resources.engine_shard import ResourceRequirements, Storage
from openbourse.operator.manifests import kinds, names

USER = 65532
TLS_FOLDER = "/etc/openbourse/tls"
STOP_SECONDS = 15


def owned(resource: Resource, name: str, owner: CustomResource, labels: Mapping[str, str], **body: Any) -> Object:
    """An object that goes when its owner goes."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": owner.metadata.namespace,
            "labels": dict(labels),
            "ownerReferences": [owner_reference(owner)],
        },
        **body,
    }


def owner_reference(owner: CustomResource) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": owner.resource.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def pod_template(
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    containers: Sequence[Object],
    volumes: Sequence[Object],
    service_account: str | None = None,
    restart: str = "Always",
    before: Sequence[Object] = (),
) -> Object:
    """A pod that the `restricted` pod security standard takes. Only a pod with an account of its own gets a token.

    `before`: containers that have to end well before the others start.
    """
    return {
        "metadata": {"labels": dict(labels), "annotations": dict(annotations)},
        "spec": {
            **({"serviceAccountName": service_account} if service_account else {}),
            "automountServiceAccountToken": service_account is not None,
            "enableServiceLinks": False,
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": STOP_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **({"initContainers": list(before)} if before else {}),
            "containers": list(containers),
            "volumes": [*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
        },
    }


def container(
    *,
    component: str,
    image: str,
    command: Sequence[str],
    mounts: Sequence[Object] = (),
    env: Sequence[Object] = (),
    ports: Mapping[str, int] | None = None,
    resources: Object | None = None,
    has_status: bool = True,
) -> Object:
    probes = {}
    if has_status:
        # The start may replay a long log: until it is through, only the start probe counts.
        probes = {
            "startupProbe": _probe("/livez", period_s=1, failures=600),
            "livenessProbe": _probe("/livez", period_s=5, failures=6),
            "readinessProbe": _probe("/readyz", period_s=1, failures=3),
        }
    return {
        "name": component,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", *command],
        **({"env": list(env)} if env else {}),
        **({"ports": [{"name": n, "containerPort": p} for n, p in ports.items()]} if ports else {}),
        "resources": resources or {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        **probes,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (the pod's own)
    }


def claim(name: str, labels: Mapping[str, str], storage: Storage) -> Object:
    """A volume for each pod of a StatefulSet, which outlives it."""
    return {
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage.size}},
            **({"storageClassName": storage.storage_class_name} if storage.storage_class_name else {}),
        },
    }


def amounts(resources: ResourceRequirements) -> Object:
    """For a container's `resources`."""
    return {
        **({"requests": resources.requests} if resources.requests else {}),
        **({"limits": resources.limits} if resources.limits else {}),
    }


def secret_volume(name: str, secret: str) -> Object:
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}


def mount(name: str, path: str) -> Object:
    return {"name": name, "mountPath": path, "readOnly": True}


def service(
    name: str, owner: CustomResource, labels: Mapping[str, str], selector: Mapping[str, str], ports: Mapping[str, int]
) -> Object:
    """A Service inside the cluster."""
    return owned(
        kinds.SERVICE,
        name,
        owner,
        labels,
        spec={
            "type": "ClusterIP",
            "selector": dict(selector),
            "ports": [{"name": n, "port": p, "targetPort": n} for n, p in ports.items()],
        },
    )


def disruption_budget(
    name: str, owner: CustomResource, labels: Mapping[str, str], selector: Mapping[str, str], *, unavailable: int
) -> Object:
    spec = {"maxUnavailable": unavailable, "selector": {"matchLabels": dict(selector)}}
    return owned(kinds.DISRUPTION_BUDGET, name, owner, labels, spec=spec)


def network_policy(
    name: str, owner: CustomResource, labels: Mapping[str, str], selector: Mapping[str, str], rules: Sequence[Object]
) -> Object:
    """Who may connect to the pods of `selector`; everybody else may not."""
    spec = {"podSelector": {"matchLabels": dict(selector)}, "policyTypes": ["Ingress"], "ingress": list(rules)}
    return owned(kinds.NETWORK_POLICY, name, owner, labels, spec=spec)


def allow(ports: Sequence[str | int], *sources: Mapping[str, str], protocol: str = "TCP") -> Object:
    """An ingress rule: from pods with these labels in the same namespace, or from anywhere when none are given."""
    peers = [{"podSelector": {"matchLabels": dict(source)}} for source in sources]
    return {
        **({"from": peers} if peers else {}),
        "ports": [{"port": port, "protocol": protocol} for port in ports],
    }


def allow_of_any_namespace(ports: Sequence[str | int], source: Mapping[str, str]) -> Object:
    """An ingress rule: from pods with these labels, wherever they are."""
    peer = {"namespaceSelector": {}, "podSelector": {"matchLabels": dict(source)}}
    return {"from": [peer], "ports": [{"port": port, "protocol": "TCP"} for port in ports]}


def spread(selector: Mapping[str, str], *, strictly: bool) -> Object:
    """For a pod's spec: these pods on as many nodes, and zones, as there are. `strictly`: two never share a node."""
    of_these = {"labelSelector": {"matchLabels": dict(selector)}}
    # Not a second constraint: where nodes have no zone, the scheduler would not weigh the first one either.
    apart = {"weight": 100, "podAffinityTerm": {"topologyKey": "topology.kubernetes.io/zone", **of_these}}
    return {
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [apart]}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule" if strictly else "ScheduleAnyway",
                **of_these,
            }
        ],
    }


def peers(exchange: Exchange, *components: Component) -> list[dict[str, str]]:
    return [names.selector(exchange, component) for component in components]


def _probe(path: str, *, period_s: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "status"},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
