"""`openbourse ledger move`, `show-move`, `moves`: an account's money from one shard to another, and where it is."""

import uuid
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from openbourse.cli.api_over_tls import fail
from openbourse.cli.ledger_api import Ledger, Tls, asked, exchange_with
from openbourse.contracts.units import format_units

app = typer.Typer()
console = Console()

LIST_WIDTH = 200


@app.command()
def move(  # noqa: PLR0917 - options of a command line
    account: Annotated[int, typer.Option(help="The trader's account, from 1000.")],
    asset: Annotated[str, typer.Option(help="An asset that both shards list, such as USDT.")],
    amount: Annotated[str, typer.Option(help="A decimal number, such as 1000.50, of what is available.")],
    from_shard: Annotated[str, typer.Option("--from", help="The shard that it leaves; --ledger is that one's.")],
    to_shard: Annotated[str, typer.Option("--to", help="The shard that it goes to, with its books in one database.")],
    ledger: Ledger,
    tls: Tls,
    move_id: Annotated[
        uuid.UUID | None, typer.Option("--id", help="Give the same one again to retry safely (default: a new one).")
    ] = None,
) -> None:
    """Move what an account has available from one shard into another.

    \b
    openbourse ledger move --account 1001 --asset USDT --amount 10 --from main --to second --ledger https://127.0.0.1:7100
    """
    # Made here, so that it can be given again when the answer is lost on its way.
    wanted = move_id or uuid.uuid4()
    body = {
        **{"account": account, "asset": asset, "amount": amount, "move_id": str(wanted)},
        **{"from_shard": from_shard, "to_shard": to_shard},
    }
    try:
        _show(exchange_with(ledger, tls, "POST", "/v1/moves", json=body))
    except httpx.TransportError as error:
        fail(f"the ledger did not answer ({error or type(error).__name__}): retry with --id {wanted}")


@app.command("show-move")
def show_move(
    move_id: Annotated[uuid.UUID, typer.Argument(help="As `move` printed it.")], ledger: Ledger, tls: Tls
) -> None:
    """Show what became of a move, and where its money is. The ledgers of both its shards know.

    \b
    openbourse ledger show-move 3f0c63a1-6f3d-4c39-8d2b-0c6a4e1d7a55
    """
    _show(asked(ledger, tls, "GET", f"/v1/moves/{move_id}"))


@app.command("moves")
def newest(
    ledger: Ledger,
    tls: Tls,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that are not decided.")] = False,
    limit: Annotated[int, typer.Option(help="Moves at most.", min=1, max=200)] = 50,
) -> None:
    """List the moves out of the ledger's shard and into it, the newest first.

    \b
    openbourse ledger moves --pending --ledger https://127.0.0.1:7100 --tls tls/cli
    """
    answer = asked(ledger, tls, "GET", "/v1/moves", params={"pending": pending, "limit": limit})
    table = Table("move", "account", "amount", "from", "to", "state", "where", box=None)
    for row in answer["moves"]:
        table.add_row(
            *(row["move_id"], str(row["account"]), _amount(row), row["from_shard"], row["to_shard"]),
            *(row["state"], row["where"]),
        )
    wide = Console(width=LIST_WIDTH, highlight=False)
    wide.print(table if answer["moves"] else "no moves")


def _amount(row: dict[str, Any]) -> str:
    return f"{format_units(row['amount_units'], row['scale'])} {row['asset']}"


def _show(answer: dict[str, Any]) -> None:
    """A move in one line; one that was voided ends with 1."""
    shards = f"from {answer['from_shard']} to {answer['to_shard']}"
    what = f"{_amount(answer)} of account {answer['account']} {shards}"
    line = f"move {answer['move_id']} {answer['state']}"
    match answer["state"]:
        case "posted":
            seqs = ", ".join(f"{leg['leg']} at seq {leg['posted_seq']} of {leg['shard']}" for leg in answer["legs"])
            console.print(f"{line}: {what}; {seqs}", soft_wrap=True, highlight=False)
        case "pending":
            ask = f"ask again with `openbourse ledger show-move {answer['move_id']}`"
            console.print(f"{line}: {what}; {answer['where']}; {ask}", soft_wrap=True, highlight=False)
        case _:
            fail(f"{line}: {answer['reason']} ({what})")
