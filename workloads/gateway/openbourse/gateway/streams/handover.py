"""What is told once of a symbol that moves between shards, in its order: whoever hears one and then the other misses
nothing. No I/O, no clock.

A shard tells the last of a symbol that has left it when the other one may have begun already: a diff is told a tenth
of a second or a second late. What comes too early waits for what is before it, which ids say.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from openbourse.gateway.continuity import Gap, Ids, ids_of, sequel

# Of one stream. A second shard that has told so much while nothing came of the first one waits in vain.
WAITING_MOST = 1000
# Their ids go on from shard to shard; those of an aggregate's trades do.
_ORDERED = frozenset({Ids.TRADE, Ids.AGGREGATE, Ids.DIFF})
# A trade has one id, an aggregate and a diff have a first and a last; read without the rest, of each message.
_SPAN = re.compile(r'"[tfU]": ?(\d+)(?:, ?"[lu]": ?(\d+))?')


class Told(NamedTuple):
    shard: str
    payload: str
    rest_us: int


@dataclass(slots=True)
class _Stream:
    last: Told
    # Behind something that was not told yet.
    waiting: list[Told] = field(default_factory=list)


def is_ordered(stream: str) -> bool:
    """Whether a handover is for its messages: what is told once, with ids that all shards count on."""
    return ids_of(stream) in _ORDERED


class Handover:
    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}

    def tell(self, stream: str, told: Told) -> list[Told]:
        """What is told now, with this message heard. Raises Gap where too much waits: then `give_up`."""
        known = self._streams.get(stream)
        if known is None:
            self._streams[stream] = _Stream(told)
            return [told]
        if not known.waiting and _span(told)[0] == _span(known.last)[1] + 1:
            known.last = told
            return [told]
        known.waiting.append(told)
        known.waiting.sort(key=_span)
        released = _released(stream, known)
        if len(known.waiting) > WAITING_MOST:
            first = known.waiting[0]
            raise Gap(f"{stream} is told by {first.shard}, and {known.last.shard} has not told what is before it")
        return released

    def waits(self, stream: str) -> bool:
        """For what another shard has not told yet."""
        known = self._streams.get(stream)
        return known is not None and bool(known.waiting)

    def told_by(self, stream: str) -> str | None:
        """The shard of its last message. None: nothing was told, or is not ordered."""
        known = self._streams.get(stream)
        return None if known is None else known.last.shard

    def give_up(self, stream: str) -> None:
        """It begins anew behind what waits: whoever heard it has missed something."""
        known = self._streams[stream]
        self._streams[stream] = _Stream(known.waiting[-1])

    def forget(self, shard: str) -> list[str]:
        """Its feed begins anew, and so do the streams that it told last: these."""
        forgotten = [stream for stream, known in self._streams.items() if known.last.shard == shard]
        for stream in forgotten:
            del self._streams[stream]
        return forgotten


def _released(stream: str, known: _Stream) -> list[Told]:
    """What of those that wait goes on behind the last one, less what was told."""
    released: list[Told] = []
    while known.waiting:
        told = known.waiting[0]
        try:
            payload = sequel(stream, known.last.payload, told.payload, elsewhere=told.shard != known.last.shard)
        except Gap:
            break
        if payload is not None:
            known.last = told._replace(payload=payload)
            released.append(known.last)
        del known.waiting[0]
    return released


def _span(told: Told) -> tuple[int, int]:
    """The first id and the last. Raises ValueError for a message without."""
    found = _SPAN.search(told.payload)
    if found is None:
        raise ValueError(f"market data of {told.shard} without an id: {told.payload[:200]}")
    return int(found[1]), int(found[2] or found[1])
