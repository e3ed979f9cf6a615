"""The load that engines are measured with: one Python process, TLS over loopback, orders of which half trade.

What it costs is in the figures, how late it sends is beside them. Latencies count from the moment at which a command
was to be sent, whether it could be sent then or not.
"""

import asyncio
import gc
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from result import RUNS, Result, result, say

from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.frames import Decoder, encode

sys.path.append(str(Path(__file__).parents[1]))

from fixtures.commands import ALICE, BOB, BTC, USDT, buy, credit, sell
from fixtures.engines import RunningEngine

OPEN_LOOP_S = 4.0
SATURATION_COMMANDS = 20_000
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


async def connect(engine: RunningEngine, context: ssl.SSLContext) -> Client:
    reader, writer = await asyncio.open_connection(engine.address.host, engine.address.port, ssl=context)
    client = Client(reader, writer, Decoder())
    writer.write(encode(v1.ClientFrame(hello=v1.Hello(shard=engine.shard, client="bench"))))
    (welcome,) = await client.bodies()
    assert v1.ServerFrame.FromString(welcome).WhichOneof("frame") == "welcome"
    return client


async def fund(engine: RunningEngine) -> None:
    client = await connect(engine, engine.client_tls(Component.LEDGER))
    for command in (credit(ALICE, "BTC", 10**6 * BTC), credit(BOB, "USDT", 10**9 * USDT)):
        client.writer.write(encode(v1.ClientFrame(command=command)))
        await client.bodies()
    client.writer.close()


def _orders(count: int) -> list[tuple[bytes, bytes]]:
    """Command ids and frames: a sell that rests and a buy that takes it, so that the book stays small."""
    commands = [sell(30_000_00, 1) if at % 2 == 0 else buy(30_000_00, 1) for at in range(count)]
    return [(command.command_id, encode(v1.ClientFrame(command=command))) for command in commands]


def throughput(
    name: str, ours: RunningEngine, peer: RunningEngine, peer_is: str, peer_commands: int = SATURATION_COMMANDS
) -> list[Result]:
    """Commands a second of both, in turn."""
    values: list[float] = []
    peer_values: list[float] = []
    for run in range(RUNS):
        values.append(asyncio.run(saturate(ours, SATURATION_COMMANDS)))
        peer_values.append(asyncio.run(saturate(peer, peer_commands)))
        say(f"{name} {run + 1}/{RUNS}: {values[-1]:.0f}/s, {peer_is} {peer_values[-1]:.0f}/s")
    return [result(name, values, "1/s", "higher", peer=peer_is, peer_values=peer_values)]


async def saturate(engine: RunningEngine, count: int) -> float:
    """Commands a second with WINDOW of them unanswered."""
    orders = [frame for _, frame in _orders(count)]
    client = await connect(engine, engine.client_tls(Component.GATEWAY))
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


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """One run. `late_ms` is how late each write was that was to be made; `client_cpu` the client's share of a core."""

    times_ms: list[float]
    throughput: float
    late_ms: list[float]
    client_cpu: float

    def quantile(self, per_mille: int) -> float:
        return quantile(self.times_ms, per_mille)


def quantile(ordered: list[float], per_mille: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * per_mille // 1000)]


async def open_loop(engine: RunningEngine, rate: int) -> OpenLoop:
    count = int(rate * OPEN_LOOP_S)
    orders = _orders(count)
    position = {command_id: at for at, (command_id, _) in enumerate(orders)}
    client = await connect(engine, engine.client_tls(Component.GATEWAY))
    times_ms: list[float] = []
    late_ms: list[float] = []
    # A collection of what was made for the run would be a pause of the client.
    gc.freeze()
    cpu_s = time.process_time()
    started = time.perf_counter() + 0.01

    async def send() -> None:
        sent = 0
        while sent < count:
            due = min(count, int((time.perf_counter() - started) * rate) + 1)
            if due > sent:
                late_ms.append((time.perf_counter() - started - sent / rate) * 1000)
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
    took_s = time.perf_counter() - started
    gc.unfreeze()
    client.writer.close()
    cpu_share = (time.process_time() - cpu_s) / took_s
    return OpenLoop(sorted(times_ms), count / took_s, sorted(late_ms), cpu_share)
