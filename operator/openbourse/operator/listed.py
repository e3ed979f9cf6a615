"""Which shard has a symbol; what a shard lists, and what it does no more, and how far the engine is with that.

A Symbol that is deleted leaves no finalizer and is gone at once; that its market is halted and its orders are cancelled
is the engine's work, which its listing tells it. So it is done whether the operator is there or not, once the listing
says so. What does not fit, or cannot be read, is not deleted: its market goes on as it was.
"""

from collections.abc import Iterator, Mapping

from openbourse.contracts.resources import EngineShard, Exchange, Symbol
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import engine, kinds, listings, names
from openbourse.operator.observed import Observed

CONDITION = "Delisted"


def listing(observed: Observed, exchange: Exchange, shard: EngineShard) -> tuple[str, Mapping[str, str]]:
    """The listing as JSON, and by the names of Symbols that are not in it, why not."""
    name = shard.metadata.name
    others = [other for other in observed.shards if other.metadata.name != name]
    elsewhere = frozenset[str]().union(*(_stored(observed, exchange, other)[0] for other in others))
    # One that came is listed here once the shard that it left does not list it any more.
    symbols = [
        symbol
        for symbol in _there(observed)
        if home(observed, symbol) == name and not (symbol.status.move is not None and symbol.spec.name in elsewhere)
    ]
    before = frozenset[str]().union(*_stored(observed, exchange, shard))
    return listings.fit(exchange, shard, symbols, delisted(observed, exchange, shard), before)


def home(observed: Observed, symbol: Symbol) -> str:
    """The shard that has the symbol: as its status says it; where that was lost, whose engine or listing has it.

    Of a symbol that nobody has yet, the one that is to have it.
    """
    if symbol.status.home is not None:
        return symbol.status.home
    for having in _evidence(observed, symbol.spec.name):
        if having and symbol.spec.shard not in having:
            return having[0]
        if having:
            break
    return symbol.spec.shard


def expected(observed: Observed, exchange: Exchange, shard: EngineShard) -> tuple[str, ...]:
    """Symbols that may come to the shard at any moment, or have come and are not in its listing yet.

    It is noted beside the listing: whose Symbol is deleted meanwhile is delisted wherever it is.
    """
    here = shard.metadata.name
    there, _ = _stored(observed, exchange, shard)
    return tuple(
        sorted(
            symbol.spec.name
            for symbol in _there(observed)
            if (move := symbol.status.move) is not None
            and move.to_shard == here
            and (not move.is_over or (move.where == here and symbol.spec.name not in there))
        )
    )


def is_listed(observed: Observed, exchange: Exchange, symbol: Symbol, shard: str) -> bool:
    """Whether the shard's listing has it, and goes on having it."""
    (of,) = [each for each in observed.shards if each.metadata.name == shard]
    _, refused = listing(observed, exchange, of)
    return symbol.spec.name in _stored(observed, exchange, of)[0] and symbol.metadata.name not in refused


def is_expected(observed: Observed, exchange: Exchange, symbol: Symbol, shard: str) -> bool:
    stored = observed.child(kinds.CONFIG_MAP, names.listings(exchange.metadata.name, shard))
    return stored is not None and symbol.spec.name in stored.get("data", {}).get(engine.EXPECTED_FILE, "").split()


def delisted(observed: Observed, exchange: Exchange, shard: EngineShard) -> tuple[str, ...]:
    """Symbols that the listing of before has, or that might have come, and of which there is no Symbol any more."""
    stored = observed.child(kinds.CONFIG_MAP, names.listings(exchange.metadata.name, shard.metadata.name))
    if stored is None:
        return ()
    there = {symbol.metadata.name for symbol in _there(observed)} | observed.unreadable_symbols
    before = frozenset(stored.get("data", {}).get(engine.EXPECTED_FILE, "").split())
    before = before.union(*_stored(observed, exchange, shard))
    return tuple(sorted(symbol for symbol in before if symbol.lower() not in there))


def fact(observed: Observed, exchange: Exchange, shard: EngineShard) -> Fact:
    """Delisted: every symbol whose Symbol was deleted is halted and has no orders."""
    gone = delisted(observed, exchange, shard)
    if not gone:
        return Fact(CONDITION, True, "Nothing", "")
    leader = observed.leader(shard.metadata.name)
    if leader is None:
        return Fact(CONDITION, None, "NobodyLeads", f"{', '.join(gone)}: no engine says that it leads")
    open_ = [_how_far(symbol, leader[1].delisted) for symbol in gone if leader[1].delisted.get(symbol) != 0]
    if open_:
        return Fact(CONDITION, False, "Delisting", "; ".join(open_))
    return Fact(CONDITION, True, "Done", f"{', '.join(gone)}: halted, without orders")


def _how_far(symbol: str, left: Mapping[str, int]) -> str:
    return f"{symbol} is halted, {left[symbol]} orders are open" if symbol in left else f"{symbol} is not halted yet"


def _there(observed: Observed) -> list[Symbol]:
    return [symbol for symbol in observed.symbols if symbol.metadata.deletion_timestamp is None]


def _evidence(observed: Observed, symbol: str) -> Iterator[list[str]]:
    """The shards that have a symbol: their engines say so; their listings have it; they say that it is delisted."""
    shards = [shard.metadata.name for shard in observed.shards]
    leaders = {shard: observed.leader(shard) for shard in shards}
    yield [
        shard
        for shard, leader in leaders.items()
        if leader is not None and any(symbol in market.symbols for market in leader[1].markets)
    ]
    if observed.exchange is not None:
        stored = [_stored(observed, observed.exchange, shard) for shard in observed.shards]
        for part in (0, 1):
            yield [shard for shard, parts in zip(shards, stored, strict=True) if symbol in parts[part]]


def _stored(observed: Observed, exchange: Exchange, shard: EngineShard) -> tuple[frozenset[str], frozenset[str]]:
    """Symbols that the shard's listing of before has, and those that it says to be delisted."""
    stored = observed.child(kinds.CONFIG_MAP, names.listings(exchange.metadata.name, shard.metadata.name))
    document = "" if stored is None else stored.get("data", {}).get(engine.LISTINGS_FILE, "")
    return listings.read(document)
