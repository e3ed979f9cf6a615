"""`kubectl bourse halt` and `lift`: makes and deletes Halts, and waits for what the engines say to them."""

import asyncio
import time
from typing import Annotated, Any

import typer

from openbourse.cli.bourse import halting
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
from openbourse.cli.bourse.console import console, fail, now, run
from openbourse.cli.bourse.direct import acting
from openbourse.cli.bourse.direct.commands import Wanted
from openbourse.cli.bourse.errors import BadHalt
from openbourse.cli.bourse.overview import scope
from openbourse.cli.bourse.whoami import user_name
from openbourse.contracts.market_states import HaltMode
from openbourse.contracts.resources import AcknowledgementState, EngineShard, Exchange, Halt, Symbol

POLL_S = 0.02


def halt(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols such as BTCUSDT; none: all of them.")] = None,
    *,
    reason: Annotated[str, typer.Option(help="What traders are told.")],
    for_: Annotated[str | None, typer.Option("--for", help="After this time it lifts itself, such as 15m.")] = None,
    until_lifted: Annotated[bool, typer.Option("--until-lifted", help="It stands until it is lifted.")] = False,
    shards: Annotated[list[str] | None, typer.Option("--shard", help="A shard; again for each.")] = None,
    two_person: Annotated[bool, typer.Option("--two-person", help="Somebody else has to lift it.")] = False,
    mode: Annotated[HaltMode, typer.Option(help="What is still accepted.")] = HaltMode.HALT,
    reopen: Annotated[str, typer.Option(help="How trading begins again: TRADING, POST_ONLY:30s, AUCTION:30s.")] = (
        "TRADING"
    ),
    name: Annotated[str | None, typer.Option(help="Of the Halt.", show_default="what is halted, and when")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds to wait for the shards.")] = 10.0,
    exchange: ExchangeOption = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    direct: acting.Direct = False,
    engine: acting.Engines = None,
    tls: acting.Tls = None,
    audit: acting.Audit = None,
) -> None:
    """Stop trading, and wait until every shard has acknowledged it, with its epoch and its place in its order.

    The engines watch Halts themselves, so it works while the operator is down. Ends with 1 when a shard refused it or
    said nothing in time; the Halt stands then, and is carried out as soon as that shard can.

    \b
    kubectl bourse halt -n exchange --reason "wallet maintenance" --for 15m
    kubectl bourse halt BTCUSDT ETHUSDT --reason "wrong tick" --until-lifted --mode CANCEL_ONLY
    kubectl bourse halt BTCUSDT --reason "news pending" --for 5m --reopen AUCTION:30s
    kubectl bourse halt --shard hot --reason "it lags" --for 5m
    kubectl bourse halt --reason "funds differ" --until-lifted --two-person
    kubectl bourse halt --direct --engine main=10.244.1.5:7000 --engine main=10.244.2.7:7000 --tls ann \\
        --reason "the API server is down" --for 30m --reopen AUCTION:30s --name night
    """
    if (for_ is not None) == until_lifted:
        fail("give exactly one of --for 15m and --until-lifted")
    if symbols and shards:
        fail("give symbols or --shard, not both; neither halts the whole exchange")
    if two_person and not until_lifted:
        fail("--two-person stands until a second person lifts it: give --until-lifted")
    of = [each.upper() for each in symbols or ()]
    if direct:
        if two_person:
            fail("--direct takes one person: with the API server down nobody holds two apart")
        if until_lifted and reopen != "TRADING":
            fail("--direct --until-lifted stands until `lift --direct`, which says how trading begins again")
        where = (engine or (), tls, audit, timeout)
        wanted = Wanted(tuple(of), tuple(shards or ()), mode, reason)
        raise typer.Exit(0 if run(acting.halt(where, wanted, name, for_, _reopening(reopen))) else 1)
    target = Target(namespace, context, kubeconfig)
    asked = {
        "symbols": of,
        "shards": shards or [],
        "mode": mode.value,
        "reason": reason,
        "duration": for_,
        "reopen": _reopening(reopen),
        "two_person": two_person,
    }
    every = run(_halt(target, exchange, name=name, timeout_s=timeout, asked=asked))
    raise typer.Exit(0 if every else 1)


def lift(
    names: Annotated[list[str], typer.Argument(help="Halts, as `kubectl bourse status` names them.")],
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    direct: acting.Direct = False,
    engine: acting.Engines = None,
    tls: acting.Tls = None,
    audit: acting.Audit = None,
    reason: Annotated[str | None, typer.Option(help="With --direct: why, for the engines' log.")] = None,
    reopen: Annotated[str, typer.Option(help="With --direct: how trading begins again, such as AUCTION:30s.")] = (
        "TRADING"
    ),
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="With --direct: seconds to wait for each.")] = 10.0,
) -> None:
    """Lift halts before their time. The market reopens as each of them says.

    \b
    kubectl bourse lift halt-btcusdt-20261129-040102 -n exchange
    kubectl bourse lift night --direct --engine main=10.244.1.5:7000 --tls eve --reason "it is up" --reopen AUCTION:30s
    kubectl bourse lift night/until-20261129T041500Z --direct --engine main=10.244.1.5:7000 --tls eve --reason "sooner"
    """
    if direct:
        where = (engine or (), tls, audit, timeout)
        raise typer.Exit(0 if run(acting.lift(where, names, reason, _reopening(reopen))) else 1)
    run(_lift(Target(namespace, context, kubeconfig), names))


