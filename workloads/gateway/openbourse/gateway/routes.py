"""Which shard a symbol is in, by what the shards said of it. Values in, values out: no clock, no I/O.

A command goes to a shard only that lists its symbol, or that another one named as the shard where it is now: to any
other it would be of an unknown symbol, and that answer is remembered there under the command's id.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from openbourse.contracts import v1


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one symbol in one shard. Of a symbol that is in it, and stays, both are empty."""

    # It takes nothing now; the shard that it is about to be in.
    moving_to: str = ""
    # The shard that it is in, and not in this one any more.
    moved_to: str = ""


HERE = Standing()


def standings(listings: v1.ListingsAnswer) -> dict[str, Standing]:
    """By symbol."""
    return {each.definition.symbol: Standing(each.moving_to, each.moved_to) for each in listings.symbols}


class Routes:
    """What is known of all symbols. A shard's word about a symbol replaces its own earlier one, by the shard's seq."""

    def __init__(self) -> None:
        # Symbol -> shard -> its last word, the one that changed last at the end.
        self._said: dict[str, dict[str, Standing]] = {}
        self._seqs: dict[str, int] = {}

    def heard(self, shard: str, seq: int, said: Mapping[str, Standing]) -> bool:
        """All that a shard lists, when it was at `seq`. False: it is older than what was heard, or nothing new."""
        if seq < self._seqs.get(shard, 0):
            return False
        self._seqs[shard] = seq
        changed = False
        for symbol in [symbol for symbol, known in self._said.items() if shard in known and symbol not in said]:
            del self._said[symbol][shard]
            changed = True
        for symbol, standing in said.items():
            known = self._said.setdefault(symbol, {})
            # Where another one says that it is here, and it is not: it went on from here since.
            if known.get(shard) != standing or (standing.moved_to and self.home(symbol) == shard):
                known.pop(shard, None)
                known[shard] = standing
                changed = True
        return changed

    def home(self, symbol: str) -> str | None:
        """The shard that commands of a symbol are sent to: where it is, else where it is frozen, else where it moved.

        Of two that say the same the one that said so last: the other's word is from before, and who is asked all the
        same answers with where the symbol went. None: no shard lists it.
        """
        newest = list(reversed(self._said.get(symbol, {}).items()))
        for shard, standing in newest:
            if standing == HERE:
                return shard
        for shard, standing in newest:
            if standing.moving_to:
                return shard
        return newest[0][1].moved_to if newest else None

    def before(self, symbol: str) -> list[str]:
        """The other shards that it was in, the newest first: what ended there is remembered there."""
        home = self.home(symbol)
        return [shard for shard in reversed(self._said.get(symbol, {})) if shard != home]

    def moving_to(self, symbol: str) -> str:
        """Where the symbol is expected, while it is frozen; else empty."""
        home = self.home(symbol)
        standing = self._said.get(symbol, {}).get(home or "")
        return standing.moving_to if standing is not None else ""
