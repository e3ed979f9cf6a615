"""`openbourse keys`: the API keys of a gateway, kept in a file that it reads again when it changes.

A secret is shown once, when its key is made, and never again.
"""

from pathlib import Path
from typing import NoReturn

import typer

from openbourse.gateway.keys import PERMISSIONS, Key, KeyFileInvalid, NoSuchKey, create_key, read_keys, revoke_key

__all__ = ["Key", "app", "create_key", "read_keys"]

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke the API keys of traders.")

File = typer.Option(..., "--file", help="The gateway's file of keys (its --keys).")
PublicKey = typer.Option(None, help="PEM file of the trader's Ed25519 or RSA public key, in place of a secret.")
Permissions = typer.Option(list(PERMISSIONS), "--permission", help="What the key may do; may be repeated.")


@app.command()
def create(
    file: Path = File,
    account: int = typer.Option(..., help="Account that the key trades for, from 1000."),
    label: str = typer.Option("", help="For people: what the key is for."),
    public_key: Path | None = PublicKey,
    permission: list[str] = Permissions,
) -> None:
    """Make a key, add it to the file and print it, with its secret where it has one.

    \b
    openbourse keys create --file keys.json --account 1001 --label bot
    openbourse keys create --file keys.json --account 1001 --public-key ed25519.pem --permission USER_DATA
    """
    try:
        pem = public_key.read_text() if public_key else ""
        key = create_key(file, account=account, label=label, public_key=pem, permissions=tuple(permission))
    except (OSError, UnicodeDecodeError, KeyFileInvalid) as error:
        _fail(error)
    typer.echo(f"account  {key.account}")
    typer.echo(f"api key  {key.api_key}")
    if key.secret:
        typer.echo(f"secret   {key.secret}")


@app.command("list")
def list_(file: Path = File) -> None:
    """List the keys, without their secrets.

    \b
    openbourse keys list --file keys.json
    """
    try:
        keys = read_keys(file)
    except (OSError, KeyFileInvalid) as error:
        _fail(error)
    for key in keys:
        how = "public key" if key.public_key else "secret"
        may = ",".join(key.permissions)
        typer.echo(f"{key.api_key}  account {key.account}  {how}  {may}  {key.created}  {key.label}".rstrip())
    typer.echo(f"{len(keys)} keys")


@app.command()
def revoke(
    api_key: str = typer.Argument(help="The key, as `openbourse keys list` shows it."), file: Path = File
) -> None:
    """Take a key out of the file: a gateway refuses it within a second.

    \b
    openbourse keys revoke --file keys.json 0123456789abcdef...
    """
    try:
        key = revoke_key(file, api_key)
    except (OSError, KeyFileInvalid, NoSuchKey) as error:
        _fail(error)
    typer.echo(f"revoked {key.api_key} of account {key.account}")


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"openbourse keys: {error}", err=True)
    raise typer.Exit(1)
