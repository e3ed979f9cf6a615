"""`openbourse ledger`: deposit, withdraw, look at transfers and balances, prove that engine and ledger are equal.

Moves between shards are in openbourse.cli.moves, those of symbols in openbourse.cli.symbol_moves, what is about the
seal in openbourse.cli.seal, the rebuild in openbourse.cli.rebuild.

Speaks to the ledger's API over mutual TLS, as a person with a certificate of the component `cli`.
"""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from openbourse.cli import adjust, moves, rebuild, seal, symbol_moves
from openbourse.cli.api_over_tls import fail
from openbourse.cli.ledger_api import Ledger, Tls, asked, exchange_with
from openbourse.contracts.units import format_units

app = typer.Typer(
    no_args_is_help=True, help="Deposit, withdraw, move, look at balances, reconcile with the engine; seal and verify."
)
app.add_typer(moves.app)
app.add_typer(symbol_moves.app)
app.add_typer(seal.app)
app.add_typer(rebuild.app)
app.add_typer(adjust.app, name="adjust")

STATEMENT_WIDTH = 200

Account = Annotated[int, typer.Option(help="The trader's account, from 1000.")]
Asset = Annotated[str, typer.Option(help="An asset that is listed, such as USDT.")]
Amount = Annotated[str, typer.Option(help="A decimal number, such as 1000.50.")]
TransferId = Annotated[
    uuid.UUID | None, typer.Option(help="Give the same one again to retry safely (default: a new one).")
]

console = Console()


@app.command()
def deposit(  # noqa: PLR0917 - options of a command line
    account: Account, asset: Asset, amount: Amount, ledger: Ledger, tls: Tls, transfer_id: TransferId = None
) -> None:
    """Deposit funds from outside into a trader's account.

    \b
    openbourse ledger deposit --account 1000 --asset USDT --amount 50000 --ledger https://127.0.0.1:7100 --tls tls/cli
    """
    _move("/v1/deposits", account, asset, amount, ledger, tls, transfer_id)


@app.command()
def withdraw(  # noqa: PLR0917 - options of a command line
    account: Account, asset: Asset, amount: Amount, ledger: Ledger, tls: Tls, transfer_id: TransferId = None
) -> None:
    """Withdraw funds that a trader's account has available. What is on hold for orders stays.

    \b
    openbourse ledger withdraw --account 1000 --asset USDT --amount 20.5 --ledger https://127.0.0.1:7100 --tls tls/cli
    """
    _move("/v1/withdrawals", account, asset, amount, ledger, tls, transfer_id)


@app.command()
def transfer(
    transfer_id: Annotated[uuid.UUID, typer.Argument(help="As `deposit` or `withdraw` printed it.")],
    ledger: Ledger,
    tls: Tls,
) -> None:
    """Show what became of a transfer.

    \b
    openbourse ledger transfer 3f0c63a1-6f3d-4c39-8d2b-0c6a4e1d7a55
    """
    _show(asked(ledger, tls, "GET", f"/v1/transfers/{transfer_id}"))


@app.command()
def balances(account: Annotated[int, typer.Option(help="A trader's account.")], ledger: Ledger, tls: Tls) -> None:
    """Show what an account has available and on hold.

    \b
    openbourse ledger balances --account 1000
    """
    answer = asked(ledger, tls, "GET", "/v1/balances", params={"account": account})
    table = Table("asset")
    table.add_column("available", justify="right")
    table.add_column("hold", justify="right")
    for row in answer["balances"]:
        table.add_row(row["asset"], *(format_units(row[side], row["scale"]) for side in ("available", "hold")))
    console.print(table if answer["balances"] else f"account {account} never had anything")


