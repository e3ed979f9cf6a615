"""Loads a gateway over HTTP keep-alive, or its WebSocket API, from a process of its own: signed orders, placed and
cancelled in turn.

    python tests/bench/orders_load.py < plan.json

with {"port", "api_key", "secret", "connections", "seconds", "offered", "requests", "websocket"}: see Plan.

Every request is written and signed before the run begins (with the widest recvWindow), so that the load generator
spends its core on sending. With `offered` the load is open: request n is due at n / offered seconds on any idle
connection, and its latency counts from then, also when all connections are busy. Without it each connection sends the
next request as soon as it has its answer. The last line of stdout is the result as JSON.
"""

import asyncio
import contextlib
import gc
import hmac
import json
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TypedDict, cast

import uvloop

GRACE_S = 10.0
HEADER_END = b"\r\n\r\n"
LENGTH = b"content-length: "


class Plan(TypedDict):
    port: int
    api_key: str
    secret: str
    connections: int
    seconds: float
    # Requests a second; 0 as fast as answers come.
    offered: int
    # How many requests to sign beforehand.
    requests: int
    # Over the WebSocket API.
    websocket: bool


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
    """One connection with one request under way."""

    def __init__(self, run: Run, requests: list[bytes]) -> None:
        self._run = run
        self._requests = requests
        self._next = 0
        self._due = 0.0
        self._answer = b""
        self._transport: asyncio.Transport
        self.idle: deque[Trader] | None = None
        self.waiting: deque[float] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    @property
    def exhausted(self) -> bool:
        return self._next == len(self._requests)

    def send(self, due: float) -> None:
        self._due = due
        self._transport.write(self._requests[self._next])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(HEADER_END)
        if head < 0:
            return
        at = self._answer.index(LENGTH) + len(LENGTH)
        length = int(self._answer[at : self._answer.index(b"\r", at)])
        if len(self._answer) < head + 4 + length:
            return
        self._answered(self._answer.startswith(b"HTTP/1.1 200"), self._answer[head + 4 :])

    def _answered(self, accepted: bool, body: bytes) -> None:
        now = time.perf_counter()
        run = self._run
        run.last_answer = now
        run.latencies.append(now - self._due)
        if len(run.latencies) >= run.wanted:
            run.done.set()
        if not accepted:
            why = body.decode()
            run.refused[why] = run.refused.get(why, 0) + 1
        self._answer = b""
        if self.exhausted:
            return
        if self.idle is None:
            if now < run.until:
                self.send(now)
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
    """One connection of the WebSocket API with one request under way."""

    def __init__(self, run: Run, requests: list[bytes]) -> None:
        super().__init__(run, requests)
        self.opened = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self.opened.is_set():
            head = self._answer.find(HEADER_END)
            if head < 0:
                return
            assert self._answer.startswith(b"HTTP/1.1 101"), self._answer
            self._answer = self._answer[head + 4 :]
            self.opened.set()
        if len(self._answer) < 4:
            return
        # A frame of text, shorter than 65,536 bytes. Pings do not come within a run.
        assert self._answer[0] == 0x81, self._answer
        short = self._answer[1] < 126
        begin = 2 if short else 4
        length = self._answer[1] if short else int.from_bytes(self._answer[2:4])
        if len(self._answer) < begin + length:
            return
        body = self._answer[begin : begin + length]
        self._answered(b'"status":200,' in body, body)


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
    """For each connection: place, cancel, place, cancel, ..."""
    secret = plan["secret"].encode()
    run = uuid.uuid4().hex[:8]
    stamp = time.time_ns() // 1_000_000
    each = plan["requests"] // plan["connections"]

    def request(method: str, parameters: dict[str, str]) -> bytes:
        if plan["websocket"]:
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

    def pair(name: str, price: int) -> tuple[bytes, bytes]:
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
    kind = SocketTrader if plan["websocket"] else Trader
    traders = [
        (await loop.create_connection(lambda requests=requests: kind(run, requests), "127.0.0.1", plan["port"]))[1]  # type: ignore[misc]
        for requests in run.requests
    ]
    for trader in traders:
        if isinstance(trader, SocketTrader):
            await trader.opened.wait()
    gc.collect()
    gc.freeze()
    run.began = time.perf_counter()
    run.until = run.began + plan["seconds"]
    if plan["offered"]:
        run.wanted = int(plan["offered"] * plan["seconds"])
        await _offer(run, traders)
    else:
        for trader in traders:
            trader.send(time.perf_counter())
        await asyncio.sleep(plan["seconds"])
        # Each connection has one request under way at most.
        run.wanted = len(run.latencies) + sum(not trader.exhausted for trader in traders)
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
    number = 0
    while number < run.wanted:
        now = time.perf_counter()
        while number < run.wanted and (at := run.began + number / run.plan["offered"]) <= now:
            if idle:
                idle.popleft().send(at)
            else:
                waiting.append(at)
            number += 1
        # Half a millisecond is what the loop can wait; what was due meanwhile counts from when it was due.
        await asyncio.sleep(0.0005)


def _percentile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))] if values else float("nan")


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(json.load(sys.stdin)))))
