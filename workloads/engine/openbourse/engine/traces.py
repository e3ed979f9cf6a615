"""What the engine adds to the trace of a request: from the batch that took its command to its answer, committed."""

import time

from openbourse.contracts.tracing import Tracing, Value


class Traces:
    """Of one shard."""

    def __init__(self, tracing: Tracing, shard: str) -> None:
        self._tracing = tracing
        self._shard = shard

    def committed(self, commands: list[tuple[int, int, str]]) -> None:
        """Now: each with its seq, when its batch began in microseconds, and the traceparent of its request."""
        now_us = time.time_ns() // 1000
        for seq, began_us, traceparent in commands:
            # The shard's time does not go back where the clock does.
            until_us = max(now_us, began_us)
            attributes: dict[str, Value] = {"openbourse.shard": self._shard, "openbourse.seq": seq}
            self._tracing.record("commit", traceparent, began_us, until_us, **attributes)
