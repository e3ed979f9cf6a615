"""`openbourse local`: a whole exchange on this machine, without Kubernetes, from one command.

Starts the real parts, each as the process that it is on a cluster: PostgreSQL (carried by a wheel), engine, ledger,
market data, gateway, and what seals the ledger. Everything is kept in one folder, so that the next start goes on where
the last one ended; a part that dies is started again. Decides nothing about orders or money.
"""

import asyncio
import signal
import socket
import sys
import time
import uuid
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from openbourse.cli import local_market, local_seal
from openbourse.cli.local_folder import (
    ADMIN,
    DEMO_ACCOUNTS,
    SHARD,
    LocalFailed,
    database,
    demo_keys,
    identity,
    is_new,
    keep_standbys,
    only_one,
    write_certificates,
    write_engines,
    write_limits,
    write_listings,
)
from openbourse.cli.local_market import MARKET_ACCOUNTS, MARKET_FUNDS
from openbourse.cli.local_seal import NotSealed, SealFolder
from openbourse.cli.processes import Child, ChildFailed, run_to_end
from openbourse.contracts.component import Component
from openbourse.contracts.tls import client_context
from openbourse.gateway.keys import Key

DEPOSIT_TIMEOUT_S = 30.0
MIGRATE_TIMEOUT_S = 60.0
STANDBYS_MOST = 2
RETRY_S = 5.0

SEALING = ("sealer", "witness")

DEMO_FUNDS = {"BTC": "10", "ETH": "100", "USDT": "1000000"}
# By account, then asset.
Funds = Mapping[int, Mapping[str, str]]

console = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class EnginePorts:
    commands: int
    status: int
    # For the other members of the shard.
    links: int


@dataclass(frozen=True, slots=True)
class Ports:
    gateway: int
    gateway_status: int
    # For people.
    gateway_admin: int
    ledger: int
    ledger_status: int
    sealer: int
    witness: int
    marketdata: int
    marketdata_status: int
    engines: tuple[EnginePorts, ...]


def command(
    data: Annotated[Path, typer.Option(help="Folder that keeps everything: log, database, keys.")] = Path(
        ".data/local"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway for traders.")] = 8080,
    standbys: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=STANDBYS_MOST,
            show_default="as many as the folder has, 0 in a new one",
            help="Engines beside the leader: each has every order that was acknowledged, and takes over when it dies.",
        ),
    ] = None,
    market: Annotated[
        bool, typer.Option("--market", help="Two more accounts that quote and trade, so that there is a market.")
    ] = False,
) -> None:
    """Run an exchange on this machine: engine, ledger, its seal, gateway, PostgreSQL, two demo accounts with funds.

    \b
    openbourse local
    openbourse local --data /tmp/exchange --port 9000
    openbourse local --market          # with a market that moves, to look at the page
    openbourse local --standbys 1      # then kill -9 the engine that leads: traders see a pause
    """
    try:
        asyncio.run(_run(data.resolve(), port, standbys, with_market=market))
    except (ChildFailed, LocalFailed) as error:
        console.print(f"[red]{error}", markup=True)
        raise typer.Exit(1) from None


async def _run(data: Path, port: int, wanted_standbys: int | None, *, with_market: bool) -> None:
    started = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    console.print(f"OpenBourse in [bold]{data}[/]")
    (data / "logs").mkdir(parents=True, exist_ok=True)
    console.print("  PostgreSQL ...")
    with only_one(data), database(data / "postgresql") as dsn:
        ports = _ports(port, engines=1 + keep_standbys(data / "standbys", wanted_standbys))
        write_certificates(data / "tls")
        write_listings(data / "listings.json")
        write_engines(data, [f"127.0.0.1:{engine.links}" for engine in ports.engines])
        keys = demo_keys(data / "keys.json", DEMO_ACCOUNTS)
        market_keys = demo_keys(data / "keys.json", MARKET_ACCOUNTS) if with_market else []
        write_limits(data / "limits.json")
        children = _children(data, ports, dsn)
        seal = SealFolder(data / "seal", data / "logs", dsn)
        funds = dict.fromkeys(DEMO_ACCOUNTS, DEMO_FUNDS)
        funds |= {key.account: MARKET_FUNDS for key in market_keys}
        try:
            if await _unless_stopped(_bring_up(data, ports, dsn, children, seal, funds=funds), stop):
                console.print(f"ready after {time.monotonic() - started:.1f} s")
                _welcome(ports, keys, data, children)
                _say_how_to_verify(seal, sealed=any(child.name in SEALING for child in children))
                console.print("Ctrl-C ends it; everything is kept.")
                await _keep(children, stop, _url(ports), market_keys)
        finally:
            console.print("stopping")
            for child in reversed(children):
                await child.stop()
    console.print("stopped; everything is kept")


