"""`openbourse account`: kill switches of traders' accounts, cancelling for them, and what they use.

Asks the gateway's port for people. Who somebody is and what they may do is whose certificate the folder of `--tls` has.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from openbourse.cli.gateway_api import (
    Account,
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

app = typer.Typer(
    no_args_is_help=True, help="Stop a trader's account and let it go on, cancel its orders, see what it uses."
)


@app.command()
def kill(  # noqa: PLR0917 - options of a command line
    account: Account,
    reason: Reason,
    gateway: Gateway,
    tls: Tls,
    yes: Yes = False,
    action_id: ActionId = None,
    output: As = Output.TEXT,
) -> None:
    """Cancel all orders of an account, in every market, and refuse new ones until `unkill`. Takes the role operator.

    \b
    openbourse account kill 1001 --reason "margin call" --gateway https://127.0.0.1:8443 --tls tls/ann
    """
    question = f"Cancel all orders of account {account} and refuse its new ones?"
    answer = act(f"/v1/accounts/{account}/kill", question, gateway, tls, reason=reason, yes=yes, action_id=action_id)
    show(answer, output, switch(answer))


@app.command()
def unkill(  # noqa: PLR0917 - options of a command line
    account: Account,
    reason: Reason,
    gateway: Gateway,
    tls: Tls,
    yes: Yes = False,
    action_id: ActionId = None,
    output: As = Output.TEXT,
) -> None:
    """Let a killed account trade again. What was cancelled stays cancelled. Takes the role admin.

    \b
    openbourse account unkill 1001 --reason "margin is paid" --gateway https://127.0.0.1:8443 --tls tls/eve
    """
    question = f"Let account {account} trade again?"
    answer = act(f"/v1/accounts/{account}/unkill", question, gateway, tls, reason=reason, yes=yes, action_id=action_id)
    show(answer, output, switch(answer))


@app.command("cancel-all")
def cancel_all(  # noqa: PLR0917 - options of a command line
    account: Account,
    reason: Reason,
    gateway: Gateway,
    tls: Tls,
    symbol: Annotated[str | None, typer.Option(help="Only in this one (default: in all that are not halted).")] = None,
    yes: Yes = False,
    action_id: ActionId = None,
    output: As = Output.TEXT,
) -> None:
    """Cancel the open orders of an account. It may place new ones at once. Takes the role operator.

    \b
    openbourse account cancel-all 1001 --reason "the trader asked" --gateway https://127.0.0.1:8443 --tls tls/ann
    openbourse account cancel-all 1001 --symbol BTCUSDT --reason "the trader asked" --yes
    """
    whose = f"account {account}" + ("" if symbol is None else f" in {symbol}")
    answer = act(
        f"/v1/accounts/{account}/cancel-all",
        f"Cancel all open orders of {whose}?",
        gateway,
        tls,
        reason=reason,
        yes=yes,
        action_id=action_id,
        symbol=symbol,
    )
    show(answer, output, canceled(answer, whose))


@app.command("show")
def show_account(account: Account, gateway: Gateway, tls: Tls, output: As = Output.TEXT) -> None:
    """Show an account's kill switch, open orders, countdowns, and how many orders it placed. Takes the role viewer.

    \b
    openbourse account show 1001 --gateway https://127.0.0.1:8443 --tls tls/ann
    openbourse account show 1001 -o json
    """
    answer = gateway_api.asked(gateway, tls, "GET", f"/v1/accounts/{account}")
    show(answer, output, described(answer))


def described(answer: dict[str, Any]) -> str:
    """An account for people, as the gateway answered."""
    lines = [
        switch(answer),
        f"orders placed: {answer['orders_10s']} in ten seconds, {answer['orders_day']} in the day",
    ]
    for countdown in answer["countdowns"]:
        at = datetime.fromtimestamp(countdown["cancel_at_us"] / 1e6, UTC)
        where = countdown["symbol"] or "all symbols"
        lines.append(f"countdown: orders in {where} are cancelled at {at:%Y-%m-%d %H:%M:%S} UTC")
    return "\n".join(lines)


def switch(answer: dict[str, Any]) -> str:
    switch = "is killed: it places no orders" if answer["killed"] else "may trade"
    return f"account {answer['account']} {switch}; {answer['open_orders']} orders are open"
