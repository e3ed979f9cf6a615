"""How far the seal is and what keeps it: facts in memory, for the status port. The truth is what is signed."""

import time
from enum import StrEnum

from openbourse.ledger.errors import LedgerError
from openbourse.ledger.seal.checkpoint import Checkpoint


class SealState(StrEnum):
    STARTING = "starting"
    SEALING = "sealing"
    # Database or token are away; tried again by itself. Settlement goes on.
    WAITING = "waiting"
    # What is there contradicts what was signed, or the token refuses the PIN. Only a person, and a restart, go on.
    STOPPED = "stopped"


class SealProgress:
    """One task seals and reports; any number may read."""

    def __init__(self) -> None:
        self.state = SealState.STARTING
        self.checkpoint: Checkpoint | None = None
        self.archived = 0
        self.witnessed = 0
        self.archive_trouble = ""
        self.witness_trouble = ""
        self.last_error = ""
        self._since = time.monotonic()

    def sealing(self) -> None:
        self.state = SealState.SEALING
        self.last_error = ""
        self._since = time.monotonic()

    def reached(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def trouble(self, error: LedgerError) -> None:
        self.state = SealState.WAITING
        self.last_error = str(error)

    def stopped(self, error: LedgerError) -> None:
        self.state = SealState.STOPPED
        self.last_error = str(error)

    @property
    def lag_s(self) -> float:
        return time.monotonic() - self._since

    def why_not_ready(self) -> str:
        """Empty: ready."""
        if self.state is not SealState.SEALING:
            return f"{self.state}: {self.last_error}" if self.last_error else str(self.state)
        return ""

    def as_json(self) -> dict[str, object]:
        reason, checkpoint = self.why_not_ready(), self.checkpoint
        return {
            "component": "sealer",
            "state": self.state,
            "ready": not reason,
            "reason": reason,
            "checkpoint": checkpoint.number if checkpoint else 0,
            "leaves": checkpoint.size if checkpoint else 0,
            "time_us": checkpoint.time_us if checkpoint else 0,
            # It grows while nothing is settled: `lag_ms` is what tells that sealing is late.
            "age_ms": max(time.time_ns() // 1_000_000 - checkpoint.time_us // 1000, 0) if checkpoint else 0,
            "key": checkpoint.key if checkpoint else "",
            "shards": {end.shard: {"batch": end.batch, "seq": end.seq} for end in checkpoint.shards}
            if checkpoint
            else {},
            # Since everything that is settled was sealed the last time.
            "lag_ms": round(self.lag_s * 1000),
            "archived_checkpoint": self.archived,
            "archive_trouble": self.archive_trouble,
            "witnessed_leaves": self.witnessed,
            "witness_trouble": self.witness_trouble,
        }
