"""The feeds of the market of all shards, as one to whoever listens: a symbol is heard from the shard that it is in."""

import asyncio
from functools import partial

from openbourse.gateway.shards import Shard, Shards
from openbourse.gateway.streams.connections import Streams


class MarketFeeds:
    """A feed that is lost ends the connections that hear something of it, and no others."""

    def __init__(self, shards: Shards, streams: Streams) -> None:
        self._shards = shards
        self._streams = streams
        streams.open = any(shard.marketdata.is_there for shard in shards)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for shard in self._shards:
                if len(self._shards) == 1:
                    feed = shard.marketdata.run(self._streams.publish, self._streams.lost)
                else:
                    lost = partial(self._streams.lost, partial(self._is_of, shard))
                    feed = shard.marketdata.run(partial(self._publish, shard), lost)
                tasks.create_task(feed)

    def _publish(self, shard: Shard, stream: str, payload: str, rest_us: int) -> None:
        """A shard goes on telling of the past of a symbol that has left it: its tickers and candles."""
        home = self._home(stream)
        if home is None or home is shard:
            self._streams.publish(stream, payload, rest_us)

    def _is_of(self, shard: Shard, stream: str) -> bool:
        """Streams over all symbols are of all shards: each tells of its own."""
        return stream.startswith("!") or self._home(stream) is shard

    def _home(self, stream: str) -> Shard | None:
        """None: of a stream that is no symbol's."""
        return self._shards.known_shard(stream.partition("@")[0].upper())
