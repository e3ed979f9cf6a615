"""The feeds of the market of all shards, as one to whoever listens: a symbol is heard from the shard that it is in.

What is told once, trades, aggregates of them and diffs, is heard also from the shard that it has left.
"""

import asyncio
import logging
from functools import partial

from openbourse.gateway.continuity import Gap
from openbourse.gateway.shards import Shard, Shards
from openbourse.gateway.streams.connections import Streams
from openbourse.gateway.streams.handover import Handover, Told, is_ordered

log = logging.getLogger(__name__)

# For what the shard that a symbol has left has not told yet: as long as one replica waits for another's feed.
WAIT_S = 5.0


class MarketFeeds:
    """A feed that is lost ends the connections that hear something of it, and no others."""

    def __init__(self, shards: Shards, streams: Streams) -> None:
        self._shards = shards
        self._streams = streams
        self._handover = Handover()
        self._waits: dict[str, asyncio.TimerHandle] = {}
        streams.open = any(shard.marketdata.is_there for shard in shards)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for shard in self._shards:
                    if len(self._shards) == 1:
                        feed = shard.marketdata.run(self._streams.publish, self._streams.lost)
                    else:
                        feed = shard.marketdata.run(partial(self._publish, shard), partial(self._lost, shard))
                    tasks.create_task(feed)
        finally:
            for wait in self._waits.values():
                wait.cancel()

    def _publish(self, shard: Shard, stream: str, payload: str, rest_us: int) -> None:
        if is_ordered(stream):
            self._publish_in_order(stream, Told(shard.name, payload, rest_us))
        elif self._is_told_by(shard, stream):
            self._streams.publish(stream, payload, rest_us)

    def _is_told_by(self, shard: Shard, stream: str) -> bool:
        """A shard goes on telling of the past of a symbol that has left it: its tickers and candles."""
        home = self._home(stream)
        return home is None or home is shard

    def _publish_in_order(self, stream: str, told: Told) -> None:
        try:
            for message in self._handover.tell(stream, told):
                self._streams.publish(stream, message.payload, message.rest_us)
        except Gap as gap:
            self._give_up(stream, str(gap))
            return
        if not self._handover.waits(stream):
            self._end_wait(stream)
        elif stream not in self._waits:
            why = f"{self._handover.told_by(stream)} did not tell the last of it within {WAIT_S:g} s"
            self._waits[stream] = asyncio.get_running_loop().call_later(WAIT_S, self._give_up, stream, why)

    def _give_up(self, stream: str, why: str) -> None:
        log.warning("%s begins anew, behind a move between shards: %s", stream, why)
        self._end_wait(stream)
        self._handover.give_up(stream)
        self._streams.lost(stream.__eq__)

    def _end_wait(self, stream: str) -> None:
        if wait := self._waits.pop(stream, None):
            wait.cancel()

    def _lost(self, shard: Shard) -> None:
        self._streams.lost(partial(self._is_of, shard))
        for stream in self._handover.forget(shard.name):
            self._end_wait(stream)

    def _is_of(self, shard: Shard, stream: str) -> bool:
        """Streams over all symbols are of all shards: each tells of its own."""
        return stream.startswith("!") or self._home(stream) is shard or self._handover.told_by(stream) == shard.name

    def _home(self, stream: str) -> Shard | None:
        """None: of a stream that is no symbol's."""
        return self._shards.known_shard(stream.partition("@")[0].upper())
