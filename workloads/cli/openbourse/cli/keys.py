"""`openbourse keys`: the API keys of a gateway, kept in a file that it reads again when it changes.

A secret is shown once, when its key is made, and never again. Where the environment names a token
(OPENBOURSE_PKCS11_MODULE, _TOKEN, _PIN_FILE) the file is sealed under a key of it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

import typer

from openbourse.contracts.hsm import TokenError, token_settings
from openbourse.gateway.key_seal import TokenVault, vault_from_environment
from openbourse.gateway.keys import (
    PERMISSIONS,
    Key,
    KeyFileInvalid,
    NoSuchKey,
    create_key,
    import_keys,
    read_keys,
    read_text,
    restrict_key,
    revoke_key,
    rewrap,
)

__all__ = ["Key", "app", "create_key", "read_keys"]

app = typer.Typer(no_args_is_help=True, help="Create, list, restrict, revoke and seal the API keys of traders.")

File = typer.Option(..., "--file", help="The gateway's file of keys (its --keys).")
ApiKey = typer.Argument(help="The key, as `openbourse keys list` shows it.")
PublicKey = typer.Option(None, help="PEM file of the trader's Ed25519 or RSA public key, in place of a secret.")
Permissions = typer.Option(list(PERMISSIONS), "--permission", help="What the key may do; may be repeated.")
Addresses = typer.Option(
    [],
    "--address",
    help="Address or network (CIDR) that the key is good from; may be repeated; from everywhere without.",
)
NewPermissions = typer.Option([], "--permission", help="What the key may do from now on; may be repeated.")
NewAddresses = typer.Option([], "--address", help="Where it is good from now on (CIDR); may be repeated.")
Source = typer.Argument(help="A file of keys, with their secrets, as `openbourse keys create` makes it.")
Expires = typer.Option("", help="When the key ends: 2027-01-01 or 2027-01-01T12:00:00Z; never without.")


class Output(Enum):
    TABLE = "table"
    JSON = "json"


HowShown = typer.Option(Output.TABLE, "--output", "-o", help="How to show them.")


@app.command()
def create(
    *,
    file: Path = File,
    account: int = typer.Option(..., help="Account that the key trades for, from 1000."),
    label: str = typer.Option("", help="For people: what the key is for."),
    public_key: Path | None = PublicKey,
    permission: list[str] = Permissions,
    address: list[str] = Addresses,
    expires: str = Expires,
) -> None:
    """Make a key, add it to the file and print it, with its secret where it has one.

    \b
    openbourse keys create --file keys.json --account 1001 --label bot
    openbourse keys create --file keys.json --account 1001 --public-key ed25519.pem --permission USER_DATA
    openbourse keys create --file keys.json --account 1001 --address 192.0.2.7 --address 2001:db8::/32
    openbourse keys create --file keys.json --account 1001 --expires 2027-01-01
    """
    with _failing():
        key = create_key(
            file,
            account=account,
            label=label,
            public_key=public_key.read_text() if public_key else "",
            permissions=tuple(permission),
            addresses=tuple(address),
            expires=expires,
            vault=vault_from_environment(),
        )
    typer.echo(f"account  {key.account}")
    typer.echo(f"api key  {key.api_key}")
    if key.secret:
        typer.echo(f"secret   {key.secret}")


@app.command("list")
def list_(
    file: Path = File,
    account: int | None = typer.Option(None, help="Of this account alone."),
    output: Output = HowShown,
) -> None:
    """List the keys, without their secrets.

    \b
    openbourse keys list --file keys.json
    openbourse keys list --file keys.json --account 1001 -o json
    """
    with _failing():
        keys = [key for key in read_text(file).all() if account in (None, key.account)]
    if output is Output.JSON:
        typer.echo(json.dumps([_shown(key) for key in keys], indent=2))
        return
    rows: list[tuple[str, ...]] = [
        ("API KEY", "ACCOUNT", "SIGNS WITH", "PERMISSIONS", "ADDRESSES", "EXPIRES", "CREATED", "LABEL")
    ]
    rows += [_row(key) for key in keys]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows if keys else ():
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    typer.echo(f"{len(keys)} keys")


def _signs_with(key: Key) -> str:
    return "public key" if key.public_key else "secret"


def _row(key: Key) -> tuple[str, ...]:
    may, where = ",".join(key.permissions), ",".join(key.addresses) or "any"
    return (
        *(key.api_key, str(key.account), _signs_with(key), may, where),
        *(key.expires or "never", key.created, key.label),
    )


def _shown(key: Key) -> dict[str, object]:
    return {**key.model_dump(mode="json", exclude={"secret", "sealed"}), "signs_with": _signs_with(key)}


@app.command()
def revoke(api_key: str = ApiKey, file: Path = File) -> None:
    """Take a key out of the file: a gateway refuses it within a second.

    \b
    openbourse keys revoke --file keys.json 0123456789abcdef...
    """
    with _failing():
        key = revoke_key(file, api_key)
    typer.echo(f"revoked {key.api_key} of account {key.account}")


@app.command()
def restrict(
    api_key: str = ApiKey,
    *,
    file: Path = File,
    permission: list[str] = NewPermissions,
    address: list[str] = NewAddresses,
    any_address: bool = typer.Option(False, "--any-address", help="It is good from everywhere."),
    expires: str | None = typer.Option(None, help='When it ends: 2027-01-01T12:00:00Z, or "" for never.'),
    label: str | None = typer.Option(None, help="For people: what the key is for."),
) -> None:
    """Change what a key may do, from where and until when. What is not said stays as it is.

    \b
    openbourse keys restrict --file keys.json 0123456789abcdef... --address 192.0.2.0/24
    openbourse keys restrict --file keys.json 0123456789abcdef... --permission USER_DATA --expires 2027-01-01
    """
    if address and any_address:
        raise typer.BadParameter("say --address or --any-address, not both")
    wanted: dict[str, object] = {
        "permissions": tuple(permission) or None,
        "addresses": () if any_address else tuple(address) or None,
        "expires": expires,
        "label": label,
    }
    change = {name: value for name, value in wanted.items() if value is not None}
    if not change:
        raise typer.BadParameter("say what changes: --permission, --address, --any-address, --expires or --label")
    with _failing():
        key = restrict_key(file, api_key, vault=vault_from_environment(), **change)
    typer.echo(f"changed {key.api_key} of account {key.account}: {', '.join(sorted(change))}")


@app.command("import")
def import_(
    source: Path = Source,
    file: Path = File,
) -> None:
    """Add all keys of another file, or none of them where one is there already.

    \b
    openbourse keys import --file keys.json other-keys.json
    """
    with _failing():
        vault = vault_from_environment()
        count = import_keys(file, read_keys(source, vault), vault)
    typer.echo(f"{count} keys imported from {source}")


@app.command("rewrap")
def rewrap_(file: Path = File) -> None:
    """Seal all keys anew, under a new key of the token; a file in clear is sealed for the first time.

    A gateway takes it up as any other change. The old key stays in the token: older copies of the file need it.

    \b
    openbourse keys rewrap --file keys.json
    """
    with _failing():
        before, now = rewrap(file, TokenVault(token_settings()))
    typer.echo(f"sealed under {now.key!r}, before under {before.key!r}" if before else f"sealed under {now.key!r}")


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError, KeyFileInvalid, NoSuchKey, TokenError) as error:
        typer.echo(f"openbourse keys: {error}", err=True)
        raise typer.Exit(1) from None
