"""`openbourse ledger key`, `export`, `verify`, `prove` and what else is about the seal of a ledger.

Keys, exports, proofs and liabilities read the database, and some need the token; verifying needs neither.
"""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openbourse.ledger.errors import LedgerError
from openbourse.ledger.seal import exporting, keys, liabilities, notes, owed, proofs, store
from openbourse.ledger.seal.keychain import Announcement
from openbourse.ledger.seal.notes import WitnessKey
from openbourse.ledger.seal.token import TokenSettings

app = typer.Typer(no_args_is_help=True)
key_app = typer.Typer(no_args_is_help=True, help="Make, rotate and show the keys that seal the ledger.")
app.add_typer(key_app, name="key")

T = TypeVar("T")

Database = Annotated[
    str, typer.Option("--database", envvar="OPENBOURSE_DATABASE", help="postgresql://USER@HOST/DATABASE")
]
Origin = Annotated[
    str, typer.Option("--origin", envvar="OPENBOURSE_ORIGIN", help="The ledger's name, exchange.example/ledger.")
]
Key = Annotated[Path, typer.Option("--key", help="The ledger's first public key, PEM: what `key show` printed once.")]


@key_app.command()
def create(database: Database, origin: Origin) -> None:
    """Make the first key, inside the token, and print its public key.

    The token comes from OPENBOURSE_PKCS11_MODULE, OPENBOURSE_PKCS11_TOKEN and OPENBOURSE_PKCS11_PIN_FILE.

    \b
    openbourse ledger key create --origin exchange.example/ledger > seal.pem
    """
    _print_key(_run(keys.create(database, _token(origin))))


@key_app.command()
def rotate(database: Database, origin: Origin) -> None:
    """Make the next key, which the present one announces; it signs from the next checkpoint on.

    \b
    openbourse ledger key rotate --origin exchange.example/ledger
    """
    _print_key(_run(keys.rotate(database, _token(origin))))


@key_app.command()
def show(database: Database) -> None:
    """Print the first public key, which is the one to publish; the others to stderr.

    \b
    openbourse ledger key show > seal.pem
    """
    announced = _run(keys.announced(database))
    if not announced:
        _fail("this ledger has no key yet: `openbourse ledger key create` makes it")
    for announcement in announced[1:]:
        typer.echo(_line(announcement), err=True)
    _print_key(announced[0])


@app.command()
def export(folder: Annotated[Path, typer.Argument(help="A new folder.")], database: Database) -> None:
    """Write all that a verifier needs into a folder, as of one moment.

    \b
    openbourse ledger export /mnt/audit/2026-11-28
    """
    typer.echo(f"{_run(exporting.export(database, folder)):,} bytes in {folder}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="What `export` has written.")],
    key: Key,
    witness: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that a witness gave to you; again for each.")
    ] = None,
    witness_key: Annotated[
        str | None, typer.Option(help="The witness's key, as it prints it: its signature is checked too.")
    ] = None,
) -> None:
    """Verify an export offline; ends with 1 and the first bad place when anything is wrong.

    \b
    openbourse ledger verify /mnt/audit/2026-11-28 --key seal.pem --witness seen.note
    """
    # It needs numpy, a third of a second that other commands do not.
    from openbourse.ledger.seal import verify as verifying  # noqa: PLC0415

    try:
        seen = tuple(notes.parse(_read(path)) for path in witness or [])
        trusted = WitnessKey.parse(witness_key) if witness_key else None
        verdict = verifying.verify(folder, verifying.Trust(_first_key(key), seen, trusted))
    except LedgerError as error:
        _fail(str(error))
    typer.echo(
        f"{verdict.checkpoints:,} checkpoints, {verdict.leaves:,} leaves, {verdict.batches:,} batches "
        f"({verdict.unsealed_batches:,} not sealed yet), {verdict.entries:,} entries, {verdict.balances:,} balances"
        + (f", {verdict.unsealed_manual:,} manual entries not sealed yet" if verdict.unsealed_manual else "")
    )
    for problem in verdict.problems:
        typer.echo(str(problem), err=True)
    if not verdict.good:
        typer.echo("BAD", err=True)
        raise typer.Exit(1)
    if not seen:
        typer.echo("no witness's checkpoint was given: what was cut off or written anew with the key does not show")
    typer.echo("GOOD")


