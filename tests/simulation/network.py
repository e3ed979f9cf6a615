"""Connections between simulated processes: bytes arrive late, in pieces, after others, or not at all.

As TCP does, a connection keeps the order of its bytes, holds them while its way is cut, and ends with an error when the
other end is gone. There is no TLS: each end is told of the other's component, as a certificate would.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from simulation.loop import Process, SimulatedLoop

LATENCY_S = (0.0001, 0.0012)
# A peer that vanished is noticed by keep-alive after so long.
KEEP_ALIVE_S = 11.0
HIGH_BYTES, LOW_BYTES = 64 * 1024, 16 * 1024
_END, _RESET = b"end", b"reset"


class _Socket:
    def setsockopt(self, *_: Any) -> None:
        """Options change nothing here."""


class Listener:
    def __init__(self, network: "Network", process: Process, key: tuple[str, int], factory: Callable[[], Any]) -> None:
        self.process = process
        self.factory = factory
        self._network = network
        self._key = key

    def close(self) -> None:
        if self._network.listeners.get(self._key) is self:
            del self._network.listeners[self._key]

    async def wait_closed(self) -> None:
        """Nothing is left of it at once."""


class Transport(asyncio.Transport):
    """One end. What it writes lies in `out` until the other end has read it."""

    def __init__(self, network: "Network", process: Process, name: tuple[str, int]) -> None:
        super().__init__()
        self.process = process
        self.name = name
        self.network = network
        self.protocol: Any = None
        self.other: Transport
        self.out: deque[tuple[float, bytes | str]] = deque()
        self.out_bytes = 0
        self.closing = False
        self.lost = False
        self._told = False
        self._high, self._low = HIGH_BYTES, LOW_BYTES
        self._full = False
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        component = f"openbourse://demo/{self.other.process.component}"
        known = {
            "socket": _Socket(),
            "peername": self.other.name,
            "sockname": self.name,
            "peercert": {"subjectAltName": (("URI", component),)},
        }
        return known.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_BYTES if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self.out_bytes

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: Any) -> None:
        if self.closing or not data:
            return
        self._put(bytes(data))
        if self.out_bytes > self._high and not self._full:
            self._full = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._put("end")
            self._lose(None)

    def abort(self) -> None:
        if not self.closing:
            self.reset()
        self._lose(None)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self.other.arm()

    def reset(self) -> None:
        """What was not read yet is gone, and the other end learns it."""
        self.closing = True
        self.out.clear()
        self.out_bytes = 0
        self._put("reset")

    def vanish(self, known_in_s: float, *, sent: bool) -> None:
        """Its process is gone, which the other end learns after so long; `sent`: behind what was written."""
        self.closing = self.lost = True
        if not sent:
            self.out.clear()
            self.out_bytes = 0
        self.out.append((self.network.loop.time() + known_in_s, "reset"))
        self.arm()

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
        if self.protocol is not None and not self._told:
            self._told = True
            self.network.loop.call_soon(self.protocol.connection_lost, error, context=self.process.context)

    def _put(self, what: bytes | str) -> None:
        if self.process.dead:
            return
        if isinstance(what, bytes):
            self.out_bytes += len(what)
        self.out.append((self.network.loop.time() + self.network.latency_s(), what))
        self.arm()

    def arm(self) -> None:
        """Something may be on its way to the other end."""
        other = self.other
        if self._timer is not None or not self.out or other._paused or other.protocol is None:
            return
        if not self.network.is_open(self.process.host, other.process.host):
            return
        when = max(self.out[0][0], self.network.loop.time())
        self._timer = self.network.loop.call_at(when, self._arrive, context=other.process.context)

    def _arrive(self) -> None:
        """Runs in the process of the other end."""
        self._timer = None
        other, now_s = self.other, self.network.loop.time()
        if other.lost:
            self.out.clear()
            self.out_bytes = 0
            return
        if other._paused or not self.network.is_open(self.process.host, other.process.host):
            return
        data = bytearray()
        while self.out and self.out[0][0] <= now_s + 1e-7:
            what = self.out[0][1]
            if isinstance(what, str):
                break
            self.out.popleft()
            data += what
        if data:
            if len(data) > 1 and self.network.dice.random() < 0.05:
                # A segment ends anywhere.
                at = self.network.dice.randrange(1, len(data))
                self.out.appendleft((now_s + self.network.latency_s(), bytes(data[at:])))
                del data[at:]
            self.out_bytes -= len(data)
            if self._full and self.out_bytes <= self._low and not self.lost:
                self._full = False
                self.network.loop.call_soon(self.protocol.resume_writing, context=self.process.context)
            other.protocol.data_received(bytes(data))
        elif self.out and self.out[0][0] <= now_s + 1e-7:
            self._end(str(self.out.popleft()[1]))
        self.arm()

    def _end(self, what: str) -> None:
        other = self.other
        if what == "reset":
            other.closing = True
            other._lose(ConnectionResetError("connection reset by peer"))
        elif not other.protocol.eof_received():
            other.close()


class Network:
    def __init__(self, loop: SimulatedLoop, dice: random.Random) -> None:
        self.loop = loop
        self.dice = dice
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.transports: list[Transport] = []
        self.slow_s = 0.0
        self._cuts: dict[tuple[str, str], int] = {}
        self._port = 40_000

    def latency_s(self) -> float:
        late = self.dice.random() < 0.03
        return self.dice.uniform(*LATENCY_S) * (20 if late else 1) + self.slow_s

    def is_open(self, source: str, target: str) -> bool:
        return not self._cuts.get((source, target))

    def cut(self, source: str, target: str) -> None:
        """One way."""
        self._cuts[source, target] = self._cuts.get((source, target), 0) + 1

    def mend(self, source: str, target: str) -> None:
        self._cuts[source, target] -= 1
        if self.is_open(source, target):
            for transport in self.transports:
                if (transport.process.host, transport.other.process.host) == (source, target):
                    transport.arm()

    def reset(self, one: str, other: str) -> None:
        """All connections between two hosts, as a box between them does that was restarted."""
        for transport in self.transports:
            if {transport.process.host, transport.other.process.host} == {one, other} and not transport.lost:
                transport.closing = True
                transport._lose(ConnectionResetError("connection reset by peer"))

    def died(self, process: Process, *, silently: bool) -> None:
        """The kernel closes what a process had open; a machine without power says nothing."""
        for key in [key for key, listener in self.listeners.items() if listener.process is process]:
            del self.listeners[key]
        for transport in self.transports:
            if transport.process is process and not transport.lost:
                known_in_s = self.dice.uniform(0.2, KEEP_ALIVE_S) if silently else self.latency_s()
                transport.vanish(known_in_s, sent=not silently and self.dice.random() < 0.5)
        self.transports = [known for known in self.transports if not (known.lost and known.other.lost)]

    def listen(self, process: Process, host: str, port: int, factory: Callable[[], Any]) -> Listener:
        if (host, port) in self.listeners:
            raise OSError(f"{host}:{port} is in use")
        listener = self.listeners[host, port] = Listener(self, process, (host, port), factory)
        return listener

    async def connect(
        self, process: Process, host: str, port: int, factory: Callable[[], Any]
    ) -> tuple[Transport, Any]:
        if process.dead:
            raise ConnectionRefusedError("this process is gone")
        future: asyncio.Future[Transport] = self.loop.create_future()
        await asyncio.sleep(self.latency_s())
        while not (self.is_open(process.host, host) and self.is_open(host, process.host)):  # noqa: ASYNC110 (until the caller gives up)
            await asyncio.sleep(0.1)
        listener = self.listeners.get((host, port))
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        # The handshake of TLS takes a turn of the other process.
        self.loop.call_soon(self._accept, process, listener, (host, port), future, context=listener.process.context)
        client = await future
        try:
            await asyncio.sleep(self.latency_s())
        except asyncio.CancelledError:
            client.reset()
            raise
        if client.lost:
            raise ConnectionResetError("connection reset by peer")
        client.protocol = factory()
        client.protocol.connection_made(client)
        client.other.arm()
        return client, client.protocol

    def _accept(
        self, process: Process, listener: Listener, name: tuple[str, int], future: "asyncio.Future[Transport]"
    ) -> None:
        if future.done():
            return
        if listener.process.dead or process.dead:
            future.set_exception(ConnectionResetError("connection reset by peer"))
            return
        self._port += 1
        client = Transport(self, process, (process.host, self._port))
        server = Transport(self, listener.process, name)
        client.other, server.other = server, client
        self.transports += [client, server]
        future.set_result(client)
        server.protocol = listener.factory()
        server.protocol.connection_made(server)
