"""`kubectl bourse status`: one screen, once or until Ctrl-C."""

import asyncio
from typing import Annotated

import typer
from rich.live import Live

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
from openbourse.cli.bourse.console import Output, OutputOption, console, fail, now, run, show
from openbourse.cli.bourse.overview import Overview, overview
from openbourse.cli.bourse.screen import screen
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.resources import EngineShard, Exchange, Halt, Symbol

WATCH_S = 1.0


def status(
    *,
    exchange: ExchangeOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")] = False,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Shards, leaders, lag, symbols, halts, the last failover: one screen. Ends with 1 where something is not ready.

    \b
    kubectl bourse status -n exchange
    kubectl bourse status -n exchange --watch
    kubectl bourse status -n exchange -o json
    """
    if watch and output is not Output.TABLE:
        fail("--watch shows the table: leave out -o, or leave out --watch")
    target = Target(namespace, context, kubeconfig)
    try:
        seen = run(_status(target, exchange, watch=watch, output=output))
    except KeyboardInterrupt:
        return
    ready = seen.health.ready and all(shard.health.ready for shard in seen.shards)
    raise typer.Exit(0 if ready else 1)


async def _status(target: Target, wanted: str | None, *, watch: bool, output: Output) -> Overview:
    async with connected(target) as (api, namespace):
        seen = await _overview(api, namespace, wanted)
        if not watch:
            show(seen, output, screen(seen, now()))
            return seen
        with Live(screen(seen, now()), console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(WATCH_S)
                live.update(screen(await _overview(api, namespace, wanted), now()), refresh=True)


async def _overview(api: ApiServer, namespace: str, wanted: str | None) -> Overview:
    exchange = the_exchange(await read_all(api, Exchange, namespace), wanted, namespace)
    shards, symbols = await read_all(api, EngineShard, namespace), await read_all(api, Symbol, namespace)
    return overview(exchange, shards, symbols, await read_all(api, Halt, namespace), now())
