"""`openbourse ledger`: deposit, withdraw, look at transfers and balances, prove that engine and ledger are equal.

What is about the seal is in openbourse.cli.seal, the rebuild in openbourse.cli.rebuild.

Speaks to the ledger's API over mutual TLS, as a person with a certificate of the component `cli`.
"""

import json
import ssl
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
from rich.console import Console
from rich.table import Table

from openbourse.cli import rebuild, seal
from openbourse.contracts.tls import client_context
from openbourse.contracts.units import format_units

app = typer.Typer(
    no_args_is_help=True, help="Deposit, withdraw, look at balances, reconcile with the engine; seal and verify."
)
app.add_typer(seal.app)
app.add_typer(rebuild.app)

# Reconciliation may wait for the ledger to catch up and then read all of its entries.
TIMEOUT_S = 180.0
CONNECT_TIMEOUT_S = 5.0
STATEMENT_WIDTH = 200

Ledger = Annotated[
    str, typer.Option("--ledger", envvar="OPENBOURSE_LEDGER", help="The ledger's API, https://HOST:PORT.")
]
Tls = Annotated[
    Path, typer.Option("--tls", envvar="OPENBOURSE_TLS", help="Folder of ca.crt, tls.crt and tls.key of a `cli`.")
]

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
    _show(_asked(ledger, tls, "GET", f"/v1/transfers/{transfer_id}"))


@app.command()
def balances(account: Annotated[int, typer.Option(help="A trader's account.")], ledger: Ledger, tls: Tls) -> None:
    """Show what an account has available and on hold.

    \b
    openbourse ledger balances --account 1000
    """
    answer = _asked(ledger, tls, "GET", "/v1/balances", params={"account": account})
    table = Table("asset")
    table.add_column("available", justify="right")
    table.add_column("hold", justify="right")
    for row in answer["balances"]:
        table.add_row(row["asset"], *(format_units(row[side], row["scale"]) for side in ("available", "hold")))
    console.print(table if answer["balances"] else f"account {account} never had anything")


@app.command()
def statement(  # noqa: PLR0917 - options of a command line
    account: Annotated[int, typer.Option(help="A trader's account, 1 for fees, 2 for the outside.")],
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
    answer = _asked(ledger, tls, "GET", "/v1/statement", params=wanted)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    table = Table("seq", "time", "kind", "symbol", box=None)
    amounts = ("available", "hold", "available_after", "hold_after")
    for name in amounts:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("correlation")
    for line in answer["lines"]:
        at = datetime.fromtimestamp(line["occurred_at_us"] / 1e6, UTC)
        table.add_row(
            *(f"{line['seq']}.{line['event_index']}", f"{at:%Y-%m-%d %H:%M:%S}", line["kind"], line["symbol"]),
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
    report = _asked(ledger, tls, "POST", "/v1/reconcile")
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
        _show(_ask(ledger, tls, "POST", path, json=body))
    except httpx.TransportError as error:
        _fail(f"the ledger did not answer ({error or type(error).__name__}): retry with --transfer-id {wanted}")


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
            _fail(f"{line}: {answer['reason']} ({what})")


def _asked(ledger: str, tls: Path, method: str, path: str, **more: Any) -> dict[str, Any]:
    try:
        return _ask(ledger, tls, method, path, **more)
    except httpx.TransportError as error:
        _fail(f"the ledger at {ledger} did not answer: {error or type(error).__name__}")


def _ask(ledger: str, tls: Path, method: str, path: str, **more: Any) -> dict[str, Any]:
    """The answer, or the end of the command with the ledger's own words. Raises TransportError."""
    if not ledger.startswith("https://"):
        _fail(f"--ledger is {ledger!r}: it looks like https://127.0.0.1:7100")
    try:
        context = client_context(tls)
    except (OSError, ssl.SSLError) as error:
        _fail(f"--tls {tls}: {error}; it needs ca.crt, tls.crt and tls.key")
    timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    with httpx.Client(base_url=ledger, verify=context, timeout=timeout) as client:
        response = client.request(method, path, **more)
    try:
        answer: dict[str, Any] = response.json()
    except ValueError:
        _fail(f"{ledger} is no ledger: it answered {response.status_code} {response.text[:200]!r}")
    if not response.is_success:
        _fail(f"{answer.get('reason', response.status_code)}: {answer.get('message', answer)}")
    return answer


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
