"""`openbourse shard`: what a person does to a shard as a whole. `recover` names a leader where the rules name nobody.

Ends with 0 when the shard is recovered or needs no recovery, with 1 when it is not, and 2 when it was called wrongly.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from openbourse.cli.local_folder import read_engines
from openbourse.cli.recovery import NotRecovered, Task, console, recover_shard
from openbourse.cli.recovery_talk import Door
from openbourse.contracts.apiserver import ApiError, ApiServer
from openbourse.contracts.component import Component
from openbourse.contracts.session import Address
from openbourse.contracts.tls import client_context
from openbourse.engine.arbiters.arbiter import Arbiter, RecordError
from openbourse.engine.arbiters.record_folder import RecordFolder
from openbourse.engine.arbiters.record_lease import RecordLease

app = typer.Typer(help="Look after a shard as a whole.", no_args_is_help=True)
AUDIT = "recoveries.jsonl"


@app.callback()
def _group() -> None:
    """A group of one command so far."""


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
    doors = tuple(Door(address, address) for address in addresses)
    task = Task(shard, doors, context, frozenset(gone or ()), reason.strip(), audit or Path(AUDIT))
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
        await recover_shard(task, arbiter, plan_only=plan_only, yes=yes)
