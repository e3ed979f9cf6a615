"""The engine as its clients see it: a real process, TLS over loopback, orders that are durable when they are answered.

Ours commits in groups; the peer is the same engine with one fdatasync per command. Both run in turn, on one disk. The
client is one Python process on the same machine: what it costs is in the figures.
"""

import asyncio
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from result import RUNS, Result, result

from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.frames import Decoder, encode
from openbourse.engine import _core

sys.path.append(str(Path(__file__).parents[1]))

from fixtures.commands import ALICE, BOB, BTC, USDT, buy, credit, sell
from fixtures.engines import RunningEngine, make_tls_material

PEER = "one fdatasync per command"
OFFERED = (1000, 10_000)
OPEN_LOOP_S = 2.0
SATURATION_COMMANDS = 20_000
PEER_SATURATION_COMMANDS = 3_000
WINDOW = 2000
DRAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    decoder: Decoder

    async def bodies(self) -> list[bytes]:
        data = await self.reader.read(256 * 1024)
        if not data:
            raise EOFError("the engine closed the connection")
        return self.decoder.feed(data)


async def _connect(engine: RunningEngine, context: ssl.SSLContext) -> Client:
    reader, writer = await asyncio.open_connection(engine.address.host, engine.address.port, ssl=context)
    client = Client(reader, writer, Decoder())
    writer.write(encode(v1.ClientFrame(hello=v1.Hello(shard=engine.shard, client="bench"))))
    (welcome,) = await client.bodies()
    assert v1.ServerFrame.FromString(welcome).WhichOneof("frame") == "welcome"
    return client


async def _fund(engine: RunningEngine) -> None:
    client = await _connect(engine, engine.client_tls(Component.LEDGER))
    for command in (credit(ALICE, "BTC", 10**6 * BTC), credit(BOB, "USDT", 10**9 * USDT)):
        client.writer.write(encode(v1.ClientFrame(command=command)))
        await client.bodies()
    client.writer.close()


def _orders(count: int) -> list[tuple[bytes, bytes]]:
    """Command ids and frames: a sell that rests and a buy that takes it, so that the book stays small."""
    commands = [sell(30_000_00, 1) if at % 2 == 0 else buy(30_000_00, 1) for at in range(count)]
    return [(command.command_id, encode(v1.ClientFrame(command=command))) for command in commands]


async def _saturate(engine: RunningEngine, count: int) -> float:
    """Commands a second with WINDOW of them unanswered."""
    orders = [frame for _, frame in _orders(count)]
    client = await _connect(engine, engine.client_tls(Component.GATEWAY))
    started = time.perf_counter()
    sent = answered = 0
    async with asyncio.timeout(DRAIN_S):
        while answered < count:
            if (room := min(WINDOW - (sent - answered), count - sent)) > 0:
                client.writer.write(b"".join(orders[sent : sent + room]))
                sent += room
            answered += len(await client.bodies())
    took_s = time.perf_counter() - started
    client.writer.close()
    return count / took_s


async def _open_loop(engine: RunningEngine, rate: int) -> list[float]:
    """Milliseconds from the moment at which each command was to be sent, whether it could be sent then or not."""
    count = int(rate * OPEN_LOOP_S)
    orders = _orders(count)
    position = {command_id: at for at, (command_id, _) in enumerate(orders)}
    client = await _connect(engine, engine.client_tls(Component.GATEWAY))
    times_ms: list[float] = []
    started = time.perf_counter() + 0.01

    async def send() -> None:
        sent = 0
        while sent < count:
            due = min(count, int((time.perf_counter() - started) * rate) + 1)
            if due > sent:
                client.writer.write(b"".join(frame for _, frame in orders[sent:due]))
                sent = due
            await asyncio.sleep(max(0.0, started + sent / rate - time.perf_counter()))

    async def receive() -> None:
        while len(times_ms) < count:
            bodies = await client.bodies()
            now = time.perf_counter()
            for body in bodies:
                at = position[v1.ServerFrame.FromString(body).reply.command_id]
                times_ms.append((now - started - at / rate) * 1000)

    async with asyncio.timeout(OPEN_LOOP_S + DRAIN_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        tasks.create_task(receive())
    client.writer.close()
    return sorted(times_ms)


def _replay(engine: RunningEngine) -> float:
    """Commands a second from an engine's log to a kernel that is ready."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(engine.wal, copy, dirs_exist_ok=True)
        started = time.perf_counter()
        core = _core.Engine(copy, engine.shard)
        return core.committed_seq / (time.perf_counter() - started)


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr)


def measure() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        tls_material = make_tls_material(Path(folder))
        engines = []
        for name, arguments in (("ours", ()), ("peer", ("--batch-requests", "1"))):
            (Path(folder) / name).mkdir()
            engines.append(RunningEngine(Path(folder) / name, tls_material, arguments=arguments))
        ours, peer = engines
        try:
            for engine in engines:
                engine.start()
                asyncio.run(_fund(engine))
            results = _throughput(ours, peer)
            for rate in OFFERED:
                results += _latencies(ours, peer, rate)
            ours.stop()
            _say("replay")
            results.append(
                result("engine.replay.commands_per_second", [_replay(ours) for _ in range(RUNS)], "1/s", "higher")
            )
        finally:
            for engine in engines:
                if engine.process is not None:
                    engine.stop(signal.SIGTERM)
    return results


def _throughput(ours: RunningEngine, peer: RunningEngine) -> list[Result]:
    values: list[float] = []
    peer_values: list[float] = []
    for run in range(RUNS):
        values.append(asyncio.run(_saturate(ours, SATURATION_COMMANDS)))
        peer_values.append(asyncio.run(_saturate(peer, PEER_SATURATION_COMMANDS)))
        _say(f"throughput {run + 1}/{RUNS}: {values[-1]:.0f}/s, {PEER} {peer_values[-1]:.0f}/s")
    return [result("engine.durable.throughput", values, "1/s", "higher", peer=PEER, peer_values=peer_values)]


def _latencies(ours: RunningEngine, peer: RunningEngine, rate: int) -> list[Result]:
    quantiles: dict[str, Callable[[list[float]], float]] = {
        "p50_ms": lambda times: times[len(times) // 2],
        "p99_ms": lambda times: times[len(times) * 99 // 100],
        "p999_ms": lambda times: times[len(times) * 999 // 1000],
    }
    pairs = []
    for run in range(RUNS):
        pairs.append((asyncio.run(_open_loop(ours, rate)), asyncio.run(_open_loop(peer, rate))))
        shown = ", ".join(f"{name} {quantile(pairs[-1][0]):.2f}" for name, quantile in quantiles.items())
        _say(f"offered {rate}/s {run + 1}/{RUNS}: {shown}")
    return [
        result(
            f"engine.durable.{name}.offered_{rate}",
            [quantile(mine) for mine, _ in pairs],
            "ms",
            "lower",
            target=2.0 if name == "p99_ms" else None,
            peer=PEER,
            peer_values=[quantile(theirs) for _, theirs in pairs],
        )
        for name, quantile in quantiles.items()
    ]
