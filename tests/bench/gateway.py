"""Signed orders over HTTP keep-alive and over the WebSocket API, placed and cancelled in turn, through a real gateway
and a real durable engine. Limits are counted in Redis, client order ids are remembered, no request is traced.

The load generator is a process of its own (`orders_load.py`) with its requests signed beforehand; engine, gateway,
Redis and generator share the machine's cores, so a saturation here is the machine's. What each of them takes of it is
measured beside: processor time an order, which other work on the machine changes little.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import python_peer
from result import RUNS, Result, result, say

sys.path.insert(0, str(Path(__file__).parents[1]))

from fixtures.engines import RunningEngine, make_tls_material
from fixtures.gateways import GatewayProcess, credit, running_gateway
from fixtures.processes import RunningProcess
from fixtures.redises import running_redis
from openbourse.contracts.component import Component
from openbourse.gateway.keys import Key

WIRES = ("rest", "ws")
SECONDS = 5.0
OFFERED = (1_000, 5_000)
TARGETS_MS = {1_000: {"p50_ms": 10.0, "p99_ms": 50.0}, 5_000: {"p50_ms": 1.0, "p99_ms": 5.0}}
# Below this share of what was offered a rate does not hold, and its latencies are those of a queue.
HOLDS = 0.99
CONNECTIONS = 64
SATURATING = 32
REQUESTS_MOST = 320_000
# Of each connection, at saturation: what comes in one read is one batch. HTTP answers one after the other anyway.
UNDER_WAY = {"rest": 1, "ws": 32, "peer": 1}
# One account from one address loads all of it.
UNLIMITED = ("--orders-per-10s", "10000000", "--weight-per-minute", "100000000", "--requests-per-5m", "100000000")
QUIET = ("--no-access-log",)
FUNDS = {"USDT": "1000000000"}
CPU_TARGETS_US = {"ws.cpu_us_per_order.gateway": 15.0}


@dataclass(frozen=True, slots=True)
class Measured:
    """Gateways before one engine, and the processes whose time is counted."""

    ports: list[int]
    key: Key
    pids: Mapping[str, list[int]]


def measure() -> list[Result]:
    """REST and WebSocket in turn."""
    found: dict[str, list[float]] = defaultdict(list)
    with _gateways(1) as measured:
        for wire in WIRES:
            _load(measured, wire, seconds=2.0, offered=OFFERED[0])
        for run in range(RUNS):
            for wire in WIRES:
                for offered in OFFERED:
                    open_loop = _load(measured, wire, seconds=SECONDS, offered=offered)
                    achieved = open_loop["answers"] / open_loop["seconds"]
                    if achieved < HOLDS * offered:
                        # Said, and measured all the same: the name stands for what a trader sees at this rate.
                        say(f"run {run}, {wire}: {offered}/s does not hold here, {achieved:.0f}/s were answered")
                    for name in ("p50_ms", "p99_ms"):
                        found[f"{wire}.{name}.offered_{offered}"].append(open_loop[name])
                    p50_ms, p99_ms = open_loop["p50_ms"], open_loop["p99_ms"]
                    say(f"run {run}, {wire}: at {offered}/s p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms")
                before = _cpu_us(measured)
                saturated = _load(measured, wire, seconds=SECONDS, offered=0)
                found[f"{wire}.throughput"].append(saturated["answers"] / saturated["seconds"])
                spent = {name: us - before[name] for name, us in _cpu_us(measured).items()}
                for name, us in {**spent, "client": saturated["cpu_s"] * 1e6}.items():
                    found[f"{wire}.cpu_us_per_order.{name}"].append(us / saturated["answers"])
                shares = {name: round(found[f"{wire}.cpu_us_per_order.{name}"][-1], 1) for name in (*spent, "client")}
                say(f"run {run}, {wire}: saturated {found[f'{wire}.throughput'][-1]:.0f}/s, us an order {shares}")
    results = []
    for wire in WIRES:
        for offered in OFFERED:
            for name, target in TARGETS_MS[offered].items():
                values = found[f"{wire}.{name}.offered_{offered}"]
                results.append(result(f"gateway.{wire}.{name}.offered_{offered}", values, "ms", "lower", target=target))
        results.append(result(f"gateway.{wire}.throughput", found[f"{wire}.throughput"], "1/s", "higher"))
        for name in ("gateway", "engine", "redis", "client"):
            of = f"{wire}.cpu_us_per_order.{name}"
            results.append(result(f"gateway.{of}", found[of], "us", "lower", target=CPU_TARGETS_US.get(of)))
    return [*results, _of_two_gateways(), *_beside_the_peer()]


def _of_two_gateways() -> Result:
    """The WebSocket API of an exchange whose gateway has two replicas, which count limits together."""
    rates = []
    with _gateways(2) as measured:
        _load(measured, "ws", seconds=2.0, offered=OFFERED[0])
        for run in range(RUNS):
            saturated = _load(measured, "ws", seconds=SECONDS, offered=0)
            rates.append(saturated["answers"] / saturated["seconds"])
            say(f"run {run}: two gateways saturated {rates[-1]:.0f}/s")
    return result("gateway.ws.throughput.gateways_2", rates, "1/s", "higher")


def _beside_the_peer() -> list[Result]:
    """Orders over HTTP, each answered once it is durable, on as many connections: ours are signed and checked.

    Beside one gateway, and beside two: the peer is one process that cannot be two, for its book is in it.
    """
    ours: dict[int, list[float]] = {1: [], 2: []}
    theirs: list[float] = []
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            python_peer.serving(Path(folder)) as peer,
            _gateways(2) as measured,
        ):
            sides = (
                (ours[1], replace(measured, ports=measured.ports[:1]), "rest"),
                (ours[2], measured, "rest"),
                (theirs, replace(measured, ports=[peer]), "peer"),
            )
            for run in range(RUNS):
                for rates, to, wire in sides:
                    saturated = _load(to, wire, seconds=SECONDS, offered=0)
                    rates.append(saturated["answers"] / saturated["seconds"])
                one, two, peers = ours[1][-1], ours[2][-1], theirs[-1]
                say(f"run {run}: {one:.0f}/s over HTTP, two gateways {two:.0f}/s, {python_peer.NAME} {peers:.0f}/s")
    except python_peer.NotThere as why:
        say(f"NOT MEASURED: {python_peer.NAME}, which needs Python {python_peer.PYTHON}: {why}")
        return []
    name = "gateway.rest.durable_orders_per_second"
    return [
        result(name + suffix, ours[gateways], "1/s", "higher", peer=python_peer.NAME, peer_values=theirs)
        for gateways, suffix in ((1, ""), (2, ".gateways_2"))
    ]


@contextlib.contextmanager
def _gateways(count: int) -> Iterator[Measured]:
    """With an engine behind them, and the key of an account with funds."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        material = make_tls_material(folder / "tls")
        engine = RunningEngine(folder, material)
        engine.start()
        try:
            tls, options = material[Component.GATEWAY], (*QUIET, *UNLIMITED)
            redis = stack.enter_context(running_redis(folder / "redis"))
            gateways: list[GatewayProcess] = []
            for number in range(count):
                at, first = folder / f"gateway-{number}", gateways[0] if gateways else None
                gateway, [key] = stack.enter_context(
                    running_gateway(
                        *(at, tls, engine.address, *options),
                        accounts=0 if first else 1,
                        keys_of=first,
                        environment=redis.environment,
                    )
                )
                gateway.wait_until_ready()
                gateway.wait_for("it counts in Redis", lambda status: bool(status["redis"]["there"]))
                gateways.append(gateway)
            asyncio.run(credit(engine, key.account, FUNDS))
            assert redis.process is not None
            pids = {
                "gateway": [_pid(gateway) for gateway in gateways],
                "engine": [_pid(engine)],
                "redis": [redis.process.pid],
            }
            yield Measured([gateway.address.port for gateway in gateways], key, pids)
            # Otherwise something else was measured.
            assert all(gateway.status()["redis"]["there"] for gateway in gateways)
        finally:
            stack.close()
            engine.stop()


def _pid(running: RunningProcess) -> int:
    assert running.process is not None
    return running.process.pid


def _cpu_us(measured: Measured) -> dict[str, float]:
    """What all threads of each have taken since they began."""
    return {
        name: sum(
            int((task / "schedstat").read_text().split()[0]) / 1000
            for pid in pids
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
        for name, pids in measured.pids.items()
    }


def _load(to: Measured, wire: str, *, seconds: float, offered: int) -> dict[str, float]:
    """What one run of the load generator measured. Raises AssertionError when an order was refused."""
    plan = {
        "ports": to.ports,
        "wire": wire,
        "api_key": to.key.api_key,
        "secret": to.key.secret,
        "connections": CONNECTIONS if offered else SATURATING,
        "under_way": UNDER_WAY[wire],
        "seconds": seconds,
        "offered": offered,
        # Open: twice what is due, since no connection gets exactly its share.
        "requests": int(2 * offered * seconds) if offered else REQUESTS_MOST,
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("orders_load.py"))],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert not measured.pop("refused"), done.stdout
    assert not measured["out_of_requests"], "the load generator ran out of signed requests"
    return measured
