"""Heartbeats between simulated members: the same methods as the native ones, over the simulated network.

Each has a thread of its own, which goes on while the loop stands still, and stops with the process.
"""

import contextvars

from simulation.loop import Process, here
from simulation.network import Network

INTERVAL_S = 0.05
LOST = 0.01


class SimulatedHeartbeats:
    """Made in the process of the member."""

    def __init__(self, network: Network, everybody: "dict[tuple[str, int], SimulatedHeartbeats]", host: str, port: int):
        self.process: Process = here()
        self.watched: dict[bytes, tuple[str, int]] = {}
        self._network = network
        self._everybody = everybody
        self._heard: dict[bytes, tuple[float, int]] = {}
        self._stamp = 0
        self._closed = False
        everybody[host, port] = self
        self._again()

    def _again(self) -> None:
        self._network.loop.call_later(INTERVAL_S, self._beat, context=contextvars.Context())

    def _beat(self) -> None:
        if self._closed or self.process.dead:
            return
        if not self.process.frozen:
            for link_id, place in self.watched.items():
                other = self._everybody.get(place)
                if other is not None and self._network.dice.random() >= LOST:
                    other.arrive(self.process.host, link_id, self._stamp)
        self._again()

    def arrive(self, source: str, link_id: bytes, stamp: int) -> None:
        """Links are short, so it is there at once."""
        if link_id in self.watched and self._network.is_open(source, self.process.host):
            self._heard[link_id] = (self._network.loop.time(), stamp)

    def watch(self, link_id: bytes, key: bytes, peer_host: str, peer_port: int) -> None:
        assert len(key) == 32
        assert link_id not in self.watched, "this link is watched already"
        self.watched[link_id] = (peer_host, peer_port)

    def forget(self, link_id: bytes) -> None:
        self.watched.pop(link_id, None)
        self._heard.pop(link_id, None)

    def progress(self) -> None:
        self._stamp += 1

    def heard(self) -> list[tuple[bytes, int, int]]:
        now_s = self._network.loop.time()
        return [(link_id, int((now_s - at_s) * 1000), stamp) for link_id, (at_s, stamp) in self._heard.items()]

    def close(self) -> None:
        self._closed = True
