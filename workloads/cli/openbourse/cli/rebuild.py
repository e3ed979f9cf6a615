"""`openbourse ledger rebuild`: the balances again from the entries, beside a ledger that goes on settling.

Speaks to the database itself, as its owner. Decides nothing: openbourse.ledger.rebuild does.
"""

import asyncio
from typing import Annotated, NoReturn

import typer

from openbourse.ledger import rebuild as rebuilding
from openbourse.ledger.errors import LedgerError

app = typer.Typer(no_args_is_help=True)


@app.command()
def rebuild(
    database: Annotated[
        str, typer.Option("--database", envvar="OPENBOURSE_DATABASE", help="postgresql://OWNER@HOST/DATABASE")
    ],
    shard: Annotated[str, typer.Option(help="The shard whose balances are made again.")] = "main",
    swap: Annotated[bool, typer.Option("--swap", help="Put what was made in place of what is kept.")] = False,
) -> None:
    """Make all balances again from nothing but the entries, and compare; ends with 1 when any differs and stays.

    Settlement goes on meanwhile; Ctrl-C leaves everything as it was. Run as the owner of the tables.

    \b
    OPENBOURSE_DATABASE=postgresql://postgres@db/openbourse openbourse ledger rebuild --swap
    """
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


def _say(made: rebuilding.Made) -> None:
    typer.echo(f"seq {made.seq:,} of {made.of_seq:,}, {made.entries:,} entries", err=True)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
