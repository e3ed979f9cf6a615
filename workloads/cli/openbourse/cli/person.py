"""`openbourse person`: certificates with which people act at the command line, each under a name of their own.

Whoever has the exchange's authority can make anybody's, so it stays with who keeps the exchange's secrets.
"""

import base64
import binascii
import datetime
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from openbourse.contracts import certificates, durable
from openbourse.contracts.certificates import CERTIFICATE_DAYS, Issued
from openbourse.contracts.component import Component
from openbourse.contracts.roles import Role
from openbourse.ledger.errors import Invalid
from openbourse.ledger.seal.folders import make_new

app = typer.Typer(
    no_args_is_help=True, help="Certificates of people, so that what one did is told from what another did."
)

NAME_MOST = 64
DAYS_MOST = 365


class NotIssued(Exception):
    """Why there is no certificate, and what is allowed."""


@app.callback()
def group() -> None:
    """A group with one command stays a group."""


@app.command()
def issue(
    name: Annotated[str, typer.Argument(help="The person, as entries will say: a name that nobody else has.")],
    authority: Annotated[
        str,
        typer.Option(help="The exchange's authority: a folder of tls.crt and tls.key, or - for its Secret as JSON."),
    ],
    out: Annotated[Path, typer.Option(help="A new folder for ca.crt, tls.crt and tls.key: what --tls takes.")],
    role: Annotated[
        Role | None,
        typer.Option(help="For `openbourse account` and `openbourse market`: to look, to stop, or to let go on too."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=DAYS_MOST, help="How long it is good.")] = CERTIFICATE_DAYS,
) -> None:
    """Make a certificate for a person, to be given to `openbourse ledger` and others with --tls.

    \b
    openbourse person issue ann --authority ~/.openbourse/local/tls/authority --out ann
    openbourse person issue bob --role operator --authority ~/.openbourse/local/tls/authority --out bob
    kubectl get secret demo-authority -o json | openbourse person issue ann --authority - --out ann
    """
    try:
        signer = read_authority(authority)
        made = certificates.issue(
            signer,
            certificates.exchange_of(signer),
            Component.CLI,
            (),
            datetime.datetime.now(datetime.UTC),
            person=person_name(name),
            role=role,
            days=days,
        )
        write(out, made.files(signer))
    except (NotIssued, Invalid, OSError, ValueError) as error:
        typer.echo(f"openbourse person: {error}", err=True)
        raise typer.Exit(1) from None
    as_role = "" if role is None else f", {role}"
    typer.echo(f"{out}: certificate of {name}{as_role}, good for {days} days; use it with --tls {out}")


def person_name(name: str) -> str:
    """Raises NotIssued."""
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= NAME_MOST:
        raise NotIssued(f"{name[:80]!r} is no name of a person: 1 to {NAME_MOST} printable characters")
    if name in set(Component):
        raise NotIssued(f"{name!r} is what components are called: {', '.join(Component)}; take the person's own name")
    return name


def read_authority(place: str) -> Issued:
    """Raises NotIssued and OSError."""
    if place == "-":
        return _of_secret(sys.stdin.read())
    folder = Path(place)
    missing = [name for name in ("tls.crt", "tls.key") if not (folder / name).is_file()]
    if missing:
        raise NotIssued(f"{folder} has no {' and no '.join(missing)}: name the authority's folder, or - for its Secret")
    return Issued((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())


def _of_secret(text: str) -> Issued:
    try:
        data = json.loads(text)["data"]
        return Issued(*(base64.b64decode(data[key], validate=True) for key in ("tls.crt", "tls.key")))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise NotIssued(
            "standard input is no Secret of an authority: `kubectl get secret EXCHANGE-authority -o json`"
        ) from None


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Readable by its owner alone. Raises Invalid and OSError."""
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    make_new(folder)
    for name, content in files.items():
        durable.create(folder / name, content, 0o600)
