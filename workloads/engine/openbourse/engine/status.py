"""Plain HTTP beside the engine's port: /livez, /readyz, /status and /metrics. It shows, and changes nothing."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST

from openbourse.contracts.session import Address
from openbourse.contracts.tls_material import Material
from openbourse.engine.journal.retention import Retention
from openbourse.engine.journal.snapshots import Snapshots
from openbourse.engine.kernel_versions import ChangeOver
from openbourse.engine.lag import LagReports
from openbourse.engine.loop import Loop
from openbourse.engine.member.replica import Replica
from openbourse.engine.metrics import Metrics
from openbourse.engine.replication import State

log = logging.getLogger(__name__)

REQUEST_S = 5.0
REQUEST_BYTES = 8192
# A disk that takes longer for one batch is as good as gone: the process should be restarted elsewhere.
DISK_STUCK_S = 30.0
DISK_SLOW_S = 1.0

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Status:
    def __init__(self, loop: Loop, replica: Replica, lag: LagReports, retention: Retention, tls: Material) -> None:
        # It leads and serves.
        self.serves = False
        self.stopping = False
        self.snapshots: Snapshots | None = None
        # By symbol that is delisted, how many of its orders are open; a leader knows.
        self.delisted: Mapping[str, int] = {}
        # Of a leader.
        self.change_over: ChangeOver | None = None
        self._lag = lag
        self._retention = retention
        self._tls = tls
        self._metrics = Metrics(loop, replica, lag, tls)
        self._loop = loop
        self._replica = replica
        self._listener: asyncio.Server | None = None

    async def listen(self, address: Address) -> None:
        self._listener = await asyncio.start_server(self._serve, address.host, address.port, limit=REQUEST_BYTES)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()

    @property
    def ready(self) -> bool:
        """It serves, or is in sync with whoever does: so no disruption budget lets both be evicted at once."""
        return (self.serves or self._replica.state is State.IN_SYNC) and not self.stopping

    def document(self) -> dict[str, object]:
        """The state hash is that of the last checkpoint: to make one takes as long as the state is large."""
        core = self._loop.core
        checkpoint = core.last_checkpoint()
        seq, state_hash = (checkpoint[0], checkpoint[1].hex()) if checkpoint else (0, "")
        return {
            "shard": core.shard,
            **self._replica.document(),
            "epoch": core.epoch,
            "ready": self.ready,
            "committed_seq": core.committed_seq,
            "last_checkpoint_seq": seq,
            "state_hash_seq": seq,
            "state_hash": state_hash,
            "wal_segment": core.segment,
            "kernel_version": core.kernel_version,
            "kernel_version_waits_for": "" if self.change_over is None else self.change_over.waits_for,
            "snapshot": None if self.snapshots is None else self.snapshots.document(),
            "disk": disk(core.trouble, core.warning, self._loop.syncing_for_s),
            "lag": {"pending_commands": core.pending_commands, **self._lag.document()},
            "safety": self._lag.safety(),
            "retention": self._retention.document(),
            "tls": self._tls.as_json(),
            "delisted": dict(self.delisted),
            "halts": [
                {"name": name, "epoch": epoch, "seq": at, "state": state, "symbols": symbols, "reason": reason}
                for name, epoch, at, state, symbols, reason in core.halts()
            ],
            "markets": [
                {"state": state, "held_by": held_by, "reason": reason, "symbols": symbols}
                for state, held_by, reason, symbols in core.markets()
            ],
            "moved": dict(core.moved()),
        }

    def _answer(self, path: str) -> tuple[int, dict[str, object]]:
        match path:
            case "/livez":
                stuck = self._loop.syncing_for_s > DISK_STUCK_S
                return (503 if stuck else 200), {"live": not stuck}
            case "/readyz":
                return (200 if self.ready else 503), {"ready": self.ready}
            case "/status":
                return 200, self.document()
            case _:
                return 404, {"error": "there are /livez, /readyz, /status and /metrics"}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            async with asyncio.timeout(REQUEST_S):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, path, *_ = [*head.split("\r\n", 1)[0].split(" "), "", ""]
                path = path.partition("?")[0]
                if method == "GET" and path == "/metrics":
                    code, kind, content = 200, CONTENT_TYPE_LATEST, self._metrics.text()
                else:
                    code, body = self._answer(path) if method == "GET" else (405, {"error": "GET only"})
                    kind, content = "application/json", json.dumps(body).encode()
                writer.write(
                    f"HTTP/1.1 {code} {_REASONS[code]}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
                    + content
                )
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("a status request ended early: %s", error)
        finally:
            writer.close()


def disk(trouble: tuple[str, str] | None, warning: str | None, syncing_for_s: float) -> dict[str, object]:
    """What the log's disk does: good, slow, no_room_soon, or what it refuses (no_room, not_written), and why."""
    state, why = trouble or (("no_room_soon", warning) if warning else ("good", ""))
    if trouble is None and syncing_for_s > DISK_SLOW_S:
        state, why = "slow", "the log waits for a sync"
    return {"state": state, "why": why, "syncing_for_s": round(syncing_for_s, 3)}


def in_force(loop: Loop) -> Callable[[], list[str]]:
    """The names of the halts in force, now and whenever asked."""
    return lambda: [name for name, *_ in loop.core.halts()]
