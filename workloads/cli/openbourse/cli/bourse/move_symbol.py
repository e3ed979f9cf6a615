"""`kubectl bourse move-symbol`: says in which shard a symbol is to be, and waits for what becomes of it."""

import asyncio
import time
from typing import Annotated

import typer

from openbourse.cli.bourse.cluster import Context, Kubeconfig, Namespace, Target, connected, read_all
from openbourse.cli.bourse.console import Output, OutputOption, fail, run, show
from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.moving import Moved, asked, became, table, to_ask, to_ask_back, where
from openbourse.cli.gateway_api import Yes
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.resources import EngineShard, Symbol

POLL_S = 0.2
MANAGER = "kubectl-bourse"


def move_symbol(
    symbol: Annotated[str, typer.Argument(help="A symbol that is listed, such as BTCUSDT.")],
    *,
    to: Annotated[str | None, typer.Option(help="The EngineShard that is to trade it.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Have it back that is on its way.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is there, or stays where it is.")] = True,
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="Seconds to wait.")] = 60.0,
    yes: Yes = False,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Move a symbol to another shard, with its open orders and the funds behind them, while the exchange runs.

    It is the same as setting spec.shard of the Symbol. Trading in it pauses for a moment; no order is lost or repeated.
    Ends with 1 when the symbol is not where it was to be, and says why; with 2 when nothing was asked for.

    \b
    kubectl bourse move-symbol BTCUSDT --to second -n exchange
    kubectl bourse move-symbol BTCUSDT --to second --yes --no-wait -n exchange
    kubectl bourse move-symbol BTCUSDT --undo -n exchange
    kubectl bourse move-symbol BTCUSDT --to second --yes -o json -n exchange
    """
    if undo == (to is not None):
        fail("say where it is to be with --to SHARD, or have it back with --undo")
    target = Target(namespace, context, kubeconfig)
    found, shards = run(_seen(target, symbol))
    try:
        steps = to_ask_back(found) if to is None else to_ask(found, shards, to)
    except NotDone as error:
        fail(str(error))
    wanted = steps[-1] if steps else found.spec.shard
    question = f"Move {found.spec.name} from shard {where(found)} to {wanted}, with its open orders?"
    if to is not None and steps and not yes and not typer.confirm(question, err=True):
        fail("nothing was done")
    moved = run(_moved(target, found, steps, wanted, timeout if wait else None))
    show(moved, output, table(moved))
    raise typer.Exit(0 if moved.shard == wanted or not wait else 1)


async def _seen(target: Target, name: str) -> tuple[Symbol, list[EngineShard]]:
    async with connected(target) as (api, namespace):
        return await _symbol(api, namespace, name), await read_all(api, EngineShard, namespace)


async def _moved(target: Target, symbol: Symbol, steps: tuple[str, ...], wanted: str, timeout_s: float | None) -> Moved:
    async with connected(target) as (api, namespace):
        name, generation = symbol.metadata.name, symbol.metadata.generation
        for shard in steps:
            metadata = {"name": name, "namespace": namespace, "uid": symbol.metadata.uid}
            set_ = await api.merge(Symbol.resource, {"metadata": metadata, "spec": {"shard": shard}}, MANAGER)
            generation = set_["metadata"]["generation"]
        if timeout_s is None:
            return asked(symbol, wanted)
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            said = became(await _symbol(api, namespace, name), generation)
            if said is not None:
                return said
            await asyncio.sleep(POLL_S)
        last = await _symbol(api, namespace, name)
    state = str(last.status.move.state) if last.status.move is not None else "Held"
    why = f"not over within {timeout_s:g} s: the wish stands; see kubectl describe symbol {name}"
    return Moved(symbol.spec.name, where(last), wanted, state, None, why)


async def _symbol(api: ApiServer, namespace: str, name: str) -> Symbol:
    found = await api.get(Symbol.resource, namespace, name.lower())
    if found is None:
        items, _ = await api.list(Symbol.resource, namespace)
        there = ", ".join(sorted(item["spec"]["base"] + item["spec"]["quote"] for item in items)) or "none"
        raise NotDone(f"namespace {namespace} has no Symbol {name}; there is {there}")
    return Symbol.model_validate(found)
