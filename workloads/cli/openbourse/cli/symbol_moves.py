"""`openbourse ledger move-symbol`, `symbol-moves`, `undo-symbol-move`: a symbol from one shard to another."""

import uuid
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from openbourse.cli.api_over_tls import fail
from openbourse.cli.ledger_api import Ledger, Tls, asked, exchange_with

app = typer.Typer()
console = Console()

LIST_WIDTH = 200


@app.command("move-symbol")
def move_symbol(  # noqa: PLR0917 - options of a command line
    symbol: Annotated[str, typer.Argument(help="A symbol that the first shard lists, such as BTCUSDT.")],
    from_shard: Annotated[str, typer.Option("--from", help="The shard that it leaves; --ledger is that one's.")],
    to_shard: Annotated[str, typer.Option("--to", help="The shard that it goes to, with its books in one database.")],
    ledger: Ledger,
    tls: Tls,
    move_id: Annotated[
        uuid.UUID | None, typer.Option("--id", help="Give the same one again to retry safely (default: a new one).")
    ] = None,
) -> None:
    """Move a symbol with its open orders, and the funds behind them, into another shard, while the exchange runs.

    \b
    openbourse ledger move-symbol BTCUSDT --from main --to second --ledger https://127.0.0.1:7100 --tls tls/cli
    """
    # Made here, so that it can be given again when the answer is lost on its way.
    wanted = move_id or uuid.uuid4()
    body = {"symbol": symbol, "from_shard": from_shard, "to_shard": to_shard, "move_id": str(wanted)}
    try:
        _show(exchange_with(ledger, tls, "POST", "/v1/moves/symbols", json=body))
    except httpx.TransportError as error:
        fail(f"the ledger did not answer ({error or type(error).__name__}): retry with --id {wanted}")


@app.command("undo-symbol-move")
def undo(
    move_id: Annotated[uuid.UUID, typer.Argument(help="As `move-symbol` printed it.")], ledger: Ledger, tls: Tls
) -> None:
    """Ask for a symbol back that is not in the other shard yet. The ledgers of both its shards take the wish.

    \b
    openbourse ledger undo-symbol-move 3f0c63a1-6f3d-4c39-8d2b-0c6a4e1d7a55
    """
    answer = asked(ledger, tls, "POST", f"/v1/moves/symbols/{move_id}/undo")
    console.print(f"move {move_id}: {answer['where']}", soft_wrap=True, highlight=False)


@app.command("symbol-moves")
def newest(
    ledger: Ledger,
    tls: Tls,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that are not over.")] = False,
    limit: Annotated[int, typer.Option(help="Moves at most.", min=1, max=200)] = 50,
) -> None:
    """List the moves of symbols out of the ledger's shard and into it, the newest first.

    \b
    openbourse ledger symbol-moves --pending --ledger https://127.0.0.1:7100 --tls tls/cli
    """
    answer = asked(ledger, tls, "GET", "/v1/moves/symbols", params={"pending": pending, "limit": limit})
    table = Table("move", "symbol", "from", "to", "state", "where", box=None)
    for row in answer["moves"]:
        table.add_row(*(row[name] for name in ("move_id", "symbol", "from_shard", "to_shard", "state", "where")))
    wide = Console(width=LIST_WIDTH, highlight=False)
    wide.print(table if answer["moves"] else "no moves")


def _show(answer: dict[str, Any]) -> None:
    """A move in one line; one that was given up ends with 1."""
    line = f"move {answer['move_id']} of {answer['symbol']} {answer['state']}: {answer['where']}"
    if answer["state"] in ("abandoned", "undone"):
        fail(line)
    paused = f"; it was paused for {answer['paused_ms']} ms" if "paused_ms" in answer else ""
    ask = "; ask again with `openbourse ledger symbol-moves --pending`" if "ask" in answer else ""
    console.print(line + paused + ask, soft_wrap=True, highlight=False)