def _reopening(text: str) -> Any:
    try:
        return halting.reopening(text)
    except BadHalt as error:
        fail(str(error))


async def _halt(
    target: Target, wanted: str | None, *, name: str | None, timeout_s: float, asked: dict[str, Any]
) -> bool:
    """Whether every shard in its scope has halted. Raises BadHalt and ApiError."""
    async with connected(target) as (api, namespace):
        exchange = the_exchange(await read_all(api, Exchange, namespace), wanted, namespace).metadata.name
        listed, shards = await read_all(api, Symbol, namespace), await read_all(api, EngineShard, namespace)
        own = [symbol.spec.name for symbol in listed if symbol.spec.exchange == exchange]
        halting.check_named(exchange, "", asked["symbols"], own)
        own = [shard.metadata.name for shard in shards if shard.spec.exchange == exchange]
        halting.check_named(exchange, "shard ", asked["shards"], own)
        name = name or halting.generated_name(asked["symbols"], asked["shards"], now())
        requester = await user_name(api)
        wanted_halt = halting.manifest(namespace, name, exchange=exchange, requester=requester, **asked)
        began_s = time.monotonic()
        made = Halt.model_validate(await api.create(Halt.resource, wanted_halt))
        of = scope(made, shards, listed)
        what = halting.what_it_halts(asked["symbols"], asked["shards"])
        console.print(f"Halt [bold]{name}[/] of {what}: {asked['mode']}", highlight=False)
        told: set[str] = set()
        halted = True
        while len(told) < len(of) and time.monotonic() - began_s < timeout_s:
            found = await api.get(Halt.resource, namespace, name)
            if found is None:
                raise BadHalt(f"Halt {name} was deleted by somebody else meanwhile")
            for entry in halting.news(Halt.model_validate(found), of, told):
                took_ms = (time.monotonic() - began_s) * 1000
                halted &= entry.state is AcknowledgementState.HALTED
                console.print(
                    f"  shard {entry.shard}  {entry.state}  epoch {entry.epoch}  seq {entry.seq}  {took_ms:.0f} ms"
                )
                if entry.message:
                    console.print(f"    {entry.message}", markup=False)
            await asyncio.sleep(POLL_S)
        if silent := ", ".join(sorted(set(of) - told)):
            said = (
                f"nothing within {timeout_s:g} s from {silent}: the Halt stands, and is carried out as soon as that can"
            )
            typer.echo(f"{said}; see kubectl bourse status -n {namespace}", err=True)
        return halted and not silent


async def _lift(target: Target, names: list[str]) -> None:
    async with connected(target) as (api, namespace):
        halts = {each.metadata.name: each for each in await read_all(api, Halt, namespace)}
        if unknown := [name for name in names if name not in halts]:
            there = ", ".join(sorted(halts)) or "none"
            raise BadHalt(f"namespace {namespace} has no Halt {', '.join(unknown)}; there is {there}")
        for name in names:
            lifted = halts[name]
            await api.delete(Halt.resource, namespace, name, lifted.metadata.uid)
            opens = lifted.spec.reopen
            how = opens.mode.value if not opens.seconds else f"{opens.mode.value} for {opens.seconds} s, then TRADING"
            what = halting.what_it_halts(lifted.spec.symbols, lifted.spec.shards)
            console.print(f"Halt [bold]{name}[/] is lifted; {what}: {how}")
