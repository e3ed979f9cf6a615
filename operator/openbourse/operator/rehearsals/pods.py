"""The pods that break things, and those that read logs: privileged, on the engine's node, gone after seconds.

They are made in the namespace of what runs rehearsals, never in that of an exchange. Values only.
"""

from collections.abc import Mapping, Sequence

from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import GROUP, Rehearsal
from openbourse.operator.rehearsals.scenarios import Deed

# Of everything that a rehearsal makes outside of its own namespace: it has no owner there.
REHEARSAL_LABEL = f"{GROUP}/rehearsal"
# So long it takes to take a fault away.
LIFTS_S = 10
STARTS_S = 60
AUDIT_S = 180


def strike(
    rehearsal: Rehearsal,
    targets: Sequence[Object],
    *,
    what: str,
    namespace: str,
    image: str,
    deed: Deed,
    seconds: int,
    addresses: Mapping[str, Sequence[str]],
) -> Object:
    """Does the deed to the pods `targets`, all of one node. `what` begins its name; `addresses`: by side, who is cut
    off."""
    first, *others = targets
    named = [f"{other['metadata']['name']}={other['metadata']['uid']}" for other in others]
    words = [f"{side}={address}" for side, several in addresses.items() for address in several]
    arguments = [
        *(deed.value, *_named(first), "--seconds", str(seconds)),
        *(f"--also={name}" for name in named),
        *(f"--address={word}" for word in words),
    ]
    deadline_s = STARTS_S + seconds + LIFTS_S
    return _pod(rehearsal, first, what, namespace=namespace, image=image, arguments=arguments, deadline_s=deadline_s)


def audit(
    rehearsal: Rehearsal, target: Object, *, namespace: str, image: str, from_seq: int, names: str, symbol: str
) -> Object:
    """Prints what the log of the engine of the pod `target` says."""
    options = ["--symbol", symbol, "--from", str(from_seq), "--names", names]
    arguments = ["audit", *_named(target), "--", *options]
    # Of several shards there are several with one ordinal.
    what = f"audit-{target['metadata']['name']}"
    return _pod(rehearsal, target, what, namespace=namespace, image=image, arguments=arguments, deadline_s=AUDIT_S)


def _named(target: Object) -> list[str]:
    return ["--pod", target["metadata"]["name"], "--uid", target["metadata"]["uid"]]


def _pod(
    rehearsal: Rehearsal,
    target: Object,
    what: str,
    *,
    namespace: str,
    image: str,
    arguments: Sequence[str],
    deadline_s: int,
) -> Object:
    uid = rehearsal.metadata.uid
    return {
        "metadata": {
            # Exchanges of several namespaces may have rehearsals of one name.
            "name": f"{what}-{uid}",
            "namespace": namespace,
            "labels": {REHEARSAL_LABEL: uid, "app.kubernetes.io/name": "openbourse"},
        },
        "spec": {
            # No scheduler is asked: it has to be there, on a node that may be full or cordoned.
            "nodeName": target["spec"]["nodeName"],
            "tolerations": [{"operator": "Exists"}],
            "hostPID": True,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": deadline_s,
            "terminationGracePeriodSeconds": LIFTS_S,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [
                {
                    "name": "node",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-m", "openbourse.operator.rehearsals.node", *arguments],
                    "securityContext": {"privileged": True, "runAsUser": 0},
                    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
                }
            ],
        },
    }
