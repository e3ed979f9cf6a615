"""Arrival to commit when trades come at their own rate: with a synchronous standby, and with one server alone.

All that has come is a batch. Both servers of the pair and the one alone are on this machine: they share its disk and
processors, and there is no network between them.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice

from result import RUNS, Result, at_share, result, say
from settling import DATABASE, SETTINGS, funded_trades, ledger_server, open_funded, scratch_binaries

from fixtures.replicas import Pair
from fixtures.streams import SHARD
from openbourse.contracts import v1
from openbourse.ledger import store
from openbourse.ledger.database import Connection

RATES = (1_000, 3_000, 5_000)
OPEN_LOOP_S = 3.0
MOST_AT_ONCE = 2_000
WARM_UP_TRADES = 1_000
P99_TARGETS_MS = {1_000: 50.0, 3_000: 200.0}
SHARES = (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0))
ALONE, WITH_STANDBY = "ledger.open_loop", "ledger.standby.open_loop"
PEER = "the same without a standby"


def measure() -> list[Result]:
    with scratch_binaries() as (binaries, scratch), ledger_server(binaries, scratch / "alone") as alone:
        pair = Pair(binaries, scratch, SETTINGS)
        try:
            pair.wait_until_in_sync()
            times = asyncio.run(_measure(alone.dsn(DATABASE), pair.primary.dsn(DATABASE)))
            # Otherwise something else was measured.
            pair.wait_until_in_sync()
        finally:
            pair.stop()
    results = []
    for rate in RATES:
        for name, share in SHARES:
            target = P99_TARGETS_MS.get(rate) if name == "p99_ms" else None
            alone_ms, standby_ms = (
                [at_share(latencies, share) for latencies in times[kind, rate]] for kind in (ALONE, WITH_STANDBY)
            )
            where = f"{name}.offered_{rate}"
            results += [
                result(f"{ALONE}.{where}", alone_ms, "ms", "lower", target=target),
                result(
                    f"{WITH_STANDBY}.{where}",
                    standby_ms,
                    "ms",
                    "lower",
                    target=target,
                    peer=PEER,
                    peer_values=alone_ms,
                ),
            ]
    return results


async def _measure(alone: str, with_standby: str) -> dict[tuple[str, int], list[list[float]]]:
    """The sorted latencies of each run, in turn."""
    ready = [(kind, *await _ready(dsn)) for kind, dsn in ((ALONE, alone), (WITH_STANDBY, with_standby))]
    times: dict[tuple[str, int], list[list[float]]] = {(kind, rate): [] for kind, *_ in ready for rate in RATES}
    for run in range(RUNS):
        for rate in RATES:
            for kind, connection, trades in ready:
                latencies = sorted(await _offered(connection, list(islice(trades, round(rate * OPEN_LOOP_S))), rate))
                times[kind, rate].append(latencies)
                shown = ", ".join(f"{name} {at_share(latencies, share):.1f}" for name, share in SHARES)
                say(f"run {run + 1}: {kind}, {rate}/s offered: {shown}")
    for _, connection, _ in ready:
        await connection.close()
    return times


async def _ready(dsn: str) -> tuple[Connection, Iterator[bytes]]:
    """Its statements have been planned, and the accounts are in memory."""
    connection = await open_funded(dsn)
    trades = funded_trades()
    await _offered(connection, list(islice(trades, WARM_UP_TRADES)), WARM_UP_TRADES)
    return connection, trades


async def _offered(connection: Connection, bodies: list[bytes], rate: int) -> list[float]:
    """Milliseconds from the intended arrival of each to the commit of its batch."""
    start, done, latencies = time.perf_counter(), 0, []
    while done < len(bodies):
        arrived = min(len(bodies), int((time.perf_counter() - start) * rate))
        if arrived == done:
            await asyncio.sleep((done + 1) / rate - (time.perf_counter() - start))
            continue
        until = min(arrived, done + MOST_AT_ONCE)
        parts = [v1.Events.FromString(body) for body in bodies[done:until]]
        await store.settle(connection, SHARD, parts)
        now = time.perf_counter() - start
        latencies += [(now - (at + 1) / rate) * 1000 for at in range(done, until)]
        done = until
    return latencies