@app.command()
def statement(  # noqa: PLR0917 - options of a command line
    account: Annotated[int, typer.Option(help="A trader's account, 1 for fees, 2 outside, 3 suspense, 4 adjustment.")],
    asset: Annotated[str, typer.Option(help="An asset that is listed, such as USDT.")],
    ledger: Ledger,
    tls: Tls,
    limit: Annotated[int, typer.Option(help="Lines at most.", min=1, max=1000)] = 50,
    before: Annotated[str | None, typer.Option(help="Older lines: as the page before printed it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object, amounts in min-units.")] = False,
) -> None:
    """Show what moved an account's balance of an asset, the newest first, with the balance after each line.

    \b
    openbourse ledger statement --account 1000 --asset USDT --ledger https://127.0.0.1:7100 --tls tls/cli
    """
    wanted = {"account": account, "asset": asset, "limit": limit, **({} if before is None else {"before": before})}
    answer = asked(ledger, tls, "GET", "/v1/statement", params=wanted)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    table = Table("seq", "time", "what", "symbol", box=None)
    amounts = ("available", "hold", "available_after", "hold_after")
    for name in amounts:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("correlation")
    for line in answer["lines"]:
        at = datetime.fromtimestamp(line["occurred_at_us"] / 1e6, UTC)
        table.add_row(
            *(f"{line['seq']}.{line['event_index']}", f"{at:%Y-%m-%d %H:%M:%S}", line["about"] or line["kind"]),
            line["symbol"],
            *(format_units(line[name], answer["scale"]) for name in amounts),
            line["correlation_id"],
        )
    # Amounts are whole, whatever the terminal's width.
    wide = Console(width=STATEMENT_WIDTH, highlight=False)
    wide.print(table if answer["lines"] else f"nothing moved the {asset} of account {account}")
    if answer["next"]:
        console.print(f"older: --before {answer['next']}", soft_wrap=True)


@app.command()
def reconcile(ledger: Ledger, tls: Tls) -> None:
    """Compare every balance of engine and ledger at one seq; ends with 1 when any differs.

    \b
    openbourse ledger reconcile --ledger https://127.0.0.1:7100 --tls tls/cli
    """
    report = asked(ledger, tls, "POST", "/v1/reconcile")
    table = Table(title=f"right after seq {report['seq']}", title_justify="left")
    table.add_column("check")
    table.add_column("differences", justify="right")
    table.add_row(f"engine = ledger, {report['balances']} balances", str(report["engine_differences"]))
    table.add_row("balances = sum of all entries", str(report["entries_differences"]))
    table.add_row("every asset sums to zero", str(len(report["unbalanced_assets"])))
    console.print(table)
    for left, right, key in (("engine", "ledger", "engine_first"), ("kept", "entries", "entries_first")):
        for row in report[key]:
            sides = f"{left} {row['left']}, {right} {row['right']} (available, hold)"
            console.print(f"account {row['account']} {row['asset']}: {sides}")
    for asset, total in report["unbalanced_assets"].items():
        console.print(f"{asset}: all balances sum to {total}")
    console.print(f"equal at seq {report['seq']}" if report["equal"] else "DIFFERENT")
    if not report["equal"]:
        raise typer.Exit(1)


def _move(  # noqa: PLR0917 - options of a command line
    path: str, account: int, asset: str, amount: str, ledger: str, tls: Path, transfer_id: uuid.UUID | None
) -> None:
    # Made here, so that it can be given again when the answer is lost on its way.
    wanted = transfer_id or uuid.uuid4()
    body = {"account": account, "asset": asset, "amount": amount, "transfer_id": str(wanted)}
    try:
        _show(exchange_with(ledger, tls, "POST", path, json=body))
    except httpx.TransportError as error:
        fail(f"the ledger did not answer ({error or type(error).__name__}): retry with --transfer-id {wanted}")


def _show(answer: dict[str, Any]) -> None:
    """A transfer in one line; one that was voided ends with 1."""
    amount = f"{format_units(answer['amount_units'], answer['scale'])} {answer['asset']}"
    line = f"transfer {answer['transfer_id']} {answer['state']}"
    what = f"{answer['direction']} of {amount}, account {answer['account']}"
    match answer["state"]:
        case "posted":
            console.print(f"{line} at seq {answer['posted_seq']}: {what}", soft_wrap=True, highlight=False)
        case "pending":
            ask = f"ask again with `openbourse ledger transfer {answer['transfer_id']}`"
            console.print(f"{line}: {what}; {ask}", soft_wrap=True, highlight=False)
        case _:
            fail(f"{line}: {answer['reason']} ({what})")
