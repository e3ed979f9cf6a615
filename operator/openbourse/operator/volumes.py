"""The volumes of an exchange: how large their claims should be, and whether they go with it. What was observed in.

A claim outlives everything unless the Exchange says `deletionPolicy: Delete`: then the Exchange owns it, and Kubernetes
deletes it with its owner, whether the operator is there or not. Nothing here, or anywhere, deletes one itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.contracts.resources.exchange import DeletionPolicy
from openbourse.operator.drift import amount
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import kinds, names
from openbourse.operator.manifests.objects import owner_reference
from openbourse.operator.observed import Observed

CONDITION = "VolumesGrown"


@dataclass(frozen=True, slots=True)
class Change:
    """What of a claim is to be made so, and why."""

    manifest: Object
    reason: str


def owners(exchange: Exchange) -> list[Object]:
    """Of a volume or a record, as the Exchange says what becomes of them when it is deleted."""
    if exchange.spec.deletion_policy is DeletionPolicy.RETAIN:
        return []
    # The StatefulSet's controller looks after its claims as well: nobody is their one controller.
    return [owner_reference(exchange) | {"controller": False}]


def owner_problem(exchange: Exchange, owned_by: frozenset[str]) -> str:
    """`owned_by`: uids. Why that is not as the Exchange says; empty: it is."""
    is_owned, goes = exchange.metadata.uid in owned_by, exchange.spec.deletion_policy is DeletionPolicy.DELETE
    if is_owned == goes:
        return ""
    return "goes with its exchange (deletionPolicy: Delete)" if goes else "stays when its exchange goes"


def changes(observed: Observed, exchange: Exchange) -> Iterator[Change]:
    """One for each claim that is not as it should be."""
    sizes = {claim: size for shard in observed.shards for claim, size in _sizes(observed, exchange, shard)}
    for claim in observed.of_kind(kinds.VOLUME_CLAIM):
        metadata = claim["metadata"]
        if "deletionTimestamp" in metadata:
            continue
        name, present = metadata["name"], _requested(claim)
        wanted = sizes.get(name, present)
        # The API server takes a larger request of a claim alone that has its volume.
        grows = _is_less(present, wanted) and claim.get("status", {}).get("phase") == "Bound"
        reasons = [f"it grows from {present} to {wanted}"] if grows else []
        problem = owner_problem(exchange, frozenset(owner["uid"] for owner in metadata.get("ownerReferences", ())))
        reasons += [f"it {problem}"] if problem else []
        if not reasons:
            continue
        manifest: Object = {"metadata": {key: metadata[key] for key in ("name", "namespace", "uid")}}
        manifest["metadata"]["ownerReferences"] = owners(exchange)
        # Said as it is where it does not grow: what was said once and then left away would be taken away.
        manifest["spec"] = {"resources": {"requests": {"storage": wanted if grows else present}}}
        yield Change(manifest, f"volume claim {name}: {' and '.join(reasons)}")


def grown(observed: Observed, exchange: Exchange, shard: EngineShard) -> Fact:
    """VolumesGrown: every volume of the shard is as large as its spec says."""
    waiting = []
    for name, wanted in _sizes(observed, exchange, shard):
        claim = observed.child(kinds.VOLUME_CLAIM, name)
        assert claim is not None
        if _is_less(_requested(claim), wanted):
            subject = (kinds.VOLUME_CLAIM.kind, name)
            refused = [r.sentence for r in observed.refusals if (r.subject.kind, r.subject.name) == subject]
            if refused:
                hint = "its storage class has to allow expansion (allowVolumeExpansion: true)"
                return Fact(CONDITION, False, "Refused", f"{'; '.join(refused)}; {hint}")
            waiting.append(f"{name} is asked to grow to {wanted}")
        has = claim.get("status", {}).get("capacity", {}).get("storage")
        if has is not None and _is_less(has, wanted):
            pending = [entry["type"] for entry in claim["status"].get("conditions", ()) if entry["status"] == "True"]
            waiting.append(f"{name} has {has} of {wanted}" + (f" ({', '.join(pending)})" if pending else ""))
    if waiting:
        return Fact(CONDITION, False, "Growing", "; ".join(waiting))
    return Fact(CONDITION, True, "AsWanted", "")


def as_claimed(manifest: Object, live: Object | None) -> Object:
    """A StatefulSet with the claim templates that it has: they never change, so claims are grown one by one."""
    if live is not None:
        sizes = {t["metadata"]["name"]: t["spec"]["resources"] for t in live["spec"].get("volumeClaimTemplates", ())}
        for template in manifest["spec"]["volumeClaimTemplates"]:
            template["spec"]["resources"] = sizes.get(template["metadata"]["name"], template["spec"]["resources"])
    return manifest


def _sizes(observed: Observed, exchange: Exchange, shard: EngineShard) -> Iterator[tuple[str, str]]:
    """Of the shard's claims that are there: by name, how large it should be."""
    exchange_name, name = exchange.metadata.name, shard.metadata.name
    wanted = {
        f"wal-{names.engine(exchange_name, name)}-": shard.spec.storage.size,
        f"history-{names.marketdata(exchange_name, name)}-": shard.spec.market_data.storage.size,
    }
    for claim in observed.of_kind(kinds.VOLUME_CLAIM):
        for prefix, size in wanted.items():
            full = claim["metadata"]["name"]
            if full.startswith(prefix) and full.removeprefix(prefix).isdecimal():
                yield full, size


def _requested(claim: Object) -> str:
    return str(claim.get("spec", {}).get("resources", {}).get("requests", {}).get("storage", "0"))


def _is_less(one: str, other: str) -> bool:
    first, second = amount(one), amount(other)
    return first is not None and second is not None and first < second
