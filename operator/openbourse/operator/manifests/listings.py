"""Which of an exchange's symbols a shard lists. A symbol that does not fit is left out with its sentence, alone."""

import hashlib
from collections.abc import Sequence

from openbourse.contracts.listings import Listings
from openbourse.contracts.resources import EngineShard, Exchange, Symbol
from openbourse.contracts.symbols import Symbol as ListedSymbol
from openbourse.contracts.symbols import SymbolTerms, symbol_definition


def fit(exchange: Exchange, shard: EngineShard, symbols: Sequence[Symbol]) -> tuple[str, dict[str, str]]:
    """The listing as JSON, and by the names of Symbols that are not in it, why not."""
    scales = {asset.name: asset.scale for asset in exchange.spec.assets}
    refused = {}
    listed = []
    for symbol in sorted(symbols, key=lambda symbol: symbol.metadata.name):
        spec = symbol.spec
        if spec.shard != shard.metadata.name:
            continue
        terms = {field: getattr(spec, field) for field in SymbolTerms.model_fields}
        try:
            entry = ListedSymbol(symbol=spec.name, **terms)
            symbol_definition(entry, scales)
        except ValueError as error:
            refused[symbol.metadata.name] = str(error)
            continue
        listed.append(entry)
    document = Listings(assets=exchange.spec.assets, symbols=tuple(listed), safety=exchange.spec.safety)
    return document.model_dump_json(by_alias=True, indent=1) + "\n", refused


def digest(document: str) -> str:
    """As the annotation of a pod that should see `document`."""
    return hashlib.sha256(document.encode()).hexdigest()[:16]
