"""Loads a gateway over HTTP keep-alive, or its WebSocket API, from a process of its own: signed orders, placed and
cancelled in turn.

    python tests/bench/orders_load.py < plan.json

with {"ports", "api_key", "secret", "connections", "under_way", "seconds", "offered", "requests", "wire"}: see Plan.

Every request is written and signed before the run begins (with the widest recvWindow), so that the load generator
spends its core on sending. With `offered` the load is open: request n is due at n / offered seconds on any idle
connection, and its latency counts from then, also when all connections are busy. Without it each connection keeps so
many requests under way, and sends as many as one read brought answers, in one write. The last line of stdout is the
result as JSON.
"""

import asyncio
import contextlib
import gc
import hmac
import itertools
import json
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TypedDict, cast

import uvloop
from ticking import ticks

GRACE_S = 10.0
HEADER_END = b"\r\n\r\n"
LENGTH = b"content-length: "


class Plan(TypedDict):
    # Of gateways; connections are spread over them.
    ports: list[int]
    api_key: str
    secret: str
    connections: int
    # Of each connection, where nothing is offered.
    under_way: int
    seconds: float
    # Requests a second; 0 as fast as answers come.
    offered: int
    # How many requests to sign beforehand.
    requests: int
    # "rest", "ws", or "peer": unsigned orders of the package matching-engine.
    wire: str


@dataclass(slots=True)
class Run:
    plan: Plan
    requests: list[list[bytes]]
    began: float = 0.0
    until: float = 0.0
    latencies: list[float] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    last_answer: float = 0.0
    # Answers that the run waits for in the end, and that they are there.
    wanted: int = sys.maxsize
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Trader(asyncio.Protocol):
    """One connection: what is under way is answered in its order."""

    def __init__(self, run: Run, requests: list[bytes]) -> None:
        self._run = run
        self._requests = requests
        self._next = 0
        self._due: deque[float] = deque()
        self._answer = b""
        self._transport: asyncio.Transport
        self.idle: deque[Trader] | None = None
        self.waiting: deque[float] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    @property
    def exhausted(self) -> bool:
        return self._next == len(self._requests)

    @property
    def under_way(self) -> int:
        return len(self._due)

    def send(self, due: float, count: int = 1) -> None:
        requests = self._requests[self._next : self._next + count]
        self._due.extend([due] * len(requests))
        self._next += len(requests)
        self._transport.write(b"".join(requests))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        at, count = 0, 0
        while (end := self._end(at)) > 0:
            if not self._is_accepted(at, end):
                why = self._answer[at:end].decode(errors="replace")
                self._run.refused[why] = self._run.refused.get(why, 0) + 1
            at, count = end, count + 1
        if count:
            self._answer = self._answer[at:]
            self._answered(count)

    def _end(self, at: int) -> int:
        """Of the answer that begins there; -1 when it is not whole."""
        head = self._answer.find(HEADER_END, at)
        if head < 0:
            return -1
        length = self._answer.index(LENGTH, at) + len(LENGTH)
        end = head + 4 + int(self._answer[length : self._answer.index(b"\r", length)])
        return end if end <= len(self._answer) else -1

    def _is_accepted(self, at: int, _end: int) -> bool:
        return self._answer.startswith(b"HTTP/1.1 200", at)

    def _answered(self, count: int) -> None:
        now = time.perf_counter()
        run = self._run
        run.last_answer = now
        run.latencies += [now - self._due.popleft() for _ in range(count)]
        if len(run.latencies) >= run.wanted:
            run.done.set()
        if self.exhausted:
            return
        if self.idle is None:
            if now < run.until:
                self.send(now, count)
        elif self.waiting:
            self.send(self.waiting.popleft())
        else:
            self.idle.append(self)

    def connection_lost(self, _error: Exception | None) -> None:
        if time.perf_counter() < self._run.until:
            self._run.refused["connection lost"] = self._run.refused.get("connection lost", 0) + 1

    def close(self) -> None:
        self._transport.close()


class SocketTrader(Trader):
    """One connection of the WebSocket API."""

    def __init__(self, run: Run, requests: list[bytes]) -> None:
        super().__init__(run, requests)
        self.opened = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        if self.opened.is_set():
            super().data_received(data)
            return
        self._answer += data
        head = self._answer.find(HEADER_END)
        if head >= 0:
            assert self._answer.startswith(b"HTTP/1.1 101"), self._answer
            self._answer = self._answer[head + 4 :]
            self.opened.set()

    def _end(self, at: int) -> int:
        """Of a frame of text, shorter than 65,536 bytes. Pings do not come within a run."""
        answer = self._answer
        if len(answer) - at < 4:
            return -1
        assert answer[at] == 0x81, answer[at:]
        size = answer[at + 1]
        end = at + 2 + size if size < 126 else at + 4 + (answer[at + 2] << 8 | answer[at + 3])
        return end if end <= len(answer) else -1

    def _is_accepted(self, at: int, end: int) -> bool:
        return self._answer.find(b'"status":200,', at, end) > 0


