"""The Lease that holds a shard's leadership record, as operator and engines know it. Nothing here decides who leads.

The operator makes it once in a shard's life, with epoch 0: nobody has led yet. That, and nothing else, lets an engine
on an empty volume found the shard. A Lease that is missing later is a lost record, which only a recovery replaces.
"""

from typing import Final

from openbourse.contracts.apiserver import Object, Resource

LEASE: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EPOCH: Final = "openbourse.dev/epoch"
IN_SYNC: Final = "openbourse.dev/in-sync"
SHARD: Final = "openbourse.dev/shard"
_UNFOUNDED: Final = "0"


def unfounded(shard: str) -> Object:
    """Annotations and spec of the Lease of a shard that is still to be founded."""
    return {"metadata": {"annotations": {SHARD: shard, EPOCH: _UNFOUNDED}}, "spec": {"leaseTransitions": 0}}


def is_unfounded(lease: Object, shard: str) -> bool:
    """Exactly as it was made; what others wrote into its metadata does not count."""
    annotations = lease["metadata"].get("annotations") or {}
    ours = {key: annotations.get(key) for key in (SHARD, EPOCH, IN_SYNC)}
    return ours == {SHARD: shard, EPOCH: _UNFOUNDED, IN_SYNC: None} and (lease.get("spec") or {}) == {
        "leaseTransitions": 0
    }
