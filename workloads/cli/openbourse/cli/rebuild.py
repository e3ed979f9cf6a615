"""`openbourse ledger rebuild`: the balances again from the entries, or from the engine's log, beside a ledger at work.

Speaks to the database itself. Decides nothing: openbourse.ledger.rebuild and openbourse.ledger.journal_proof do.
"""

import asyncio
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from openbourse.cli.journal import FolderJournal
from openbourse.engine.errors import Fatal
from openbourse.ledger import rebuild as rebuilding
from openbourse.ledger.books import open_books
from openbourse.ledger.differences import DIFFERENCES_SHOWN
from openbourse.ledger.errors import LedgerError
from openbourse.ledger.journal_proof import SIDES, Proof, prove

app = typer.Typer(no_args_is_help=True)


@app.command()
def rebuild(
    database: Annotated[
        str, typer.Option("--database", envvar="OPENBOURSE_DATABASE", help="postgresql://OWNER@HOST/DATABASE")
    ],
    shard: Annotated[str, typer.Option(help="The shard whose balances are made again.")] = "main",
    swap: Annotated[bool, typer.Option("--swap", help="Put what was made in place of what is kept.")] = False,
    from_wal: Annotated[
        Path | None,
        typer.Option(
            help="The folder that an engine has as --wal: make them from its log instead.", exists=True, file_okay=False
        ),
    ] = None,
) -> None:
    """Make all balances again from nothing but the entries, and compare; ends with 1 when any differs and stays.

    Settlement goes on meanwhile; Ctrl-C leaves everything as it was. Run as the owner of the tables; with --from-wal as
    whoever may read them.

    \b
    OPENBOURSE_DATABASE=postgresql://postgres@db/openbourse openbourse ledger rebuild --swap
    openbourse ledger rebuild --database postgresql://openbourse_ledger@db/openbourse --from-wal /var/lib/engine/wal
    """
    if from_wal is not None:
        if swap:
            raise typer.BadParameter(
                "what a log makes is compared and never written: entries are the truth here", param_hint="--swap"
            )
        _prove(database, shard, from_wal)
        return
    try:
        rebuilt = asyncio.run(rebuilding.rebuild(database, shard, swap=swap, say=_say))
    except LedgerError as error:
        _fail(f"{type(error).__name__}: {error}")
    what = f"{rebuilt.balances:,} balances from {rebuilt.entries:,} entries"
    if not rebuilt.differences:
        typer.echo(f"equal at seq {rebuilt.seq}: {what}")
        return
    for difference in rebuilt.first:
        typer.echo(difference.told(*rebuilding.SIDES))
    if rebuilt.differences > len(rebuilt.first):
        typer.echo(f"and {rebuilt.differences - len(rebuilt.first):,} more")
    typer.echo(f"DIFFERENT at seq {rebuilt.seq}: {rebuilt.differences:,} of {what}")
    if not rebuilt.swapped:
        _fail("nothing was changed: --swap puts what the entries make in their place")
    typer.echo(
        f"swapped: {rebuilt.swapped:,} balances are what the entries make; settlement waited {rebuilt.held_s:.3f} s"
    )


def _prove(database: str, shard: str, folder: Path) -> None:
    try:
        proof, journal = asyncio.run(_proven(database, shard, folder))
    except KeyboardInterrupt:
        _fail("interrupted: nothing is written by this, so everything is as it was")
    except Fatal as error:
        _fail(f"{folder}: {error}")
    except LedgerError as error:
        _fail(f"{type(error).__name__}: {error}")
    if proof.journal_seq < proof.settled_seq:
        ends = journal.damaged or journal.torn or "it ends there"
        typer.echo(
            f"the log is good up to seq {proof.journal_seq} ({ends}), and settled is seq {proof.settled_seq}", err=True
        )
    what = f"{proof.balances:,} balances from the engine's log"
    if proof.differences:
        for difference in proof.differences[:DIFFERENCES_SHOWN]:
            typer.echo(difference.told(*SIDES))
        if len(proof.differences) > DIFFERENCES_SHOWN:
            typer.echo(f"and {len(proof.differences) - DIFFERENCES_SHOWN:,} more")
        typer.echo(f"DIFFERENT at seq {proof.seq}: {len(proof.differences):,} of {what}")
        if proof.first_bad is None:
            _fail("every entry is the log's: the balances themselves were changed; rebuild --swap makes them again")
        _fail(f"first bad seq {proof.first_bad.seq}: {proof.first_bad.moved.told('entry', 'log')}")
    typer.echo(f"equal at seq {proof.seq}: {what}")
    if journal.damaged or proof.journal_seq < proof.settled_seq:
        _fail(f"but not beyond: {journal.damaged or 'the log is shorter than the books'}")


async def _proven(database: str, shard: str, folder: Path) -> tuple[Proof, FolderJournal]:
    async with open_books(database, shard) as books:
        settled_seq = (await books.watermark()).seq
        journal = await asyncio.to_thread(FolderJournal, folder, shard, settled_seq)
        if journal.begun_seq:
            typer.echo(f"its first segments are recycled: from the snapshot of seq {journal.begun_seq} on", err=True)
        proof = await prove(books, shard, journal, lambda at, seq: typer.echo(f"seq {at:,} of {seq:,}", err=True))
        return proof, journal


def _say(made: rebuilding.Made) -> None:
    typer.echo(f"seq {made.seq:,} of {made.of_seq:,}, {made.entries:,} entries", err=True)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
