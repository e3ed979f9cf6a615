"""What a shard lists: the document that the operator writes, the engine reads, and `openbourse local` comes with.

The engine turns the document into DefineAsset, DefineSymbol and ConfigureSafety commands; everybody else asks the
engine.
"""

from typing import Self

from pydantic import Field, model_validator

from openbourse.contracts import v1
from openbourse.contracts.documents import AssetName, Document
from openbourse.contracts.safety import Safety
from openbourse.contracts.symbols import Symbol, symbol_definition
from openbourse.contracts.units import SCALE_MAX


class Asset(Document):
    """An asset and the number of decimals that one unit of it has."""

    name: AssetName
    scale: int = Field(ge=0, le=SCALE_MAX, description="10^scale min-units make one whole unit")


class Listings(Document):
    """All assets and symbols of one shard, and its safety limits.

    Raises ValueError (with what is allowed) when they do not fit together.
    """

    assets: tuple[Asset, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    safety: Safety = Field(default_factory=Safety)
    # Symbols that were listed and are no more: they are halted, and their orders are cancelled.
    delisted: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for kind, names in (("asset", [a.name for a in self.assets]), ("symbol", [s.symbol for s in self.symbols])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} {', '.join(twice)} is listed twice")
        if both := sorted({symbol.symbol for symbol in self.symbols} & set(self.delisted)):
            raise ValueError(f"symbol {', '.join(both)} is listed and delisted")
        self.definitions()
        return self

    def as_text(self) -> str:
        """An engine of before knows no `delisted`, so it is not in it where there is none."""
        without = None if self.delisted else {"delisted"}
        return self.model_dump_json(by_alias=True, indent=1, exclude=without) + "\n"

    def definitions(self) -> list[v1.DefineAsset | v1.DefineSymbol]:
        """In the order in which an engine can take them: assets first."""
        scales = {asset.name: asset.scale for asset in self.assets}
        assets = [v1.DefineAsset(asset=asset.name, scale=asset.scale) for asset in self.assets]
        return [*assets, *(v1.DefineSymbol(definition=symbol_definition(s, scales)) for s in self.symbols)]
