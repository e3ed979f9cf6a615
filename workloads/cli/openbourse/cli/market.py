"""`openbourse market`: what each market's state is and what decides it, and cancelling all orders of one or of a shard.

Asks the gateway's port for people. Halts are the operator's to impose (`kubectl`, see docs/symbol-states.md).
"""

from typing import Annotated

import typer
from rich.table import Table

from openbourse.cli.api_over_tls import fail
from openbourse.cli.gateway_api import (
    ActionId,
    As,
    Gateway,
    Output,
    Reason,
    Tls,
    Yes,
    act,
    canceled,
    gateway_api,
    show,
)

app = typer.Typer(no_args_is_help=True, help="See what is halted and why; cancel all orders of a market or a shard.")


@app.command("show")
def show_markets(
    gateway: Gateway,
    tls: Tls,
    symbol: Annotated[str | None, typer.Argument(help="One that is listed (default: all).")] = None,
    output: As = Output.TEXT,
) -> None:
    """Show the state of markets, and what decides it: a halt, the shard's safety, or an auction. Takes the role viewer.

    \b
    openbourse market show --gateway https://127.0.0.1:8443 --tls tls/ann
    openbourse market show BTCUSDT -o json
    """
    path = "/v1/markets" if symbol is None else f"/v1/markets/{symbol}"
    answer = gateway_api.asked(gateway, tls, "GET", path)
    table = Table("symbol", "state", "by", "reason", box=None)
    for market in answer.get("markets", [answer]):
        source = market["source"] or {}
        by = " ".join(source.values())
        table.add_row(market["symbol"], market["state"], by, market["reason"])
    show(answer, output, table)


@app.command("cancel-all")
def cancel_all(  # noqa: PLR0917 - options of a command line
    reason: Reason,
    gateway: Gateway,
    tls: Tls,
    symbol: Annotated[str | None, typer.Argument(help="A symbol that is listed, such as BTCUSDT.")] = None,
    whole_shard: Annotated[bool, typer.Option("--whole-shard", help="Of all symbols: takes the role admin.")] = False,
    yes: Yes = False,
    action_id: ActionId = None,
    output: As = Output.TEXT,
) -> None:
    """Cancel the open orders of all accounts in a market, in every state of it. Takes the role operator.

    \b
    openbourse market cancel-all BTCUSDT --reason "relisted tomorrow" --gateway https://127.0.0.1:8443 --tls tls/ann
    openbourse market cancel-all --whole-shard --reason "end of the test" --tls tls/eve
    """
    if (symbol is None) is not whole_shard:
        fail("name one symbol, or say --whole-shard: the one or the other")
    whose = f"all accounts in {symbol or 'ALL MARKETS'}"
    path = "/v1/shard/cancel-all" if whole_shard else f"/v1/markets/{symbol}/cancel-all"
    question = f"Cancel all open orders of {whose}?"
    answer = act(path, question, gateway, tls, reason=reason, yes=yes, action_id=action_id)
    show(answer, output, canceled(answer, whose))