HANDSHAKE = (
    b"GET /ws-api/v3?returnRateLimits=false HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(text: bytes) -> bytes:
    """Masked with zeros, which is as it is."""
    assert len(text) < 65_536
    length = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0x80 | 126]) + len(text).to_bytes(2)
    return b"\x81" + length + bytes(4) + text


def signed_requests(plan: Plan) -> list[list[bytes]]:
    """For each connection: place, cancel, place, cancel, ...; of the peer, which names orders itself, orders alone."""
    secret = plan["secret"].encode()
    run = uuid.uuid4().hex[:8]
    stamp = time.time_ns() // 1_000_000
    each = plan["requests"] // plan["connections"]

    def request(method: str, parameters: dict[str, str]) -> bytes:
        if plan["wire"] == "ws":
            sent = {**parameters, "recvWindow": "60000", "timestamp": str(stamp), "apiKey": plan["api_key"]}
            signed = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
            sent["signature"] = hmac.digest(secret, signed.encode(), "sha256").hex()
            name = {"POST": "order.place", "DELETE": "order.cancel"}[method]
            return frame(json.dumps({"id": 1, "method": name, "params": sent}).encode())
        query = "&".join(f"{name}={of}" for name, of in parameters.items()) + f"&recvWindow=60000&timestamp={stamp}"
        signature = hmac.digest(secret, query.encode(), "sha256").hex()
        return (
            f"{method} /api/v3/order?{query}&signature={signature} HTTP/1.1\r\n"
            f"Host: 127.0.0.1\r\nX-MBX-APIKEY: {plan['api_key']}\r\nContent-Length: 0\r\n\r\n"
        ).encode()

    def order_of_peer(price: int) -> bytes:
        body = json.dumps({"account": 1, "side": "buy", "price": str(price), "quantity": "0.001"}).encode()
        return (
            b"POST /markets/BTC-USDT/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )

    def pair(name: str, price: int) -> tuple[bytes, bytes]:
        if plan["wire"] == "peer":
            return order_of_peer(price), order_of_peer(price)
        terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}
        return (
            request("POST", {**terms, "price": str(price), "newClientOrderId": name}),
            request("DELETE", {"symbol": "BTCUSDT", "origClientOrderId": name}),
        )

    return [
        [
            data
            for number in range(max(1, each // 2))
            for data in pair(f"{run}-{connection}-{number}", 10_000 + number % 100)
        ]
        for connection in range(plan["connections"])
    ]


async def load(plan: Plan) -> dict[str, object]:
    run = Run(plan, signed_requests(plan))
    loop = asyncio.get_running_loop()
    kind = SocketTrader if plan["wire"] == "ws" else Trader
    traders = [
        (await loop.create_connection(lambda requests=requests: kind(run, requests), "127.0.0.1", port))[1]  # type: ignore[misc]
        for requests, port in zip(run.requests, itertools.cycle(plan["ports"]), strict=False)
    ]
    for trader in traders:
        if isinstance(trader, SocketTrader):
            await trader.opened.wait()
    gc.collect()
    gc.freeze()
    began_cpu_s = time.process_time()
    run.began = time.perf_counter()
    run.until = run.began + plan["seconds"]
    if plan["offered"]:
        run.wanted = int(plan["offered"] * plan["seconds"])
        await _offer(run, traders)
    else:
        for trader in traders:
            trader.send(time.perf_counter(), plan["under_way"])
        await asyncio.sleep(plan["seconds"])
        run.wanted = len(run.latencies) + sum(trader.under_way for trader in traders)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(run.done.wait(), GRACE_S if plan["offered"] else 0.5)
    for trader in traders:
        trader.close()
    latencies = sorted(run.latencies)
    return {
        "answers": len(latencies),
        "unanswered": run.wanted - len(latencies),
        "refused": run.refused,
        "seconds": run.last_answer - run.began,
        "cpu_s": time.process_time() - began_cpu_s,
        "out_of_requests": all(trader.exhausted for trader in traders),
        **{
            f"p{name}_ms": _percentile(latencies, part) * 1000
            for name, part in (("50", 0.5), ("99", 0.99), ("999", 0.999))
        },
    }


async def _offer(run: Run, traders: list[Trader]) -> None:
    """Sends each request when it is due, or as soon after as a connection is idle."""
    idle = deque(traders)
    waiting: deque[float] = deque()
    for trader in traders:
        trader.idle, trader.waiting = idle, waiting
    with ticks(1 / run.plan["offered"]) as tick:
        number = 0
        while number < run.wanted:
            now = time.perf_counter()
            while number < run.wanted and (at := run.began + number / run.plan["offered"]) <= now:
                if idle:
                    idle.popleft().send(at)
                else:
                    waiting.append(at)
                number += 1
            await tick()


def _percentile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))] if values else float("nan")


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(json.load(sys.stdin)))))
