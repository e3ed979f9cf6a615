"""`openbourse shard`: what a person does to a shard as a whole. `recover` names a leader where the rules name nobody.

Ends with 0 when the shard is recovered or needs no recovery, with 1 when it is not, and 2 when it was called wrongly.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from openbourse.cli.local_folder import read_engines
from openbourse.cli.recovery_plan import Heard, Nothing, Plan, Refusal, decide, next_below, statement
from openbourse.cli.recovery_talk import ask_all, seal, write_down
from openbourse.contracts.apiserver import ApiError, ApiServer
from openbourse.contracts.component import Component
from openbourse.contracts.session import Address
from openbourse.contracts.tls import client_context
from openbourse.engine.arbiters.arbiter import Arbiter, NotUnderstood, RecordError
from openbourse.engine.arbiters.record_folder import RecordFolder
from openbourse.engine.arbiters.record_lease import RecordLease
from openbourse.engine.replication.inputs import Conflicted
from openbourse.engine.replication.record import CompareAndSet, Record
from openbourse.engine.replication.recovery import recovered

app = typer.Typer(help="Look after a shard as a whole.", no_args_is_help=True)
console = Console(stderr=True, highlight=False)

AUDIT = "recoveries.jsonl"
SEAL_S = 60.0
# A volume may have promised more than was known when the epoch was chosen.
SEALS_MOST = 5
LEADS_S = 30.0
LOOK_S = 0.5


@app.callback()
def _group() -> None:
    """A group of one command so far."""


class NotRecovered(Exception):
    """What stands in the way, and what to do."""


@dataclass(frozen=True, slots=True)
class Task:
    shard: str
    members: tuple[Address, ...]
    tls: ssl.SSLContext
    gone: frozenset[str]
    reason: str
    audit: Path


@app.command()
def recover(
    *,
    data: Annotated[
        Path | None, typer.Option(help="folder of an exchange of `openbourse local`: finds everything by itself")
    ] = None,
    member: Annotated[
        list[str] | None, typer.Option(help="host:port of a member's links, as its --place says; again for each")
    ] = None,
    tls: Annotated[Path | None, typer.Option(help="folder with ca.crt, tls.crt, tls.key of the component cli")] = None,
    record: Annotated[Path | None, typer.Option(help="folder of the leadership record")] = None,
    record_lease: Annotated[
        str | None, typer.Option(help="namespace/name of the leadership record, a Lease (KUBECONFIG)")
    ] = None,
    shard: Annotated[str, typer.Option(help="name of the shard")] = "main",
    gone: Annotated[
        list[str] | None, typer.Option(help="a member or a place whose volume is lost for good; again for each")
    ] = None,
    reason: Annotated[str, typer.Option(help="how you know that; it is written down")] = "",
    audit: Annotated[Path | None, typer.Option(help=f"file for the audit lines (default: {AUDIT})")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="look, say what would be done, change nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Name a leader after the leadership record was lost or edited, or every member of the in-sync set is gone.

    Every volume that is left is sealed first: it refuses, acknowledges and leads nothing below a new epoch. Then the
    one with the highest last epoch, and of those the longest log, is written into the record, and leads. Running it
    again after it was interrupted is safe. Every member should be up; one whose volume is lost is named with --gone.

    \b
    openbourse shard recover --data .data/local --plan
    openbourse shard recover --data .data/local
    openbourse shard recover --member engine-0:7002 --member engine-1:7002 --record /var/lib/record --tls /etc/tls
    openbourse shard recover --member engine-1:7002 --record-lease exchange/main-record --tls /etc/tls \\
        --gone engine-0:7002 --reason 'its disk was replaced, ticket 4711'
    """
    if gone and not reason.strip():
        raise typer.BadParameter("say with --reason how you know that its volume is lost for good")
    if data is not None:
        members = read_engines(data)
        if not members:
            raise typer.BadParameter(f"{data} has no exchange with standbys: an engine that is alone needs no recovery")
        record, tls = record or data / "leadership", tls or data / "tls" / Component.CLI
        audit = audit or data / AUDIT
    else:
        members = member or []
    if not members:
        raise typer.BadParameter("name the members with --member, or the folder of a local exchange with --data")
    if (record is None) == (record_lease is None):
        raise typer.BadParameter("name the record, with --record or with --record-lease")
    if tls is None:
        raise typer.BadParameter("name the certificates of the component cli with --tls")
    try:
        addresses = tuple(Address.parse(place) for place in members)
        context = client_context(tls)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    task = Task(shard, addresses, context, frozenset(gone or ()), reason.strip(), audit or Path(AUDIT))
    try:
        asyncio.run(_recover(task, record, record_lease, plan_only=plan, yes=yes))
    except (NotRecovered, RecordError, ApiError, OSError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


@contextlib.asynccontextmanager
async def _arbiter(record: Path | None, lease: str | None, shard: str) -> AsyncIterator[Arbiter]:
    if record is not None:
        await asyncio.to_thread(record.mkdir, parents=True, exist_ok=True)
        yield RecordFolder(record, shard)
        return
    namespace, slash, name = (lease or "").partition("/")
    if not (namespace and slash and name):
        raise NotRecovered(f"--record-lease must be namespace/name, not {lease!r}")
    async with ApiServer.connect() as api:
        yield RecordLease(api, namespace, name, shard, recovers=True)


async def _recover(task: Task, folder: Path | None, lease: str | None, *, plan_only: bool, yes: bool) -> None:
    async with _arbiter(folder, lease, task.shard) as arbiter:
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
    )
    console.print(f"the record says now: {found}", markup=False, soft_wrap=True)
    return found


async def _seal_all(task: Task, plan: Plan, below: int) -> list[Heard]:
    """Of those that are not given up."""
    left = [address for address in task.members if str(address) not in plan.gone]
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
