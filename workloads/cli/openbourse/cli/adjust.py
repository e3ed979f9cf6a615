"""`openbourse ledger adjust`: manual entries between the exchange's own accounts, each by two people.

Who somebody is, is whose certificate the folder of `--tls` has: nobody approves what the same certificate's name asked.
"""

import uuid
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from openbourse.cli.api_over_tls import fail
from openbourse.cli.ledger_api import Ledger, Tls, asked, exchange_with
from openbourse.contracts.units import format_units

app = typer.Typer(
    no_args_is_help=True,
    help="Manual entries between fees, external, suspense and adjustment: one person proposes, another approves.",
)
WIDTH = 200


class House(StrEnum):
    """The exchange's own accounts."""

    FEES = "fees"
    EXTERNAL = "external"
    SUSPENSE = "suspense"
    ADJUSTMENT = "adjustment"


_NUMBERS = {House.FEES: 1, House.EXTERNAL: 2, House.SUSPENSE: 3, House.ADJUSTMENT: 4}

EntryId = Annotated[uuid.UUID, typer.Argument(help="As `propose`, `reverse` or `list` printed it.")]
Reason = Annotated[str, typer.Option(help="Why, in one line: it is kept for good.")]
OwnId = Annotated[uuid.UUID | None, typer.Option(help="Give the same one again to retry safely (default: a new one).")]


@app.command()
def propose(  # noqa: PLR0917 - options of a command line
    source: Annotated[House, typer.Option("--from", help="Whose balance gets less.")],
    to: Annotated[House, typer.Option(help="Whose balance gets more.")],
    asset: Annotated[str, typer.Option(help="An asset that is listed, such as USDT.")],
    amount: Annotated[str, typer.Option(help="A decimal number, such as 12.50.")],
    reason: Reason,
    ledger: Ledger,
    tls: Tls,
    entry_id: OwnId = None,
) -> None:
    """Propose an entry. Nothing moves before another person approves it.

    \b
    openbourse ledger adjust propose --from adjustment --to suspense --asset USDT --amount 12.5 --reason "bank fee"
    """
    accounts = {"from_account": _NUMBERS[source], "to_account": _NUMBERS[to]}
    body = {"asset": asset, "amount": amount, "reason": reason, **accounts}
    _propose("/v1/manual-entries", body, ledger, tls, entry_id)


@app.command()
def approve(entry_id: EntryId, ledger: Ledger, tls: Tls) -> None:
    """Post an entry that another person proposed: both balances move now.

    \b
    openbourse ledger adjust approve 3f0c63a1-6f3d-4c39-8d2b-0c6a4e1d7a55 --tls tls/ann
    """
    _show(asked(ledger, tls, "POST", f"/v1/manual-entries/{entry_id}/approve"))


@app.command()
def reject(entry_id: EntryId, ledger: Ledger, tls: Tls) -> None:
    """Reject an entry that another person proposed: it never moves anything.

    \b
    openbourse ledger adjust reject 3f0c63a1-6f3d-4c39-8d2b-0c6a4e1d7a55 --tls tls/ann
    """
    _show(asked(ledger, tls, "POST", f"/v1/manual-entries/{entry_id}/reject"))


@app.command()
def reverse(of: EntryId, reason: Reason, ledger: Ledger, tls: Tls, entry_id: OwnId = None) -> None:
    """Propose to move back exactly what a posted entry moved. Another person approves it, as any entry.

    \b
    openbourse ledger adjust reverse 3f0c63a1-6f3d-4c39-8d2b-0c6a4e1d7a55 --reason "the bank gave it back"
    """
    _propose(f"/v1/manual-entries/{of}/reverse", {"reason": reason}, ledger, tls, entry_id)


@app.command("list")
def list_entries(
    ledger: Ledger,
    tls: Tls,
    undecided: Annotated[bool, typer.Option("--undecided", help="Only what waits for a second person.")] = False,
    limit: Annotated[int, typer.Option(help="Entries at most.", min=1, max=200)] = 50,
) -> None:
    """Show manual entries, the newest first.

    \b
    openbourse ledger adjust list --undecided
    """
    wanted = {"undecided": undecided, "limit": limit}
    found = asked(ledger, tls, "GET", "/v1/manual-entries", params=wanted)["entries"]
    table = Table("entry", "kind", "from", "to", "amount", "state", "proposed by", "decided by", "reason", box=None)
    for entry in found:
        table.add_row(
            *(entry["entry_id"], entry["kind"], entry["from"], entry["to"], _amount(entry), entry["state"]),
            *(entry["requested_by"], entry["decided_by"] or "", entry["reason"]),
        )
    Console(width=WIDTH, highlight=False).print(table if found else "no manual entries")


def _propose(path: str, body: dict[str, object], ledger: str, tls: Tls, entry_id: uuid.UUID | None) -> None:
    # Made here, so that it can be given again when the answer is lost on its way.
    wanted = entry_id or uuid.uuid4()
    try:
        _show(exchange_with(ledger, tls, "POST", path, json=body | {"entry_id": str(wanted)}))
    except httpx.TransportError as error:
        fail(f"the ledger did not answer ({error or type(error).__name__}): retry with --entry-id {wanted}")


def _show(entry: dict[str, Any]) -> None:
    """An entry in one line."""
    line = f"entry {entry['entry_id']} {entry['state']}: {entry['kind']} of {_amount(entry)}"
    what = f"{line} from {entry['from']} to {entry['to']}, proposed by {entry['requested_by']}"
    if entry["state"] == "proposed":
        typer.echo(f"{what}; another person: `openbourse ledger adjust approve {entry['entry_id']}`")
    else:
        typer.echo(f"{what}, decided by {entry['decided_by']}")


def _amount(entry: dict[str, Any]) -> str:
    return f"{format_units(entry['amount_units'], entry['scale'])} {entry['asset']}"
