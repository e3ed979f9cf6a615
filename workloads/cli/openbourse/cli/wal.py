"""`openbourse wal`: looks at a write-ahead log and changes nothing. An engine may run on it meanwhile.

Each command ends with 0 when all is good, 1 when something is wrong with a log, and 2 when it was called wrongly.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from openbourse.cli import wal_audit
from openbourse.engine.errors import Fatal
from openbourse.engine.journal import roots, wal

app = typer.Typer(help="Look at an engine's write-ahead log.", no_args_is_help=True)

_FOLDER = typer.Argument(help="the folder that the engine has as --wal", exists=True, file_okay=False)
Folder = Annotated[Path, _FOLDER]
To = Annotated[int | None, typer.Option("--to", min=1, help="last seq (default: as far as the log is good)")]


@app.command()
def verify(
    folder: Folder,
    key: Annotated[
        Path | None,
        typer.Option(help="public key, PEM: check the signed root of each finished segment too", dir_okay=False),
    ] = None,
    reaches: Annotated[
        int | None,
        typer.Option(min=1, help="a seq that was acknowledged: a log that ends before it has lost its tail"),
    ] = None,
) -> None:
    """Check every record: CRC, seq, epoch, chain. Names the first one that is not good.

    Example: openbourse wal verify ~/.local/share/openbourse/engine --key signing-key.pem.pub --reaches 120000
    """
    with _clean_errors():
        report = wal.verify(folder)
        shown = report.as_json()
        complaints = _complaints(report)
        if report.first_seq > 1:
            complaints += _recoverable(folder, report, shown)
        if reaches is not None and report.last_seq < reaches:
            complaints.append(f"the log is good up to seq {report.last_seq}; seq {reaches} was acknowledged")
        if key is not None:
            checked = roots.check(folder, _public_key(key))
            shown["signatures"] = asdict(checked)
            complaints += [f"signature: {wrong}" for wrong in checked.wrong]
            # An engine signs a segment right after it has finished it.
            newest = roots.finished(folder)[-1:]
            complaints += [f"not signed: {segment}" for segment in checked.unsigned if [segment] != newest]
    print(json.dumps(shown, indent=2))
    if report.torn is not None:
        typer.echo(f"torn end, never acknowledged: {report.torn}", err=True)
    _end(complaints)


@app.command()
def dump(
    folder: Folder,
    from_seq: Annotated[int | None, typer.Option("--from", min=1, help="first seq (default: the log's)")] = None,
    to_seq: To = None,
) -> None:
    """Print records, one JSON object a line, as far as the log is good.

    Example: openbourse wal dump ~/.local/share/openbourse/engine --from 100 --to 120
    """
    with _clean_errors():
        report = wal.verify(folder)
        for record in wal.records(folder, max(from_seq or 1, report.first_seq), _last_seq(report, to_seq)):
            print(json.dumps(record))
    _end(_complaints(report))


@app.command()
def replay(folder: Folder, to_seq: To = None) -> None:
    """Run the log through the kernel: the state hash at each checkpoint and at the end, one JSON object a line.

    Ends with 1 where the kernel comes to another state than a checkpoint of the log recorded. A log whose first
    segments were recycled is run from the newest good snapshot up to the last seq on.

    Example: openbourse wal replay ~/.local/share/openbourse/engine --to 120000
    """
    with _clean_errors():
        report = wal.verify(folder)
        last_seq = _last_seq(report, to_seq)
        for state in wal.replay(folder, report, last_seq, _heard(folder, last_seq)):
            print(json.dumps(asdict(state)), flush=True)
    _end(_complaints(report))


@app.command()
def diff(first: Folder, second: Folder) -> None:
    """Find the first record where two logs differ, and whether their states differ at the last seq that both have.

    One may be longer than the other, or have lost its first segments to recycling: only what both have is compared.
    Ends with 1 when any record that both have differs.

    Example: openbourse wal diff engine-0/wal engine-1/wal
    """
    with _clean_errors():
        reports = [wal.verify(folder) for folder in (first, second)]
        last_seq = min(report.last_seq for report in reports)
        heard = (_heard(first, last_seq), _heard(second, last_seq))
        found = wal.diff((first, reports[0]), (second, reports[1]), heard)
    print(json.dumps({**asdict(found), "same_state": found.same_state}, indent=2))
    complaints = [
        f"{folder}: {complaint}"
        for folder, report in zip((first, second), reports, strict=True)
        for complaint in _complaints(report)
    ]
    if found.first_seq is not None:
        states = {True: "the same state", False: "another state", None: f"states unknown here: {found.no_states}"}
        complaints.append(
            f"they differ from seq {found.first_seq} on ({', '.join(found.fields)}); "
            f"at seq {found.last_common_seq} they come to {states[found.same_state]}"
        )
    _end(complaints)


@app.command()
def audit(
    folder: Folder,
    symbol: Annotated[str, typer.Option(help="whose book is looked at, such as BTCUSDT")],
    from_seq: Annotated[int, typer.Option("--from", min=1, help="first seq")] = 1,
    names: Annotated[str, typer.Option(help="client order ids that begin so are told")] = "",
) -> None:
    """Say what the log makes of orders and a book, by a kernel of its own: one JSON object, to hold against clients.

    Orders by client order id, state hashes at checkpoints, chains, epochs, gaps of update ids, crossed books.

    Example: openbourse wal audit /var/lib/openbourse/wal --symbol BTCUSDT --from 120000 --names drill-
    """
    with _clean_errors():
        report = wal.verify(folder)
        try:
            found = wal_audit.audit(folder, report, from_seq, names, symbol)
        except Fatal as error:
            # Said where it is looked for too: a log that cannot be carried out is worse than one that was not read.
            print(json.dumps({"damaged": str(error)}))
            raise
    print(json.dumps(found))
    _end(_complaints(report))


def _complaints(report: wal.Report) -> list[str]:
    return [] if report.damaged is None else [f"damaged: {report.damaged}"]


def _last_seq(report: wal.Report, to_seq: int | None) -> int:
    return report.last_seq if to_seq is None else min(to_seq, report.last_seq)


def _recoverable(folder: Path, report: wal.Report, shown: dict[str, Any]) -> list[str]:
    """Where an engine would begin that starts on a log without its first segments."""
    try:
        _, shown["snapshot_seq"] = wal.begin(folder, report, report.last_seq)
    except Fatal as error:
        return [f"no engine starts on it: {error}"]
    return []


def _heard(folder: Path, last_seq: int) -> wal.Heard:
    return wal.Heard(
        begun=lambda seq: typer.echo(
            f"{folder}: its first segments are recycled: from the snapshot of seq {seq} on", err=True
        ),
        progress=lambda seq: typer.echo(f"replayed {seq} of {last_seq}", err=True),
    )


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        return roots.public_key(path)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path} is no public key: {error}", param_hint="--key") from None


@contextmanager
def _clean_errors() -> Iterator[None]:
    try:
        yield
    except Fatal as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _end(complaints: list[str]) -> None:
    for complaint in complaints:
        typer.echo(complaint, err=True)
    if complaints:
        raise typer.Exit(1)
