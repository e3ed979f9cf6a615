"""A shard's listing of the symbols that it is to have. One that does not fit is left out with its sentence, alone."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from openbourse.contracts.listings import Asset, Listings
from openbourse.contracts.resources import EngineShard, Exchange, Symbol
from openbourse.contracts.resources.symbol import SymbolSpec
from openbourse.contracts.safety import Safety
from openbourse.contracts.symbols import Symbol as ListedSymbol
from openbourse.contracts.symbols import SymbolTerms, symbol_definition

# A thousand symbols take as long to check as to store, and a round asks again and again for what did not change.
_KEPT = 32
# Of a ConfigMap: what the API server takes, 1 MiB, less its name for the file. Some 1,500 symbols.
BYTES_MOST = 1024 * 1024 - 64


def fit(
    exchange: Exchange,
    shard: EngineShard,
    symbols: Sequence[Symbol],
    delisted: tuple[str, ...] = (),
    before: frozenset[str] = frozenset(),
) -> tuple[str, Mapping[str, str]]:
    """The listing of a shard as JSON, and by the names of Symbols that are not in it, why not.

    `delisted`: symbols that it once had, and whose Symbols were deleted. `before`: symbols that it has: where there are
    too many, the newcomers are left out.
    """
    of_shard = {symbol.metadata.name: symbol.spec for symbol in symbols}
    specs = tuple(sorted(of_shard.items(), key=lambda named: named[0]))
    document, refused = _fit(exchange.spec.assets, exchange.spec.safety, specs, delisted)
    if len(document) <= BYTES_MOST:
        return document, refused
    # By name among themselves.
    in_turn = tuple(sorted(specs, key=lambda named: named[1].name not in before))
    while len(document) > BYTES_MOST:
        in_turn = in_turn[: len(in_turn) * BYTES_MOST // len(document)]
        document, refused = _fit(
            exchange.spec.assets, exchange.spec.safety, tuple(sorted(in_turn, key=lambda named: named[0])), delisted
        )
    full = f"the listing of shard {shard.metadata.name} is full with {len(in_turn)} symbols: give it another spec.shard"
    left_out = dict.fromkeys(of_shard.keys() - dict(in_turn).keys(), full)
    return document, MappingProxyType({**refused, **left_out})


@functools.lru_cache(_KEPT)
def read(document: str) -> tuple[frozenset[str], frozenset[str]]:
    """Symbols that a listing has, and those that it says to be delisted; of one that somebody spoiled, none."""
    try:
        listings = Listings.model_validate_json(document)
    except ValueError:
        return frozenset(), frozenset()
    return frozenset(symbol.symbol for symbol in listings.symbols), frozenset(listings.delisted)


@functools.lru_cache(_KEPT)
def _fit(
    assets: tuple[Asset, ...], safety: Safety, specs: tuple[tuple[str, SymbolSpec], ...], delisted: tuple[str, ...]
) -> tuple[str, Mapping[str, str]]:
    scales = {asset.name: asset.scale for asset in assets}
    refused = {}
    listed = []
    for name, spec in specs:
        terms = {field: getattr(spec, field) for field in SymbolTerms.model_fields}
        try:
            entry = ListedSymbol(symbol=spec.name, **terms)
            symbol_definition(entry, scales)
        except ValueError as error:
            refused[name] = str(error)
            continue
        listed.append(entry)
    document = Listings(assets=assets, symbols=tuple(listed), safety=safety, delisted=delisted)
    return document.as_text(), MappingProxyType(refused)


def digest(document: str) -> str:
    """As the annotation of a pod that should see `document`."""
    return hashlib.sha256(document.encode()).hexdigest()[:16]
