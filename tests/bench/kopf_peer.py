"""The peer of `operator_start`: what a tutorial of Kopf makes of it, a handler for each object that writes its status.

python kopf_peer.py NAMESPACE
"""

import asyncio
import datetime
import sys
from typing import Any

import kopf

from openbourse.contracts.resources import Symbol


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="peer.openbourse.dev")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="peer.openbourse.dev")


@kopf.on.login()
def login(**context: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**context)


@kopf.on.create(Symbol.resource.group, Symbol.resource.plural)
def symbol_made(patch: kopf.Patch, meta: kopf.Meta, **_: Any) -> None:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "Seen", "status": "True", "reason": "Seen", "message": "", "lastTransitionTime": now}
    patch.status["observedGeneration"] = meta["generation"]
    patch.status["conditions"] = [condition]


if __name__ == "__main__":
    asyncio.run(kopf.operator(standalone=True, namespaces=sys.argv[1:]))
