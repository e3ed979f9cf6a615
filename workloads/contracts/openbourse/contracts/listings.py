"""What a shard lists: the document that the operator writes, the engine reads, and `openbourse local` comes with.

Decimals are text, as in custom resources, and become integers here, exactly or not at all. The engine turns the
document into DefineAsset and DefineSymbol commands; everybody else asks the engine.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from openbourse.contracts import v1
from openbourse.contracts.units import INT64_MAX, PPM, SCALE_MAX, InvalidDecimal, parse_units

DecimalText = Annotated[str, Field(pattern=r"^[0-9]{1,19}(\.[0-9]{1,18})?$", max_length=40)]
AssetName = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,16}$")]
SymbolName = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,32}$")]


class Document(BaseModel):
    """camelCase outside, as Kubernetes writes; unknown fields are refused, not ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Asset(Document):
    """An asset and the number of decimals that one unit of it has."""

    name: AssetName
    scale: int = Field(ge=0, le=SCALE_MAX, description="10^scale min-units make one whole unit")


class SymbolTerms(Document):
    """How a symbol is traded."""

    base: AssetName
    quote: AssetName
    tick_size: DecimalText = Field(description="step of the price, in quote units for one base unit")
    lot_size: DecimalText = Field(description="step of the quantity, in base units")
    max_price: DecimalText = Field(default="1000000", description="highest price of an order")
    max_quantity: DecimalText = Field(default="9000", description="largest quantity of an order")
    min_notional: DecimalText = Field(default="0", description="least price times quantity, in quote units")
    maker_fee: DecimalText = Field(default="0.001", description="share of what the maker receives: 0.001 is 0.1 %")
    taker_fee: DecimalText = Field(default="0.001", description="share of what the taker receives")


class Symbol(SymbolTerms):
    """A symbol and its terms."""

    symbol: SymbolName


class Listings(Document):
    """All assets and symbols of one shard. Raises ValueError (with what is allowed) when they do not fit together."""

    assets: tuple[Asset, ...] = ()
    symbols: tuple[Symbol, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for kind, names in (("asset", [a.name for a in self.assets]), ("symbol", [s.symbol for s in self.symbols])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} {', '.join(twice)} is listed twice")
        self.definitions()
        return self

    def definitions(self) -> list[v1.DefineAsset | v1.DefineSymbol]:
        """In the order in which an engine can take them: assets first."""
        scales = {asset.name: asset.scale for asset in self.assets}
        assets = [v1.DefineAsset(asset=asset.name, scale=asset.scale) for asset in self.assets]
        return [*assets, *(v1.DefineSymbol(definition=symbol_definition(s, scales)) for s in self.symbols)]


def symbol_definition(symbol: Symbol, scales: dict[str, int]) -> v1.SymbolDefinition:
    """The symbol in integers. Raises ValueError with the field and what is allowed."""
    for asset in (symbol.base, symbol.quote):
        if asset not in scales:
            known = ", ".join(sorted(scales)) or "none"
            raise ValueError(f"symbol {symbol.symbol}: asset {asset} is not listed (listed: {known})")
    if symbol.base == symbol.quote:
        raise ValueError(f"symbol {symbol.symbol}: base and quote are the same asset")
    base_scale, quote_scale = scales[symbol.base], scales[symbol.quote]

    def units(field: str, scale: int, *, least: int) -> int:
        text: str = getattr(symbol, field)
        try:
            value = parse_units(text, scale)
        except InvalidDecimal as error:
            raise ValueError(f"symbol {symbol.symbol}: {to_camel(field)} {error}") from None
        if value < least:
            raise ValueError(f"symbol {symbol.symbol}: {to_camel(field)} must be greater than 0")
        return value

    tick_units = units("tick_size", quote_scale, least=1)
    lot_units = units("lot_size", base_scale, least=1)
    if tick_units * lot_units % 10**base_scale:
        raise ValueError(
            f"symbol {symbol.symbol}: tickSize {symbol.tick_size} times lotSize {symbol.lot_size} must be a whole "
            f"number of {symbol.quote} min-units (scale {quote_scale}), or prices could not be exact"
        )
    max_price_ticks = units("max_price", quote_scale, least=1) // tick_units
    max_quantity_lots = units("max_quantity", base_scale, least=1) // lot_units
    if max_price_ticks < 1 or max_quantity_lots < 1:
        raise ValueError(f"symbol {symbol.symbol}: maxPrice and maxQuantity must be at least one tick and one lot")
    if max_price_ticks * max_quantity_lots * (tick_units * lot_units // 10**base_scale) > INT64_MAX:
        raise ValueError(
            f"symbol {symbol.symbol}: maxPrice times maxQuantity must stay below 2^63 {symbol.quote} min-units"
        )
    fees = {field: units(field, 6, least=0) for field in ("maker_fee", "taker_fee")}
    for field, ppm in fees.items():
        if ppm > PPM // 10:
            raise ValueError(f"symbol {symbol.symbol}: {to_camel(field)} may be at most 0.1, which is 10 %")
    return v1.SymbolDefinition(
        symbol=symbol.symbol,
        base_asset=symbol.base,
        quote_asset=symbol.quote,
        tick_units=tick_units,
        lot_units=lot_units,
        max_price_ticks=max_price_ticks,
        max_quantity_lots=max_quantity_lots,
        min_notional_units=units("min_notional", quote_scale, least=0),
        maker_fee_ppm=fees["maker_fee"],
        taker_fee_ppm=fees["taker_fee"],
    )