async def _unless_stopped(work: Coroutine[None, None, None], stop: asyncio.Event) -> bool:
    """Whether `work` was done: it is waited for no longer than for `stop`, which cancels it."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _keep(children: list[Child], stop: asyncio.Event, url: str, market_keys: list[Key]) -> None:
    """Until `stop`, with a market where it has keys. Raises ChildFailed when a part dies too often."""
    engines = [child for child in children if child.name.startswith(Component.ENGINE)]
    spare = [*(engines if len(engines) > 1 else ()), *(child for child in children if child.name in SEALING)]
    keepers = [
        asyncio.create_task(_keep_trying(child) if child in spare else child.keep(console.print)) for child in children
    ]
    if market_keys:
        keepers.append(asyncio.create_task(local_market.run(url, *market_keys)))
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({*keepers, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        for task in (*keepers, stopping):
            task.cancel()
        await asyncio.gather(*keepers, stopping, return_exceptions=True)


async def _keep_trying(child: Child) -> None:
    """One that the others do without, however often it dies."""
    while True:
        try:
            await child.keep(console.print)
        except ChildFailed as failure:
            console.print(str(failure), markup=False)
        await asyncio.sleep(RETRY_S)


def _children(data: Path, ports: Ports, dsn: str) -> list[Child]:
    """In the order in which they are stopped, the last one first."""

    def child(component: Component, name: str, status_port: int, *arguments: str, **environment: str) -> Child:
        common = ["--tls", str(data / "tls" / component), "--status", f"127.0.0.1:{status_port}"]
        return Child(
            name=name,
            command=[sys.executable, "-m", f"openbourse.{component}", *arguments, *common],
            status_port=status_port,
            log=data / "logs" / f"{name}.log",
            environment=environment,
        )

    ledger, marketdata = f"127.0.0.1:{ports.ledger}", f"127.0.0.1:{ports.marketdata}"
    shard = ("--shard", SHARD)
    engines = [f"--engine=127.0.0.1:{engine.commands}" for engine in ports.engines]
    return [
        *(
            child(
                Component.ENGINE,
                "engine" if index == 0 else f"engine-{index}",
                engine.status,
                *(*shard, "--wal", str(_wal(data, index)), "--listen", f"127.0.0.1:{engine.commands}"),
                *("--listings", str(data / "listings.json"), "--consumer", Component.LEDGER),
                *("--reader", Component.MARKETDATA),
                *_membership(data, ports.engines, index),
            )
            for index, engine in enumerate(ports.engines)
        ),
        child(
            Component.LEDGER,
            Component.LEDGER,
            ports.ledger_status,
            *("serve", *shard, *engines, "--listen", ledger),
            OPENBOURSE_DATABASE=dsn,
        ),
        child(
            Component.MARKETDATA,
            Component.MARKETDATA,
            ports.marketdata_status,
            *(*shard, *engines, "--history", str(data / "marketdata" / "history.sqlite"), "--listen", marketdata),
        ),
        child(
            Component.GATEWAY,
            Component.GATEWAY,
            ports.gateway_status,
            # What belongs to a shard comes after it.
            *(*shard, *engines, "--ledger", f"https://{ledger}", "--marketdata", f"https://{marketdata}"),
            *("--keys", str(data / "keys.json"), "--limits", str(data / "limits.json")),
            *("--listen", f"127.0.0.1:{ports.gateway}", "--admin", f"127.0.0.1:{ports.gateway_admin}"),
        ),
    ]


def _wal(data: Path, index: int) -> Path:
    return data / ("wal" if index == 0 else f"wal-{index}")


def _membership(data: Path, engines: tuple[EnginePorts, ...], index: int) -> list[str]:
    """Nothing for a shard of one engine, which keeps its leadership record where others will look for it."""
    if len(engines) == 1:
        return []
    places = [f"127.0.0.1:{engine.links}" for engine in engines]
    peers = [f"--peer={place}" for place in places if place != places[index]]
    found = ["--found"] if index == 0 and is_new(data) else []
    return [f"--place={places[index]}", *peers, f"--record={data / 'leadership'}", *found]


async def _bring_up(
    data: Path, ports: Ports, dsn: str, children: list[Child], seal: SealFolder, *, funds: Funds
) -> None:
    """The database, and then all at once: each waits for what it needs. What seals is added to `children`."""
    console.print("  database ...")
    await _migrate(data, dsn)
    engines, others = children[: len(ports.engines)], children[len(ports.engines) :]
    console.print(f"  {', '.join(child.name for child in children)}, sealer, witness ...")
    try:
        async with asyncio.TaskGroup() as starting:
            starting.create_task(_start_engines(engines))
            for child in others:
                starting.create_task(child.start())
            starting.create_task(_start_sealing(ports, children, seal))
    except ExceptionGroup as failed:
        # The others were cancelled.
        raise failed.exceptions[0] from None
    await _fund(data, ports, funds)


async def _start_sealing(ports: Ports, children: list[Child], seal: SealFolder) -> None:
    """An exchange whose ledger cannot be sealed is none the less one, and says so."""
    parts = len(children)
    try:
        await local_seal.start(seal, ports.sealer, ports.witness, children)
    except NotSealed as error:
        console.print(f"sealing: off, because {error}", markup=False, soft_wrap=True)
        for child in reversed(children[parts:]):
            await child.stop()
        del children[parts:]


async def _start_engines(engines: list[Child]) -> None:
    """All at once, for who leads may be any of them. One that does not come up is left to be started again."""
    outcomes = await asyncio.gather(*(engine.start() for engine in engines), return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if len(failures) == len(engines) or any(not isinstance(failure, ChildFailed) for failure in failures):
        raise failures[0]
    for failure in failures:
        console.print(str(failure), markup=False)


async def _migrate(data: Path, dsn: str) -> None:
    command = (sys.executable, "-m", "openbourse.ledger", "migrate")
    await run_to_end(command, data / "logs" / "migrate.log", {"OPENBOURSE_DATABASE": dsn}, MIGRATE_TIMEOUT_S)


async def _fund(data: Path, ports: Ports, funds: Funds) -> None:
    """Each of these accounts gets its funds once: the transfer's id is made from the folder's own identity."""
    folder = identity(data)
    context = client_context(data / "tls" / Component.CLI)
    async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{ports.ledger}", verify=context) as client:
        for account, amounts in funds.items():
            for asset, amount in amounts.items():
                transfer = str(uuid.uuid5(folder, f"{account}/{asset}"))
                deposit = {"account": account, "asset": asset, "amount": amount, "transfer_id": transfer}
                answer = await client.post("/v1/deposits", json=deposit, timeout=DEPOSIT_TIMEOUT_S)
                if not answer.is_success:
                    raise LocalFailed(f"the demo funds were refused: {answer.text}")


def _ports(gateway: int, engines: int) -> Ports:
    """The gateway's port is as asked for; the others are the usual ones where they are free."""
    if not _is_free(gateway):
        raise LocalFailed(f"port {gateway} is taken: choose another one with --port")
    chosen = {gateway}

    def choose(wanted: int) -> int:
        while wanted in chosen or not _is_free(wanted):
            wanted = _any_free()
        chosen.add(wanted)
        return wanted

    return Ports(
        gateway=gateway,
        gateway_status=choose(gateway + 1),
        gateway_admin=choose(8443),
        ledger=choose(7100),
        ledger_status=choose(7101),
        sealer=choose(7201),
        witness=choose(7300),
        marketdata=choose(7400),
        marketdata_status=choose(7401),
        engines=tuple(
            EnginePorts(choose(7000 + 10 * index), choose(7001 + 10 * index), choose(7002 + 10 * index))
            for index in range(engines)
        ),
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _url(ports: Ports) -> str:
    """Of the gateway."""
    return f"http://127.0.0.1:{ports.gateway}"


def _welcome(ports: Ports, keys: list[Key], data: Path, children: list[Child]) -> None:
    """Lines that can be copied: nothing is wrapped or boxed."""
    base = _url(ports)
    people = data / "tls" / Component.CLI
    rows = [("page", f"{base}/   for people: sign in with a key from below")]
    rows.append(("traders", f"{base}/api/v3"))
    rows.append(("people", f"openbourse ledger ... --ledger https://127.0.0.1:{ports.ledger} --tls {people}"))
    admin = f"--gateway https://127.0.0.1:{ports.gateway_admin} --tls {data / 'tls' / ADMIN}"
    rows.append(("admin", f"openbourse account ..., openbourse market ... {admin}"))
    rows += [(child.name, f"http://127.0.0.1:{child.status_port}/status   {child.log}") for child in children]
    rows.append(("listing", f"{data / 'listings.json'}   edit it: the engine reads it again"))
    for key in keys:
        rows.append((key.label or str(key.account), f"account {key.account}"))
        rows += [("  key", key.api_key), ("  secret", key.secret)]
    console.print()
    width = max(len(name) for name, _ in rows) + 2
    for name, text in rows:
        console.print(f"[bold]{name:{width}}[/]", end="")
        console.print(text, markup=False, soft_wrap=True)
    snippet = FIRST_ORDER.format(base=base, key=keys[0].api_key, secret=keys[0].secret)
    console.print(snippet, markup=False, soft_wrap=True)


def _say_how_to_verify(seal: SealFolder, *, sealed: bool) -> None:
    if sealed:
        console.print(VERIFY.format(settings=seal.settings, key=seal.public_key), markup=False, soft_wrap=True)


VERIFY = """
# the ledger is sealed: an export, and what verifies it without the exchange
. {settings}
openbourse ledger export /tmp/export
openbourse ledger verify /tmp/export --key {key}
"""

FIRST_ORDER = """
# the book
curl '{base}/api/v3/depth?symbol=BTCUSDT'

# a first order, with ccxt
import ccxt
exchange = ccxt.binance({{'apiKey': '{key}', 'secret': '{secret}'}})
here = '{base}'
exchange.urls['api'] = {{name: here + url.partition('.com')[2] for name, url in exchange.urls['api'].items()}}
exchange.create_order('BTC/USDT', 'limit', 'buy', 0.01, 50000)
print(exchange.fetch_open_orders('BTC/USDT'))
"""
