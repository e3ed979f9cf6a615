"""`kubectl bourse rehearse`: makes a Rehearsal, and waits for its verdict when asked to."""

import asyncio
import time
from typing import Annotated, Any

import typer
from rich.table import Table

from openbourse.cli.bourse.cluster import Context, Kubeconfig, Namespace, Target, connected
from openbourse.cli.bourse.console import Output, OutputOption, fail, now, run, show
from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import Phase, Rehearsal, Scenario, Verdict

POLL_S = 0.5
# What runs rehearsals looks every two seconds.
TAKEN_S = 15.0


def rehearse(
    scenario: Annotated[Scenario, typer.Argument(help="What is done to the shard.")],
    *,
    exchange: Annotated[str, typer.Option(help="Which one.")],
    symbol: Annotated[str, typer.Option(help="That is traded meanwhile, such as BTCUSDT.")],
    keys: Annotated[str, typer.Option(help="Secret with API keys for rehearsals, where rehearsals are run.")],
    shard: Annotated[str, typer.Option(help="Which one; of SymbolMove, where the symbol is.")] = "main",
    price: Annotated[str, typer.Option(help="Around which orders are placed.")] = "10000",
    quantity: Annotated[str, typer.Option(help="Of each order.")] = "0.001",
    orders: Annotated[int, typer.Option(min=10, max=2000, help="Orders a second.")] = 100,
    seconds: Annotated[int, typer.Option(min=10, max=600, help="How long.")] = 20,
    halted: Annotated[str | None, typer.Option(help="A symbol that is halted meanwhile and must stay so.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the Rehearsal.", show_default="scenario and time")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until there is a verdict.")] = False,
    timeout: Annotated[float, typer.Option(min=1, max=7200, help="Seconds to wait at the most.")] = 600.0,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Break a shard on purpose, under load, and see what holds. Real orders are placed, in real accounts.

    With --wait it ends with 0 for Passed and 1 for anything else; without, as soon as the Rehearsal is made.

    \b
    kubectl bourse rehearse EngineCrash --exchange demo --symbol BTCUSDT --keys demo-keys -n exchange --wait
    kubectl bourse rehearse PartitionFromBoth --exchange demo --symbol BTCUSDT --halted ETHUSDT --keys demo-keys
    kubectl bourse rehearse SymbolMove --exchange demo --symbol BTCUSDT --keys demo-keys --wait
    """
    name = name or f"{_dashed(scenario.value)}-{now():%Y%m%d-%H%M%S}"
    load: Object = {
        "keysSecret": keys,
        "symbol": symbol.upper(),
        "price": price,
        "quantity": quantity,
        "ordersPerSecond": orders,
        "seconds": seconds,
        **({"haltedSymbol": halted.upper()} if halted else {}),
    }
    spec = {"exchange": exchange, "shard": shard, "scenario": scenario.value, "load": load}
    found = run(_rehearse(Target(namespace, context, kubeconfig), name, spec, timeout if wait else 0.0))
    show(found.model_dump(mode="json", by_alias=True), output, _table(found))
    if wait and found.status.phase not in {Phase.FINISHED, Phase.REFUSED}:
        fail(f"Rehearsal {name} has no verdict after {timeout:g} s; it goes on: kubectl get rehearsal {name}")
    if wait and found.status.verdict is not Verdict.PASSED:
        raise typer.Exit(1)


async def _rehearse(target: Target, name: str, spec: Object, wait_s: float) -> Rehearsal:
    async with connected(target) as (api, namespace):
        manifest = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
        found = Rehearsal.model_validate(await api.create(Rehearsal.resource, manifest))
        typer.echo(f"rehearsal.openbourse.dev/{name} created", err=True)
        began_s, said = time.monotonic(), ""
        while time.monotonic() - began_s < wait_s and found.status.phase not in {Phase.FINISHED, Phase.REFUSED}:
            await asyncio.sleep(POLL_S)
            stored = await api.get(Rehearsal.resource, namespace, name)
            if stored is None:
                raise NotDone(f"Rehearsal {name} was deleted by somebody else meanwhile")
            found = Rehearsal.model_validate(stored)
            if found.status.phase is None and time.monotonic() - began_s > TAKEN_S:
                raise NotDone(
                    f"nobody has looked at Rehearsal {name} for {TAKEN_S:g} s: is the chart installed with "
                    f"rehearsals.enabled=true?"
                )
            why = next((f"{each.reason}: {each.message}" for each in found.status.conditions), "")
            if why not in {said, ""} and found.status.phase is not Phase.FINISHED:
                typer.echo(f"{found.status.phase}: {why}", err=True)
                said = why
        return found


def _table(rehearsal: Rehearsal) -> Table:
    status = rehearsal.status
    grid = Table.grid(padding=(0, 2))
    rows: list[tuple[str, Any]] = [
        ("Rehearsal", rehearsal.metadata.name),
        ("Phase", status.phase or "not taken yet"),
        ("Verdict", status.verdict or "-"),
        ("RTO", "-" if status.rto_ms is None else f"{status.rto_ms} ms"),
        ("RPO", "-" if status.rpo_orders is None else f"{status.rpo_orders} orders"),
        *((each.name, f"{each.state}: {each.message}") for each in status.invariants),
        *((each.reason, each.message) for each in status.conditions),
        ("Report", status.report.config_map if status.report else "-"),
    ]
    for name, value in rows:
        grid.add_row(name, str(value))
    return grid


def _dashed(name: str) -> str:
    return "".join(f"-{each.lower()}" if each.isupper() else each for each in name).lstrip("-")
