"""Kopf's part: it watches, and each event wakes the task of its exchange. No handler decides, writes or waits.

Level-triggered `on.event` handlers alone: no finalizers, so that everything can be deleted while the operator is down,
and no annotations of Kopf's own on anybody's objects.
"""

from typing import Any

from openbourse.contracts.resources import Exchange
from openbourse.operator.kopf_alone import kopf
from openbourse.operator.manifests import names
from openbourse.operator.watches import CHILDREN, NAMING

registry = kopf.OperatorRegistry()


def settings() -> kopf.OperatorSettings:
    """Short time-outs, quick retries, nothing that Kopf would write to the cluster."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.networking.request_timeout = 5
    chosen.networking.connect_timeout = 2
    chosen.networking.error_backoffs = (0.2, 0.5, 1, 2, 2, 2, 2, 2)
    chosen.watching.connect_timeout = 2
    # A stream that is half open is left after `client_timeout`: the server ends those that are not well before.
    chosen.watching.server_timeout = 15
    chosen.watching.client_timeout = 20
    # A worker each object, with no limit: of a thousand none waits for another. Those that are idle end soon.
    chosen.queueing.worker_limit = None
    chosen.queueing.idle_timeout = 0.2
    chosen.queueing.error_delays = (0.2, 0.5, 1, 2)
    chosen.execution.default_backoff = 1
    for resource in CHILDREN:
        chosen.watching.label_selectors[resource.plural] = names.EXCHANGE_LABEL
    return chosen


@kopf.on.login(registry=registry)
def login(**context: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)


@kopf.on.event(Exchange.resource.group, Exchange.resource.plural, registry=registry)
async def exchange_changed(type: str | None, meta: kopf.Meta, memo: kopf.Memo, **_: Any) -> None:
    gone = type == "DELETED"
    memo.reconciler.told(Exchange.resource.plural, meta, gone=gone)
    memo.reconciler.wake_if_changed(meta["namespace"], meta["name"], meta["uid"], _essence(meta), gone=gone)


async def naming_changed(type: str | None, resource: kopf.Resource, body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    gone = type == "DELETED"
    meta, acknowledgements = body.meta, repr(body.status.get("acknowledgements"))
    memo.reconciler.told(resource.plural, meta, gone=gone)
    memo.reconciler.wake_if_changed(
        meta["namespace"], body.spec["exchange"], meta["uid"], (_essence(meta), acknowledgements), gone=gone
    )


async def child_changed(type: str | None, resource: kopf.Resource, meta: kopf.Meta, memo: kopf.Memo, **_: Any) -> None:
    memo.reconciler.told(resource.plural, meta, gone=type == "DELETED")
    memo.reconciler.wake(meta["namespace"], meta["labels"][names.EXCHANGE_LABEL])


for model in NAMING:
    kopf.on.event(model.resource.group, model.resource.plural, registry=registry)(naming_changed)
for child in CHILDREN:
    labels = {names.EXCHANGE_LABEL: kopf.PRESENT}
    kopf.on.event(child.group, child.version, child.plural, labels=labels, registry=registry)(child_changed)


def _essence(meta: kopf.Meta) -> tuple[object, ...]:
    """What of an object's metadata is worth a look: a status that was written, our own above all, is not."""
    return (meta.get("generation"), meta.get("deletionTimestamp"), repr(meta.get("ownerReferences")))
