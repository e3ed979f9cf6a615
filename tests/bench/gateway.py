"""Signed orders over HTTP keep-alive and over the WebSocket API, placed and cancelled in turn, through a real gateway
and a real durable engine.

The load generator is a process of its own (`orders_load.py`) with its requests signed beforehand; engine, gateway and
generator share the machine's cores, so a saturation here is the machine's, the gateway's share of it being the largest.
"""

import asyncio
import contextlib
import datetime
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from result import RUNS, Result, result

sys.path.insert(0, str(Path(__file__).parents[1]))

from fixtures.engines import EXCHANGE, RunningEngine
from fixtures.gateways import credit, running_gateway
from openbourse.contracts.certificates import issue, make_authority
from openbourse.contracts.component import Component
from openbourse.gateway.keys import Key

WIRES = ("rest", "ws")
SECONDS = 5.0
OFFERED = 1_000
# Below this share of what was offered a rate does not hold, and its latencies are those of a queue.
HOLDS = 0.99
CONNECTIONS = 64
SATURATING = 32
REQUESTS_MOST = 60_000
FUNDS = {"USDT": "1000000000"}


def measure() -> list[Result]:
    """REST and WebSocket in turn."""
    found: dict[str, list[float]] = defaultdict(list)
    with _gateway() as (port, key):
        for wire in WIRES:
            _load(port, key, wire, seconds=2.0, offered=OFFERED)
        for run in range(RUNS):
            for wire in WIRES:
                open_loop = _load(port, key, wire, seconds=SECONDS, offered=OFFERED)
                achieved = open_loop["answers"] / open_loop["seconds"]
                if achieved < HOLDS * OFFERED:
                    # Said, and measured all the same: the name stands for what a trader sees at this rate.
                    print(f"run {run}: {OFFERED}/s does not hold here, {achieved:.0f}/s were answered", file=sys.stderr)
                for name in ("p50_ms", "p99_ms"):
                    found[f"{wire}.{name}"].append(open_loop[name])
                saturated = _load(port, key, wire, seconds=SECONDS, offered=0)
                found[f"{wire}.throughput"].append(saturated["answers"] / saturated["seconds"])
                print(
                    f"run {run}, {wire}: at {OFFERED}/s p50 {open_loop['p50_ms']:.2f} ms, "
                    f"p99 {open_loop['p99_ms']:.2f} ms; saturated {found[f'{wire}.throughput'][-1]:.0f}/s",
                    file=sys.stderr,
                )
    return [
        measured
        for wire in WIRES
        for measured in (
            result(f"gateway.{wire}.p50_ms.offered_{OFFERED}", found[f"{wire}.p50_ms"], "ms", "lower", target=10),
            result(f"gateway.{wire}.p99_ms.offered_{OFFERED}", found[f"{wire}.p99_ms"], "ms", "lower", target=50),
            result(f"gateway.{wire}.throughput", found[f"{wire}.throughput"], "1/s", "higher"),
        )
    ]


@contextlib.contextmanager
def _gateway() -> Iterator[tuple[int, Key]]:
    """The port of a gateway with an engine behind it, and the key of an account with funds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material = _certificates(folder / "tls")
        engine = RunningEngine(folder, material)
        engine.start()
        try:
            with running_gateway(folder / "gateway", material[Component.GATEWAY], engine.address, accounts=1) as (
                gateway,
                [key],
            ):
                gateway.wait_until_ready()
                asyncio.run(credit(engine, key.account, FUNDS))
                yield gateway.address.port, key
        finally:
            engine.stop()


def _certificates(folder: Path) -> dict[Component, Path]:
    now = datetime.datetime.now(datetime.UTC)
    authority = make_authority(EXCHANGE, now)
    for component in Component:
        (folder / component).mkdir(parents=True)
        for name, content in issue(authority, EXCHANGE, component, ("127.0.0.1",), now).files(authority).items():
            (folder / component / name).write_bytes(content)
    return {component: folder / component for component in Component}


def _load(port: int, key: Key, wire: str, *, seconds: float, offered: int) -> dict[str, float]:
    """What one run of the load generator measured. Raises AssertionError when an order was refused."""
    plan = {
        "port": port,
        "websocket": wire == "ws",
        "api_key": key.api_key,
        "secret": key.secret,
        "connections": CONNECTIONS if offered else SATURATING,
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
