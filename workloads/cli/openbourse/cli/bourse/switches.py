"""`kubectl bourse cancel-all`, `kill-account`, `revive-account`, `account`: a gateway's port for people.

Who acts is who the API server says that they are, by a certificate of an hour; or whose certificate --tls has. Who,
what, when and why is in the gateway's log and in the shard's journal (`docs/switches.md`).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from openbourse.cli import account as accounts
from openbourse.cli.bourse import person
from openbourse.cli.bourse.cluster import (
    Context,
    ExchangeOption,
    Kubeconfig,
    Namespace,
    Target,
    connected,
    read_all,
    the_exchange,
)
from openbourse.cli.bourse.console import Output, OutputOption, fail, run, show
from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.forward import forwarded
from openbourse.cli.gateway_api import Account, ActionId, Reason, Yes, act, canceled, gateway_api
from openbourse.contracts.resources import Exchange
from openbourse.contracts.roles import Role
from openbourse.contracts.units import FIRST_TRADER
from openbourse.operator.manifests import gateway as manifest
from openbourse.operator.manifests import names

Gateway = Annotated[
    str | None,
    typer.Option(
        envvar="OPENBOURSE_GATEWAY",
        help="Its port for people, https://HOST:PORT.",
        show_default="by a port that kubectl forwards",
    ),
]
Tls = Annotated[
    Path | None,
    typer.Option(
        envvar="OPENBOURSE_TLS",
        help="Folder of ca.crt, tls.crt and tls.key.",
        show_default="a certificate of an hour, that the operator signs for whom the API server says that you are",
    ),
]


def _switch(word: str, question: str, role: Role, text: str) -> Callable[..., None]:
    """A command that sets an account's kill switch. `text` is its help."""

    def command(
        account: Account,
        *,
        reason: Reason,
        yes: Yes = False,
        action_id: ActionId = None,
        gateway: Gateway = None,
        tls: Tls = None,
        exchange: ExchangeOption = None,
        output: OutputOption = Output.TABLE,
        namespace: Namespace = None,
        context: Context = None,
        kubeconfig: Kubeconfig = None,
    ) -> None:
        with _gateway(Target(namespace, context, kubeconfig), exchange, role, gateway, tls) as (place, folder):
            path, asked = f"/v1/accounts/{account}/{word}", question.format(account=account)
            answer = act(path, asked, place, folder, reason=reason, yes=yes, action_id=action_id)
        show(answer, output, accounts.switch(answer))

    command.__doc__ = text
    return command


kill_account = _switch(
    "kill",
    "Cancel all orders of account {account} and refuse its new ones?",
    Role.OPERATOR,
    """Cancel all orders of an account and refuse new ones until it is revived. Takes the right to operate the exchange.

    \b
    kubectl bourse kill-account 1001 --reason "margin call" -n exchange
    kubectl bourse kill-account 1001 --reason "margin call" --yes -o json
    """,
)
revive_account = _switch(
    "unkill",
    "Let account {account} trade again?",
    Role.ADMIN,
    """Let a killed account trade again; what was cancelled stays so. Takes the right to administer the exchange.

    \b
    kubectl bourse revive-account 1001 --reason "margin is paid" -n exchange
    """,
)


def account(
    account: Account,
    *,
    gateway: Gateway = None,
    tls: Tls = None,
    exchange: ExchangeOption = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show an account's kill switch, orders, countdowns, and what it used. Takes the right to inspect the exchange.

    \b
    kubectl bourse account 1001 -n exchange
    kubectl bourse account 1001 -o yaml
    """
    target = Target(namespace, context, kubeconfig)
    with _gateway(target, exchange, Role.VIEWER, gateway, tls) as (place, folder):
        answer = gateway_api.asked(place, folder, "GET", f"/v1/accounts/{account}")
    show(answer, output, accounts.described(answer))


def cancel_all(
    *,
    reason: Reason,
    account: Annotated[int | None, typer.Option(min=FIRST_TRADER, help="Of this trader.")] = None,
    symbol: Annotated[str | None, typer.Option(help="In this market, such as BTCUSDT.")] = None,
    whole_shard: Annotated[
        bool, typer.Option("--whole-shard", help="Of all traders in all markets: takes the right to administer.")
    ] = False,
    yes: Yes = False,
    action_id: ActionId = None,
    gateway: Gateway = None,
    tls: Tls = None,
    exchange: ExchangeOption = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Cancel open orders: of an account, of a market, of an account in a market, or of a shard.

    New orders are taken at once; to stop a market, halt it. Takes the right to operate the exchange.

    \b
    kubectl bourse cancel-all --account 1001 --reason "the trader asked" -n exchange
    kubectl bourse cancel-all --account 1001 --symbol BTCUSDT --reason "the trader asked"
    kubectl bourse cancel-all --symbol BTCUSDT --reason "a bad tick"
    kubectl bourse cancel-all --whole-shard --reason "end of the test" --yes
    """
    if (account is None and symbol is None) is not whole_shard:
        fail("say whose: --account, --symbol, both of them, or --whole-shard alone")
    more: dict[str, object] = {}
    match account, symbol:
        case None, None:
            path, whose = "/v1/shard/cancel-all", "all accounts in ALL MARKETS"
        case None, _:
            path, whose = f"/v1/markets/{symbol}/cancel-all", f"all accounts in {symbol}"
        case _, _:
            path, more = f"/v1/accounts/{account}/cancel-all", {"symbol": symbol}
            whose = f"account {account}" + ("" if symbol is None else f" in {symbol}")
    target = Target(namespace, context, kubeconfig)
    role = Role.ADMIN if whole_shard else Role.OPERATOR
    with _gateway(target, exchange, role, gateway, tls) as (place, folder):
        question = f"Cancel all open orders of {whose}?"
        answer: dict[str, Any] = act(path, question, place, folder, reason=reason, yes=yes, action_id=action_id, **more)
    show(answer, output, canceled(answer, whose))


@contextmanager
def _gateway(
    target: Target, exchange: str | None, role: Role, place: str | None, tls: Path | None
) -> Iterator[tuple[str, Path]]:
    """Where it is asked, and with which certificates. A `no` inside ends the command with 2.

    With both given the API server is not asked, and need not be there.
    """
    with ExitStack() as stack:
        if place is None or tls is None:
            namespace, name, issued = run(_prepared(target, exchange, role, tls))
            tls = issued
            if place is None:
                workload = f"deployment/{names.gateway(name)}"
                try:
                    port = stack.enter_context(forwarded(target, namespace, workload, manifest.ADMIN_PORT))
                except NotDone as error:
                    fail(str(error))
                place = f"https://127.0.0.1:{port}"
        try:
            yield place, tls
        except typer.Exit as end:
            raise typer.Exit(2 if end.exit_code else 0) from None


async def _prepared(target: Target, wanted: str | None, role: Role, tls: Path | None) -> tuple[str, str, Path]:
    async with connected(target) as (api, namespace):
        name = wanted or the_exchange(await read_all(api, Exchange, namespace), None, namespace).metadata.name
        folder = tls if tls is not None else await person.certificate(api, namespace, name, role)
    return namespace, name, folder
