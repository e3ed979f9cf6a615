"""Seals a report and stores it: the head of the chain in a Secret, the report in a ConfigMap, the key in a token.

The Secret is in the namespace of what runs rehearsals, the ConfigMap beside the Rehearsal, which owns it. The order is:
report, head, status. A process that dies in between finds the report that it stored, and goes on from there.
"""

import base64
import dataclasses
from functools import partial

from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.contracts.resources import Rehearsal
from openbourse.operator.manifests import kinds
from openbourse.operator.rehearsals.conduct import owner_of
from openbourse.operator.rehearsals.page import page
from openbourse.operator.rehearsals.report import NOTHING_BEFORE, Report, Sealed, check, seal
from openbourse.operator.rehearsals.signing import Signing

REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
_NUMBER, _HEAD = "number", "head"
# In a Secret of before keys were in a token: one that signs no more, and is not kept.
_EARLIER_KEY = "key"


@dataclasses.dataclass(frozen=True, slots=True)
class Chain:
    """Where the next report goes. `stored`: the Secret, of the version that was read."""

    number: int
    head: str
    stored: Object


def report_name(rehearsal: Rehearsal) -> str:
    return f"{rehearsal.metadata.name}-report"


async def chain_of(api: ApiServer, house: str, rehearsal: Rehearsal) -> Chain:
    """The one of the rehearsal's exchange, begun where there is none. Raises ApiError."""
    name = f"reports-{rehearsal.metadata.namespace}-{rehearsal.spec.exchange}"
    stored = await api.get(kinds.SECRET, house, name)
    if stored is None:
        metadata = {"name": name, "namespace": house, "labels": {"app.kubernetes.io/name": "openbourse"}}
        fields = {_NUMBER: "0", _HEAD: NOTHING_BEFORE}
        stored = await api.create(kinds.SECRET, {"metadata": metadata, "stringData": fields})
    data = {field: base64.b64decode(value).decode() for field, value in stored["data"].items()}
    return Chain(int(data[_NUMBER]), data[_HEAD], stored)


async def stored_report(api: ApiServer, rehearsal: Rehearsal) -> Sealed | None:
    """What an earlier process stored before it died. Raises ApiError."""
    found = await api.get(kinds.CONFIG_MAP, rehearsal.metadata.namespace, report_name(rehearsal))
    if found is None:
        return None
    text = found.get("data", {}).get(REPORT_FILE, "")
    checked = check(text)
    if checked.report is None or checked.report.uid != rehearsal.metadata.uid:
        return None
    return Sealed(checked.report, text, checked.sha256, checked.key)


async def store(api: ApiServer, signing: Signing, house: str, rehearsal: Rehearsal, unsealed: Report) -> Sealed:
    """`unsealed` gets its number and the digest of the one before. Raises ApiError, TokenRefused and TokenAway."""
    chain = await chain_of(api, house, rehearsal)
    sealed = await stored_report(api, rehearsal)
    if sealed is not None and sealed.report.number == chain.number and sealed.sha256 != chain.head:
        # Another process was first with this number: this one is in no chain.
        await api.delete(kinds.CONFIG_MAP, rehearsal.metadata.namespace, report_name(rehearsal))
        sealed = None
    if sealed is None:
        number, previous = chain.number + 1, chain.head
        key = await signing.key(f"reports {rehearsal.metadata.namespace}/{rehearsal.spec.exchange}")
        report = unsealed.model_copy(update={"number": number, "previous": previous})
        sealed = await signing.sign(partial(seal, report, key))
        await api.create(kinds.CONFIG_MAP, _config_map(rehearsal, sealed))
    if sealed.report.number == chain.number + 1:
        fields = {_NUMBER: str(sealed.report.number), _HEAD: sealed.sha256}
        data = {field: base64.b64encode(value.encode()).decode() for field, value in fields.items()}
        # Compare and set: two processes that do not know of each other do not fork the chain.
        kept = {field: value for field, value in chain.stored["data"].items() if field != _EARLIER_KEY}
        await api.replace(kinds.SECRET, chain.stored | {"data": kept | data})
    return sealed


def _config_map(rehearsal: Rehearsal, sealed: Sealed) -> Object:
    return {
        "metadata": {
            "name": report_name(rehearsal),
            "namespace": rehearsal.metadata.namespace,
            "labels": {"app.kubernetes.io/name": "openbourse", "openbourse.dev/report": rehearsal.spec.exchange},
            "ownerReferences": [owner_of(rehearsal)],
        },
        "immutable": True,
        "data": {REPORT_FILE: sealed.text, PAGE_FILE: page(sealed.report, sealed.sha256, sealed.key)},
    }
