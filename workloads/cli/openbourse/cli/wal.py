"""`openbourse wal`: looks at a write-ahead log and changes nothing."""

import json
from pathlib import Path
from typing import Annotated

import typer

from openbourse.engine import wal
from openbourse.engine.errors import Fatal

app = typer.Typer(help="Look at an engine's write-ahead log.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="the folder that the engine has as --wal", exists=True, file_okay=False)]


@app.command()
def verify(folder: Folder) -> None:
    """Check every record: CRC, seq, epoch, chain. Exit code 1 if the log is damaged.

    Example: openbourse wal verify ~/.local/share/openbourse/engine
    """
    report = _verify(folder)
    print(json.dumps(report.as_json(), indent=2))
    if report.damaged is not None:
        typer.echo(f"damaged: {report.damaged}", err=True)
        raise typer.Exit(1)


@app.command()
def show(
    folder: Folder,
    from_seq: Annotated[int, typer.Option("--from", min=1, help="first seq to show")] = 1,
    to_seq: Annotated[int | None, typer.Option("--to", min=1, help="last seq to show")] = None,
) -> None:
    """Print records, one JSON object a line, as far as the log is good.

    Example: openbourse wal show ~/.local/share/openbourse/engine --from 100 --to 120
    """
    report = _verify(folder)
    last_seq = report.last_seq if to_seq is None else min(to_seq, report.last_seq)
    for record in wal.records(folder, from_seq, last_seq):
        print(json.dumps(record))
    if report.damaged is not None:
        typer.echo(f"damaged: {report.damaged}", err=True)
        raise typer.Exit(1)


def _verify(folder: Path) -> wal.Report:
    try:
        return wal.verify(folder)
    except Fatal as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
