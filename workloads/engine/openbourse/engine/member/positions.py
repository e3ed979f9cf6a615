"""How far the consumers of the stream are, told by a leader to those that follow it.

So they recycle their logs too, and whoever leads next begins with more than nothing. It is a hint, as the file beside
the log is, and decides nothing.
"""

import time
from collections.abc import Iterable

from openbourse.contracts import v1
from openbourse.engine.consumers import Consumers
from openbourse.engine.member.links import Link

EVERY_S = 1.0


class Positions:
    def __init__(self) -> None:
        self.consumers: Consumers | None = None
        self._told: dict[Link, dict[str, int]] = {}
        self._told_s = 0.0

    def tell(self, links: Iterable[Link]) -> None:
        """Each what it was not told yet. Called more often than that is worth."""
        now_s = time.monotonic()
        if self.consumers is None or now_s - self._told_s < EVERY_S:
            return
        self._told_s = now_s
        seqs = dict(self.consumers.passed)
        before, self._told = self._told, dict.fromkeys(links, seqs)
        for link in self._told:
            if before.get(link) != seqs and seqs:
                link.write(v1.LinkFrame(passed=v1.ConsumersPassed(seqs=seqs)))

    def told(self, passed: v1.ConsumersPassed) -> None:
        """By the leader that this member follows."""
        if self.consumers is not None:
            self.consumers.told(dict(passed.seqs))
