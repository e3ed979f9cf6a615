"""Recovers a shard: seals every volume that is left, then names the one that has most, and waits until it leads.

What is allowed, `recovery_plan` decides; how members are asked, `recovery_talk` knows. Everything is said on stderr.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from openbourse.cli.recovery_plan import Heard, Nothing, Plan, Refusal, decide, next_below, statement
from openbourse.cli.recovery_talk import Door, ask_all, seal, write_down
from openbourse.engine.arbiters.arbiter import Arbiter, NotUnderstood
from openbourse.engine.arbiters.record_lease import RecordLease
from openbourse.engine.replication.inputs import Conflicted
from openbourse.engine.replication.record import CompareAndSet, Record
from openbourse.engine.replication.recovery import recovered

console = Console(stderr=True, highlight=False)

SEAL_S = 60.0
# A volume may have promised more than was known when the epoch was chosen.
SEALS_MOST = 5
LEADS_S = 30.0
LOOK_S = 0.5


class NotRecovered(Exception):
    """What stands in the way, and what to do."""


@dataclass(frozen=True, slots=True)
class Task:
    shard: str
    members: tuple[Door, ...]
    tls: ssl.SSLContext
    gone: frozenset[str]
    reason: str
    audit: Path
    # More that the audit lines are to say, such as `by`.
    audited: dict[str, str] = field(default_factory=dict)


async def recover_shard(task: Task, arbiter: Arbiter, *, plan_only: bool, yes: bool) -> None:
    """Asks, unless `yes`, once it is known what would be done. Raises NotRecovered, RecordError, OSError.

    What may not be written into the record is refused before a volume is sealed.
    """
    record, version = await _read(arbiter)
    heard = await ask_all(task.members, task.tls, task.shard)
    _show(heard)
    decision = decide(heard, record, task.gone)
    match decision:
        case Nothing(why):
            console.print(f"nothing to recover: {why}", markup=False, soft_wrap=True)
            return
        case Refusal(why):
            raise NotRecovered(why)
        case Plan(below, volumes, lost, best):
            said = f"seals {len(volumes - lost)} volumes below epoch {below}, then names {best}"
            if lost:
                said += f", and gives up {', '.join(sorted(lost))}: {task.reason}"
            console.print(said, markup=False, soft_wrap=True)
    if plan_only:
        return
    if isinstance(arbiter, RecordLease):
        await arbiter.would_take(CompareAndSet(version, Record(below, None, frozenset({best}))))
    if not yes and not typer.confirm("Recover the shard like this?"):
        raise NotRecovered("nothing was changed")
    written = await _carry_out(task, arbiter, decision, record, version)
    await _wait_for_leader(task, written)


async def _read(arbiter: Arbiter) -> tuple[Record | None, str | None]:
    """The record and its version. Raises RecordError where it cannot be reached."""
    try:
        held = await arbiter.read()
    except NotUnderstood as error:
        console.print(f"record: {error}", markup=False, soft_wrap=True)
        return None, error.version
    console.print(f"record: {held.record if held is not None else 'there is none'}", markup=False, soft_wrap=True)
    return (None, None) if held is None else (held.record, held.version)


async def _carry_out(task: Task, arbiter: Arbiter, plan: Plan, record: Record | None, version: str | None) -> Record:
    write_down(
        task.audit,
        "recovery begun",
        shard=task.shard,
        record=str(record),
        volumes=sorted(plan.volumes),
        gone=sorted(plan.gone),
        reason=task.reason,
        **task.audited,
    )
    below, heard = plan.below, list[Heard]()
    for _ in range(SEALS_MOST):
        heard = await _seal_all(task, plan, below)
        told = [one.testimony for one in heard if one.testimony is not None]
        if len(told) < len(heard) or all(testimony.sealed_below == below for testimony in told):
            break
        below = next_below(told, record)
    _show(heard)
    sealed = [statement(one.testimony) for one in heard if one.testimony is not None]
    found = recovered(below, sealed, plan.gone, plan.volumes)
    if isinstance(found, str):
        raise NotRecovered(f"{found}. What was sealed stays so: run this again")
    outcome = await arbiter.compare_and_set(CompareAndSet(version, found))
    if isinstance(outcome, Conflicted):
        raise NotRecovered("somebody else changed the record meanwhile: run this again")
    write_down(
        task.audit,
        "recovered",
        shard=task.shard,
        record=str(found),
        statements=[f"{one.member}: last epoch {one.last_epoch}, length {one.length}" for one in sealed],
        gone=sorted(plan.gone),
        reason=task.reason,
        **task.audited,
    )
    console.print(f"the record says now: {found}", markup=False, soft_wrap=True)
    return found


async def _seal_all(task: Task, plan: Plan, below: int) -> list[Heard]:
    """Of those that are not given up."""
    left = [door for door in task.members if str(door.place) not in plan.gone]
    return list(await asyncio.gather(*(seal(one, task.tls, task.shard, below, SEAL_S) for one in left)))


async def _wait_for_leader(task: Task, record: Record) -> None:
    (named,) = record.in_sync
    for _ in range(int(LEADS_S / LOOK_S)):
        for heard in await ask_all(task.members, task.tls, task.shard):
            told = heard.testimony
            if told is not None and told.state == "leader" and told.promised > record.epoch:
                console.print(f"{told.member} at {told.place} leads epoch {told.promised}", markup=False)
                return
        await asyncio.sleep(LOOK_S)
    raise NotRecovered(f"{named} is named and does not lead after {LEADS_S:g} s: look at its status and its log")


def _show(heard: list[Heard]) -> None:
    table = Table(box=None)
    for column in ("place", "member", "last epoch", "length", "promised", "state"):
        # Whole, so that it can be copied.
        table.add_column(column, no_wrap=True, overflow="fold")
    table.add_column("")
    for one in heard:
        told = one.testimony
        if told is None:
            table.add_row(one.place, "-", "-", "-", "-", "not heard of", one.why)
        else:
            numbers = map(str, (told.last_epoch, told.length, told.promised))
            table.add_row(one.place, told.member, *numbers, told.state, told.why)
    console.print(table)
