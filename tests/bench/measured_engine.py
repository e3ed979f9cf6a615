"""An engine whose loop measures its stages: what `engine.py` runs beside the plain one. Production has none of this.

On SIGUSR1 it writes what all turns took until then, as JSON, to the file that OPENBOURSE_STAGES names.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from openbourse.engine import __main__, run
from openbourse.engine._core import Engine
from openbourse.engine.loop import Loop

T = TypeVar("T")
_SYNCING = 1


class MeasuredLoop(Loop):
    """Seconds of its thread's processor time in each stage, so far.

    `sync` is time by the clock instead: what the loop waits for the disk while a batch is on its way.
    """

    def __init__(self, core: Engine) -> None:
        super().__init__(core)
        self.seconds = dict.fromkeys(("receive", "begin", "sync", "release"), 0.0)
        self.batches = 0
        self._synced_from: float | None = None
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._write)

    def _timed(self, stage: str, call: Callable[[], T]) -> T:
        before = time.thread_time()
        try:
            return call()
        finally:
            self.seconds[stage] += time.thread_time() - before

    def receive(
        self, connection: int, data: bytes
    ) -> tuple[bytes, int | None, bool, bool, tuple[int, int] | None] | None:
        return self._timed("receive", lambda: super(MeasuredLoop, self).receive(connection, data))

    def _bell(self) -> None:
        if self._synced_from is not None:
            self.seconds["sync"] += time.perf_counter() - self._synced_from
            self._synced_from = None
        super()._bell()

    def _turn(self) -> None:
        begun_s, before = self.seconds["begin"], time.thread_time()
        super()._turn()
        # All that is not the next batch: what is durable is taken, and goes to sockets and subscribers.
        self.seconds["release"] += time.thread_time() - before - (self.seconds["begin"] - begun_s)

    def _begin(self) -> int:
        begun = self._timed("begin", super()._begin)
        if begun == _SYNCING:
            self.batches += 1
            self._synced_from = time.perf_counter()
        return begun

    def _write(self) -> None:
        usage = time.process_time()
        document = {"seconds": self.seconds, "batches": self.batches, "seq": self.core.committed_seq, "cpu": usage}
        path = Path(os.environ["OPENBOURSE_STAGES"])
        new = path.with_suffix(".new")
        new.write_text(json.dumps(document))
        new.rename(path)


if __name__ == "__main__":
    vars(run)["Loop"] = MeasuredLoop
    sys.exit(__main__.main())
