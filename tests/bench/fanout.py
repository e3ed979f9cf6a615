"""From a message of a stream to the last of many connections: its latency, what saturates a core, who does not read.

The gateway's streams run in a process of their own (this file by itself), which makes the messages too: nothing of the
market data is measured. This process has the sockets and reads them all, without an event loop, which would take longer
than the gateway does; both share the machine's two cores, so a latency is that of both. A message carries the time at
which it was published.
"""

import asyncio
import gc
import json
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from fastapi import FastAPI
from result import RUNS, Result, at_share, result, say
from starlette.routing import WebSocketRoute

from openbourse.contracts.session import Address
from openbourse.gateway.__main__ import COLLECTED_AT, listen, listener
from openbourse.gateway.http_protocol import Addresses
from openbourse.gateway.streams.connections import Streams

CONNECTIONS = (100, 1_000, 2_000)
SLOW_SHARE = 10
MESSAGES = 50
EVERY_S = 0.1
SATURATING_S = 3.0
STREAM = "btcusdt@trade"
FILLER = "x" * 120
# Nothing more comes after it.
QUIET_S = 0.5
MARK = b'{"e":"trade","at":'
HANDSHAKE = (
    f"GET /ws/{STREAM} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


def message() -> str:
    return f'{{"e":"trade","at":{time.perf_counter_ns()},"filler":"{FILLER}"}}'


async def serve() -> None:
    """Reads orders from its standard input, a line each: "paced" or "saturate"; answers each with a line of JSON."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)
    streams, app = Streams(), FastAPI()
    streams.open = True
    app.router.routes.append(WebSocketRoute("/ws/{streams:path}", endpoint=streams))
    server = listener(app, Addresses())
    opened = listen(Address("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([opened]))
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    print(opened.getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while order := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if order == "paced":
            for _ in range(MESSAGES):
                streams.publish(STREAM, message())
                await asyncio.sleep(EVERY_S)
            print("{}", flush=True)
        elif order == "memory":
            print(json.dumps({"bytes": memory(), "connections": len(streams.connections)}), flush=True)
        else:
            began, began_cpu, count = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - began < SATURATING_S:
                streams.publish(STREAM, message())
                count += len(streams.connections)
                await asyncio.sleep(0)
            print(json.dumps({"messages": count, "cpu_s": time.process_time() - began_cpu}), flush=True)
    server.should_exit = True
    await serving


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Readers:
    """Connections that hear the stream, and are read as soon as something comes."""

    def __init__(self, port: int, count: int) -> None:
        self.heard_ns: dict[int, int] = {}
        # Connections that the gateway ended.
        self.ended = 0
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        # Of a message that came in pieces.
        self._begun: dict[int, bytes] = {}
        for _ in range(count):
            opened = socket.create_connection(("127.0.0.1", port), timeout=30)
            opened.sendall(HANDSHAKE)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += opened.recv(4096)
            assert answer.startswith(b"HTTP/1.1 101"), answer
            opened.setblocking(False)
            self._sockets[opened.fileno()] = opened
            self._epoll.register(opened, select.EPOLLIN)

    def read_until(self, ended: threading.Event) -> None:
        """Until nothing has come for a while after that."""
        while True:
            ready = self._epoll.poll(QUIET_S)
            for number, _ in ready:
                data = self._begun.pop(number, b"") + os.read(number, 65_536)
                now_ns = time.perf_counter_ns()
                if not data:
                    self.ended += 1
                    self._epoll.unregister(number)
                    continue
                at = data.rfind(MARK)
                end = data.find(b",", at + len(MARK))
                if at < 0 or end < 0:
                    self._begun[number] = data
                else:
                    # The last one to hear a message writes last.
                    self.heard_ns[int(data[at + len(MARK) : end])] = now_ns
            if not ready and ended.is_set():
                return

    def close(self) -> None:
        self._epoll.close()
        for opened in self._sockets.values():
            opened.close()


def heard_while(readers: Readers, ask: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What was asked, answered while everybody reads."""
    ended = threading.Event()
    reading = threading.Thread(target=readers.read_until, args=(ended,))
    reading.start()
    try:
        return ask()
    finally:
        ended.set()
        reading.join()


class Server:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def ask(self, order: str) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        return answer

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def latencies_ms(server: Server, connections: int, slow: int = 0) -> list[float]:
    """Of each message until the last of those that read has it, sorted."""
    silent = [_silent(server.port) for _ in range(slow)]
    readers = Readers(server.port, connections - slow)
    try:
        heard_while(readers, lambda: server.ask("paced"))
    finally:
        readers.close()
        for each in silent:
            each.close()
    time.sleep(QUIET_S)
    assert not readers.ended, f"the gateway ended {readers.ended} connections"
    assert len(readers.heard_ns) == MESSAGES, f"{len(readers.heard_ns)} of {MESSAGES} messages were heard"
    return sorted((heard - sent) / 1e6 for sent, heard in readers.heard_ns.items())


def _silent(port: int) -> socket.socket:
    """One that asks and never reads."""
    silent = socket.socket()
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    silent.connect(("127.0.0.1", port))
    silent.sendall(HANDSHAKE)
    return silent


def saturated(server: Server, connections: int) -> tuple[float, float]:
    """Messages that a core of the gateway writes in a second, and bytes of memory a connection."""
    before = server.ask("memory")["bytes"]
    readers = Readers(server.port, connections)
    try:
        held = server.ask("memory")["bytes"] - before
        measured = heard_while(readers, lambda: server.ask("saturate"))
    finally:
        readers.close()
    return measured["messages"] / measured["cpu_s"], held / connections


def _measure() -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for run in range(RUNS):
        for connections in CONNECTIONS:
            server = Server()
            try:
                times = latencies_ms(server, connections)
                note(f"p50_ms.connections_{connections}", at_share(times, 0.5))
                note(f"p99_ms.connections_{connections}", at_share(times, 0.99))
                say(f"run {run + 1}: {connections} connections p50 {at_share(times, 0.5):.1f} ms")
                if connections == CONNECTIONS[1]:
                    slowed = latencies_ms(server, connections, connections // SLOW_SHARE)
                    note("slow_clients.p99_ratio", at_share(slowed, 0.99) / at_share(times, 0.99))
            finally:
                server.stop()
        server = Server()
        try:
            rate, held = saturated(server, CONNECTIONS[0])
            note("messages_per_core_second", rate)
            note("bytes_per_connection", held)
            say(f"run {run + 1}: {rate:.0f} messages a core second, {held:.0f} bytes a connection")
        finally:
            server.stop()
    return found


def _allow_sockets() -> None:
    """Of this process and of those that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure() -> list[Result]:
    _allow_sockets()
    units = {"messages_per_core_second": "1/s", "bytes_per_connection": "bytes", "slow_clients.p99_ratio": "1"}
    return [
        result(
            f"fanout.{name}", values, units.get(name, "ms"), "higher" if name == "messages_per_core_second" else "lower"
        )
        for name, values in _measure().items()
    ]


if __name__ == "__main__":
    uvloop.run(serve())
