"""`kubectl bourse plan`: observes as the operator does, plans as it does, and changes nothing."""

import typer

from openbourse.cli.bourse import planned
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
from openbourse.cli.bourse.console import Output, OutputOption, now, run, show
from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.resources import Exchange
from openbourse.operator.observe import observe
from openbourse.operator.status_pages import through_api_server


def plan(
    *,
    exchange: ExchangeOption = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what the operator would do next and why, and do nothing. Ends with 1 where there is something to do.

    It reads what the operator reads, the Secrets' certificates too, and asks engines through `pods/proxy`.

    \b
    kubectl bourse plan -n exchange
    kubectl bourse plan -n exchange -o json
    """
    seen = run(_planned(Target(namespace, context, kubeconfig), exchange))
    show(seen, output, planned.screen(seen))
    raise typer.Exit(1 if seen.steps else 0)


async def _planned(target: Target, wanted: str | None) -> planned.Planned:
    async with connected(target) as (api, namespace):
        name = the_exchange(await read_all(api, Exchange, namespace), wanted, namespace).metadata.name
        observed = await observe(api, through_api_server(api), namespace, name, now=now(), before=None)
    if observed.exchange is None:
        raise NotDone(f"Exchange {name} was deleted by somebody else meanwhile")
    return planned.planned(observed)
