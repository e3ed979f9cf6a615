"""Through the whole system, client to client: orders signed and sent over the WebSocket API, answered, their trades
heard on a stream and settled in PostgreSQL. Engine, ledger, market data and gateway run as they do in an exchange, and
share the machine's two cores with the client, which is this process.

Orders are offered at their own rate, in turn a sell and the buy that takes it, so that half as many trades come. An
acknowledgement counts from when its order was due. A trade counts from when the engine stamped the batch that made it:
to its message at the client, and to the moment when a poll of the database first sees it settled.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import asyncpg
from gateway import UNLIMITED
from orders_load import frame
from result import RUNS, Result, at_share, result, say
from settling import SETTINGS, scratch_binaries
from ticking import ticks

from fixtures.databases import PostgresServer
from fixtures.engines import RunningEngine, make_tls_material
from fixtures.exchanges import running_exchange
from openbourse.gateway.keys import Key

OFFERED = 1_000
SECONDS = 5.0
WARM_UP_S = 2.0
# What is under way when the last order was sent comes within this.
GRACE_S = 5.0
SETTLED_S = 20.0
POLL_S = 0.002
TRADES = "SELECT seq, occurred_at_us FROM ledger.entries WHERE kind = 'trade_executed' AND seq > $1 ORDER BY seq"
PRICE, QUANTITY = "50000", "0.001"
FUNDS = {"BTC": "1000", "USDT": "100000000"}
TARGETS_MS = {"ack": {"p50_ms": 10.0, "p99_ms": 50.0}, "trade_to_ledger": {"p99_ms": 200.0}}
TARGETS_MS["trade_to_websocket"] = {"p99_ms": 100.0}
WAYS = ("ack", "trade_to_websocket", "trade_to_ledger")


class Socket(asyncio.Protocol):
    """One WebSocket; `heard` gets each text, and there are no pings within a run."""

    def __init__(self, path: str, heard: Callable[[bytes], None]) -> None:
        self._path = path
        self._heard = heard
        self._rest = b""
        self.opened = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self.opened.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self.opened.set_result(None)
        at = 0
        while len(data) - at >= 4:
            size = data[at + 1]
            body = at + 2
            if size == 126:
                size, body = int.from_bytes(data[at + 2 : at + 4]), at + 4
            if body + size > len(data):
                break
            self._heard(data[body : body + size])
            at = body + size
        self._rest = data[at:]


class Run:
    """What was heard and when, by the clock that the engine stamps with."""

    def __init__(self, seller: Key, buyer: Key) -> None:
        self._keys = (seller, buyer)
        self._due_s: dict[int, float] = {}
        self.acknowledged_ms: list[float] = []
        self.refused: list[bytes] = []
        # Of each trade, by its id: when it was made, when its message came.
        self.made_us: dict[int, int] = {}
        self.told_us: dict[int, int] = {}
        # Each watermark of the ledger that was seen, and when.
        self.settled_us: list[tuple[int, int]] = []

    def order(self, number: int) -> bytes:
        """In turn a sell and a buy."""
        key, side = self._keys[number % 2], ("SELL", "BUY")[number % 2]
        terms = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": QUANTITY}
        stamp = str(time.time_ns() // 1_000_000)
        sent = {**terms, "price": PRICE, "newOrderRespType": "ACK", "timestamp": stamp, "apiKey": key.api_key}
        signed = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
        sent["signature"] = hmac.digest(key.secret.encode(), signed.encode(), "sha256").hex()
        return frame(json.dumps({"id": number, "method": "order.place", "params": sent}).encode())

    def sent(self, number: int, due_s: float) -> None:
        self._due_s[number] = due_s

    def answered(self, text: bytes) -> None:
        now_s, answer = time.perf_counter(), json.loads(text)
        if answer["status"] != 200:
            self.refused.append(text)
        self.acknowledged_ms.append((now_s - self._due_s.pop(answer["id"])) * 1000)

    def traded(self, text: bytes) -> None:
        now_us, trade = time.time_ns() // 1000, json.loads(text)
        self.made_us[trade["t"]], self.told_us[trade["t"]] = trade["T"], now_us


def measure() -> list[Result]:
    found: dict[str, list[float]] = {}
    with _exchange() as (port, dsn, seller, buyer):
        asyncio.run(_run(port, dsn, Run(seller, buyer), WARM_UP_S))
        for number in range(RUNS):
            times = asyncio.run(_run(port, dsn, Run(seller, buyer), SECONDS))
            for way in WAYS:
                for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99)):
                    found.setdefault(f"{way}.{name}", []).append(at_share(times[way], share))
            shown = "; ".join(
                f"{way} {at_share(times[way], 0.5):.1f}, {at_share(times[way], 0.99):.1f}" for way in WAYS
            )
            say(f"run {number + 1}, {OFFERED}/s offered, p50 and p99 in ms: {shown}")
    return [
        result(
            f"flow.{way}.{name}.offered_{OFFERED}",
            found[f"{way}.{name}"],
            "ms",
            "lower",
            target=TARGETS_MS[way].get(name),
        )
        for way in WAYS
        for name in ("p50_ms", "p99_ms")
    ]


@contextmanager
def _exchange() -> Iterator[tuple[int, str, Key, Key]]:
    """The gateway's port, the ledger's database, and two accounts with funds."""
    with scratch_binaries() as (binaries, scratch):
        postgres = PostgresServer(binaries, scratch / "flow", SETTINGS)
        postgres.start()
        try:
            folder = scratch / "exchange"
            folder.mkdir()
            engine = RunningEngine(folder, make_tls_material(folder / "tls"))
            options = ("--no-access-log", *UNLIMITED)
            with running_exchange(engine, postgres, "flow", 2, *options) as exchange:
                keys = [exchange.funded(FUNDS) for _ in range(2)]
                yield exchange.gateway.address.port, postgres.dsn("flow"), keys[0], keys[1]
        finally:
            postgres.stop()


async def _run(port: int, dsn: str, run: Run, seconds: float) -> dict[str, list[float]]:
    """Sorted milliseconds of each way."""
    loop = asyncio.get_running_loop()
    api = await _opened(port, "/ws-api/v3?returnRateLimits=false", run.answered)
    stream = await _opened(port, "/ws/btcusdt@trade?timeUnit=MICROSECOND", run.traded)
    connection = await asyncpg.connect(dsn)
    first_seq = await connection.fetchval("SELECT coalesce(max(seq), 0) FROM ledger.watermarks")
    polling = loop.create_task(_poll(connection, run))
    count, began_s = int(OFFERED * seconds), time.perf_counter()
    number = 0
    with ticks(1 / OFFERED) as tick:
        while number < count:
            now_s = time.perf_counter()
            while number < count and (due_s := began_s + number / OFFERED) <= now_s:
                run.sent(number, due_s)
                api.transport.write(run.order(number))
                number += 1
            await tick()
    for _ in range(int(GRACE_S / 0.01)):
        if len(run.acknowledged_ms) >= count and len(run.told_us) >= count // 2:
            break
        await asyncio.sleep(0.01)
    api.transport.close()
    stream.transport.close()
    assert not run.refused, run.refused[:3]
    assert len(run.acknowledged_ms) == count, f"{len(run.acknowledged_ms)} of {count} orders were answered"
    assert len(run.told_us) == count // 2, f"{len(run.told_us)} of {count // 2} trades were told"
    trades = await _settled(dsn, first_seq, count // 2)
    # It looks once more.
    await asyncio.sleep(0.1)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await connection.close()
    told = sorted((run.told_us[trade] - made_us) / 1000 for trade, made_us in run.made_us.items())
    return {
        "ack": sorted(run.acknowledged_ms),
        "trade_to_websocket": told,
        "trade_to_ledger": sorted(_seen_ms(trades, run.settled_us)),
    }


async def _opened(port: int, path: str, heard: Callable[[bytes], None]) -> Socket:
    _, opened = await asyncio.get_running_loop().create_connection(lambda: Socket(path, heard), "127.0.0.1", port)
    async with asyncio.timeout(GRACE_S):
        await opened.opened
    return opened


async def _poll(connection: asyncpg.Connection, run: Run) -> None:
    """Whenever the ledger's watermark has moved. Until cancelled."""
    statement = await connection.prepare("SELECT coalesce(max(seq), 0) FROM ledger.watermarks")
    last = 0
    while True:
        if (seq := await statement.fetchval()) != last:
            last = seq
            run.settled_us.append((seq, time.time_ns() // 1000))
        await asyncio.sleep(POLL_S)


async def _settled(dsn: str, first_seq: int, count: int) -> list[tuple[int, int]]:
    """Seq, and when it was made, of each trade, once so many are settled. Raises TimeoutError."""
    connection = await asyncpg.connect(dsn)
    try:
        for _ in range(int(SETTLED_S / 0.05)):
            rows = await connection.fetch(TRADES, first_seq)
            if len(rows) >= count:
                return [(row[0], row[1]) for row in rows]
            await asyncio.sleep(0.05)
    finally:
        await connection.close()
    raise TimeoutError(f"{len(rows)} of {count} trades were settled within {SETTLED_S:g} s")


def _seen_ms(trades: list[tuple[int, int]], seen: list[tuple[int, int]]) -> list[float]:
    """Of each trade, by seq, until a watermark was seen that has passed it."""
    marks = iter(seen)
    seq, at_us = next(marks)
    times = []
    for trade, made_us in trades:
        while seq < trade:
            seq, at_us = next(marks)
        times.append((at_us - made_us) / 1000)
    return times
