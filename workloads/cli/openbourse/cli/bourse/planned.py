"""What the operator would do next, as lines for people: what was observed in, the plan and what is waited for out.

The plan is that of this version of `kubectl bourse`; the operator of a cluster may be of another. Nothing here asks
anybody, and nothing is ever carried out.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import CustomResource
from openbourse.operator import authority_status, moves
from openbourse.operator.conditions import exchange_facts, shard_facts, symbol_facts
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import kinds, names
from openbourse.operator.observed import Observed
from openbourse.operator.plan import Action, plan

_TO_HOLD = frozenset({"Ready", "InSync", "MarketDataReady", "Listed", "CertificatesCurrent"})
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Step:
    """`action` in words, such as `apply` or `issue certificate`; `object` is empty where the reason names it."""

    action: str
    object: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """What is not as it should be, and what the operator does not change or cannot: an object's condition."""

    object: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Planned:
    exchange: str
    # Empty: there is nothing to do.
    phase: str
    steps: tuple[Step, ...]
    waits: tuple[Wait, ...]
    # Engines whose status page gave no answer: the plan was made without what they know.
    silent: tuple[str, ...]


def planned(observed: Observed) -> Planned:
    """Of an exchange that is there."""
    assert observed.exchange is not None
    step = plan(observed)
    return Planned(
        exchange=observed.name,
        phase=step.phase,
        steps=tuple(_step(action) for action in step.actions),
        waits=tuple(_waits(observed)),
        silent=tuple(_silent(observed)),
    )


def as_document(seen: Planned) -> Object:
    return dataclasses.asdict(seen)


def screen(seen: Planned) -> RenderableType:
    parts: list[RenderableType] = []
    if seen.steps:
        parts.append(
            Text(f"phase {seen.phase}: {len(seen.steps)} to do; what comes after it is planned once it is done")
        )
        parts.append(_table(("ACTION", "OBJECT", "WHY"), [(s.action, s.object or "-", s.reason) for s in seen.steps]))
    else:
        parts.append(Text("nothing to do", style="green"))
    if seen.waits:
        rows = [(wait.object, wait.reason, wait.message) for wait in seen.waits]
        parts += [Text(), _table(("NOT AS IT SHOULD BE", "REASON", "WHAT"), rows)]
    if seen.silent:
        parts += [Text(), Text(f"planned without what these would say: {', '.join(seen.silent)}", style="yellow")]
    return Group(*parts)


def _step(action: Action) -> Step:
    resource, manifest = getattr(action, "resource", None), getattr(action, "manifest", None)
    name = manifest["metadata"]["name"] if manifest is not None else getattr(action, "name", "")
    words = _WORD.sub(" ", type(action).__name__).lower()
    symbol = getattr(action, "symbol", None)
    of = _named(symbol) if symbol is not None else f"{resource.kind} {name}" if resource is not None else ""
    return Step(words, of, action.reason)


def _waits(observed: Observed) -> Iterator[Wait]:
    exchange = observed.exchange
    assert exchange is not None
    if exchange.metadata.deletion_timestamp is not None:
        yield Wait(_named(exchange), "BeingDeleted", "its parts go with it; volumes and Leases stay")
        return
    yield from _not_so(exchange, [*exchange_facts(observed, exchange), authority_status.current(observed, exchange)])
    for shard in observed.shards:
        yield from _not_so(shard, shard_facts(observed, shard))
    for symbol in observed.symbols:
        yield from _not_so(symbol, symbol_facts(observed, symbol)[1])


def _not_so(owner: CustomResource, facts: list[Fact]) -> Iterator[Wait]:
    for fact in facts:
        is_missing = fact.type in _TO_HOLD and fact.holds is not True
        if is_missing or (fact.type == moves.CONDITION and fact.reason != moves.IN_PLACE):
            yield Wait(_named(owner), fact.reason, fact.message)


def _named(owner: CustomResource) -> str:
    return f"{owner.resource.kind} {owner.metadata.name}"


def _silent(observed: Observed) -> Iterator[str]:
    for pod in observed.of_kind(kinds.POD):
        metadata = pod["metadata"]
        is_engine = metadata.get("labels", {}).get(names.COMPONENT_LABEL) == Component.ENGINE
        if is_engine and metadata["name"] not in observed.engines:
            yield metadata["name"]


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