@app.command()
def prove(
    shard: Annotated[str, typer.Option(help="A shard.")],
    batch: Annotated[int, typer.Option(help="A batch of it that is sealed.")],
    database: Database,
) -> None:
    """Print the proof that a batch is in a checkpoint.

    \b
    openbourse ledger prove --shard main --batch 17 > batch-17.json
    """
    _print(_with_seal(database, lambda connection: proofs.inclusion(connection, shard, batch)))


@app.command()
def consistency(
    first: Annotated[int, typer.Option("--from", help="Number of a checkpoint.")],
    last: Annotated[int, typer.Option("--to", help="Number of a later one.")],
    database: Database,
) -> None:
    """Print the proof that one checkpoint continues another.

    \b
    openbourse ledger consistency --from 3 --to 17 > 3-to-17.json
    """
    _print(_with_seal(database, lambda connection: proofs.consistency(connection, first, last)))


@app.command()
def verify_proof(file: Annotated[Path, typer.Argument(help="What was printed.")], key: Key) -> None:
    """Verify what `prove` or `consistency` printed; ends with 1 when it proves nothing.

    \b
    openbourse ledger verify-proof batch-17.json --key seal.pem
    """
    try:
        proven = proofs.check(_json(file), _first_key(key))
    except LedgerError as error:
        _fail(str(error))
    if isinstance(proven, proofs.Included):
        what = f"shard {proven.shard} batch {proven.batch}, head {proven.head.hex()}"
        typer.echo(f"{what}, is in checkpoint {proven.checkpoint.number} of {proven.checkpoint.origin}")
    else:
        old, new = proven.old, proven.new
        typer.echo(
            f"checkpoint {new.number} ({new.size} leaves) continues checkpoint {old.number} ({old.size} leaves) "
            f"of {new.origin}"
        )


@app.command(name="liabilities")
def make_liabilities(
    folder: Annotated[Path, typer.Argument(help="A new folder.")], database: Database, origin: Origin
) -> None:
    """Write for each trader the file that proves what the exchange owes, as of the last checkpoint.

    \b
    openbourse ledger liabilities /mnt/liabilities/2026-11 --origin exchange.example/ledger
    """
    checkpoint = _run(owed.make_proofs(database, _token(origin), folder))
    typer.echo(f"as of checkpoint {checkpoint.number}: {', '.join(_amounts(checkpoint.liabilities()))} min-units")


@app.command()
def verify_liability(file: Annotated[Path, typer.Argument(help="A trader's file.")], key: Key) -> None:
    """Verify that a trader's funds are counted in what the exchange owes; ends with 1 when they are not.

    \b
    openbourse ledger verify-liability 1000.json --key seal.pem
    """
    try:
        counted = liabilities.check(_json(file), _first_key(key))
    except LedgerError as error:
        _fail(str(error))
    typer.echo(
        f"account {counted.account} has {', '.join(_amounts(counted.amounts)) or 'nothing'} of "
        f"{', '.join(_amounts(counted.totals))} min-units at checkpoint {counted.checkpoint.number} "
        f"of {counted.checkpoint.origin}"
    )


def _amounts(amounts: dict[str, int]) -> list[str]:
    return [f"{amount:,} {asset}" for asset, amount in sorted(amounts.items())]


def _token(origin: str) -> TokenSettings:
    try:
        return TokenSettings.from_environment(origin)
    except LedgerError as error:
        _fail(str(error))


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except LedgerError as error:
        _fail(str(error))


def _with_seal(database: str, ask: Any) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        connection = await store.open_seal(database)
        try:
            answer: dict[str, Any] = await ask(connection)
            return answer
        finally:
            await store.close(connection)

    return _run(run())


def _first_key(path: Path) -> bytes:
    return notes.p256_from_pem(_read(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _fail(str(error))


def _json(path: Path) -> object:
    try:
        document: object = json.loads(_read(path))
    except ValueError as error:
        _fail(f"{path} is no JSON: {error}")
    return document


def _print(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def _line(announcement: Announcement) -> str:
    return (
        f"key {notes.key_hash(announcement.public)}, generation {announcement.generation}, signs from checkpoint "
        f"{announcement.first_checkpoint} on, for {announcement.origin}"
    )


def _print_key(announcement: Announcement) -> None:
    typer.echo(_line(announcement), err=True)
    pem = notes.p256(announcement.public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    typer.echo(pem.decode(), nl=False)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
