"""How a symbol is traded: its terms as people write them, and the definition in integers that an engine takes.

Decimals are text, as in custom resources, and become integers here, exactly or not at all. What does not fit is
refused with the symbol, the field and what is allowed; the engine refuses the same and has the last word.
"""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field
from pydantic.alias_generators import to_camel

from openbourse.contracts import v1
from openbourse.contracts.documents import AssetName, DecimalText, Document, SymbolName, parse_duration
from openbourse.contracts.units import INT64_MAX, PPM, InvalidDecimal, parse_units

# Of fees, and of everything that is a share of something: parts per million.
SHARE_SCALE = 6
FEE_PPM_MOST = PPM // 10
BAND_PPM_MOST = 2**32 - 1
AVERAGE_MINUTES_MOST = 60
VOLATILITY_AUCTION_MS_MOST = 3_600_000


class FeeCharge(StrEnum):
    RECEIVED = "Received"
    QUOTE = "Quote"


class SelfTradePrevention(StrEnum):
    NONE = "None"
    EXPIRE_TAKER = "ExpireTaker"
    EXPIRE_MAKER = "ExpireMaker"
    EXPIRE_BOTH = "ExpireBoth"
    DECREMENT = "Decrement"
    TRANSFER = "Transfer"


class Band(Document):
    """How far the price of an order may be from the reference price, as multiples of it."""

    lowest: DecimalText = Field(default="0", description="0.2 is a fifth of the reference price; 0: no bound")
    highest: DecimalText = Field(default="0", description="5 is five times the reference price; 0: no bound")


class SymbolTerms(Document):
    """How a symbol is traded."""

    base: AssetName
    quote: AssetName
    tick_size: DecimalText = Field(description="step of the price, in quote units for one base unit")
    lot_size: DecimalText = Field(description="step of the quantity, in base units")
    min_price: DecimalText = Field(default="0", description="lowest price of an order; 0: one tick")
    max_price: DecimalText = Field(default="1000000", description="highest price of an order")
    min_quantity: DecimalText = Field(default="0", description="smallest quantity of an order; 0: one lot")
    max_quantity: DecimalText = Field(default="9000", description="largest quantity of an order")
    market_max_quantity: DecimalText = Field(default="0", description="of a MARKET order; 0: as maxQuantity")
    min_notional: DecimalText = Field(default="0", description="least price times quantity, in quote units")
    max_notional: DecimalText = Field(
        default="0", description="largest price times quantity, in quote units; 0: no limit"
    )
    maker_fee: DecimalText = Field(default="0.001", description="share of what the maker receives: 0.001 is 0.1 %")
    taker_fee: DecimalText = Field(default="0.001", description="share of what the taker receives")
    fee_charge: FeeCharge = Field(
        default=FeeCharge.RECEIVED, description="Received: in what a party receives; Quote: in quote for both"
    )
    self_trade_prevention: SelfTradePrevention = Field(
        default=SelfTradePrevention.EXPIRE_MAKER,
        description="what happens when an order that does not say meets one of its own account or trade group",
    )
    bid_band: Band = Field(default_factory=Band, description="where the price of a buy may be")
    ask_band: Band = Field(default_factory=Band, description="where the price of a sell may be")
    average_minutes: int = Field(
        default=5,
        ge=0,
        le=AVERAGE_MINUTES_MOST,
        description="the reference price is the average of the trades of so many minutes; 0: the last price",
    )
    market_collar: DecimalText = Field(
        default="0", description="how far from the last price a MARKET order may trade: 0.05 is 5 %; 0: no limit"
    )
    static_band: DecimalText = Field(
        default="0", description="a trade further than this share from the last auction's price starts an auction"
    )
    dynamic_band: DecimalText = Field(
        default="0", description="a trade further than this share from the last trade's price starts an auction"
    )
    volatility_auction: str = Field(
        default="2m", max_length=16, description="how long such an auction takes, at most 1h"
    )
    reference_price: DecimalText = Field(
        default="0", description="stands for the last price before there is one; 0: none"
    )


class Symbol(SymbolTerms):
    """A symbol and its terms."""

    symbol: SymbolName


_FEE_CHARGES = {
    FeeCharge.RECEIVED: v1.FeeCharge.FEE_CHARGE_RECEIVED,
    FeeCharge.QUOTE: v1.FeeCharge.FEE_CHARGE_QUOTE,
}
_PREVENTIONS = {
    SelfTradePrevention.NONE: v1.SelfTradePrevention.SELF_TRADE_PREVENTION_NONE,
    SelfTradePrevention.EXPIRE_TAKER: v1.SelfTradePrevention.SELF_TRADE_PREVENTION_EXPIRE_TAKER,
    SelfTradePrevention.EXPIRE_MAKER: v1.SelfTradePrevention.SELF_TRADE_PREVENTION_EXPIRE_MAKER,
    SelfTradePrevention.EXPIRE_BOTH: v1.SelfTradePrevention.SELF_TRADE_PREVENTION_EXPIRE_BOTH,
    SelfTradePrevention.DECREMENT: v1.SelfTradePrevention.SELF_TRADE_PREVENTION_DECREMENT,
    SelfTradePrevention.TRANSFER: v1.SelfTradePrevention.SELF_TRADE_PREVENTION_TRANSFER,
}


def symbol_definition(symbol: Symbol, scales: dict[str, int]) -> v1.SymbolDefinition:
    """The symbol in integers. Raises ValueError with the field and what is allowed."""
    for asset in (symbol.base, symbol.quote):
        if asset not in scales:
            known = ", ".join(sorted(scales)) or "none"
            raise ValueError(f"symbol {symbol.symbol}: asset {asset} is not listed (listed: {known})")
    if symbol.base == symbol.quote:
        raise ValueError(f"symbol {symbol.symbol}: base and quote are the same asset")
    terms = _Terms(symbol, base_scale=scales[symbol.base], quote_scale=scales[symbol.quote])
    definition = v1.SymbolDefinition(symbol=symbol.symbol, base_asset=symbol.base, quote_asset=symbol.quote)
    terms.steps(definition)
    terms.limits(definition)
    terms.fees(definition)
    terms.protection(definition)
    terms.check_largest_order(definition)
    return definition


@dataclass(frozen=True, slots=True)
class _Terms:
    """One symbol's decimals, read into its definition part by part. Every method raises ValueError."""

    symbol: Symbol
    base_scale: int
    quote_scale: int

    def steps(self, definition: v1.SymbolDefinition) -> None:
        definition.tick_units = self._units("tick_size", self.quote_scale, least=1)
        definition.lot_units = self._units("lot_size", self.base_scale, least=1)
        if definition.tick_units * definition.lot_units % 10**self.base_scale:
            raise self._wrong(
                f"tickSize {self.symbol.tick_size} times lotSize {self.symbol.lot_size} must be a whole number of "
                f"{self.symbol.quote} min-units (scale {self.quote_scale}), or prices could not be exact"
            )

    def limits(self, definition: v1.SymbolDefinition) -> None:
        tick, lot = definition.tick_units, definition.lot_units
        definition.min_price_ticks = -(-self._units("min_price", self.quote_scale) // tick)
        definition.max_price_ticks = self._units("max_price", self.quote_scale, least=1) // tick
        definition.min_quantity_lots = -(-self._units("min_quantity", self.base_scale) // lot)
        definition.max_quantity_lots = self._units("max_quantity", self.base_scale, least=1) // lot
        definition.market_max_quantity_lots = self._units("market_max_quantity", self.base_scale) // lot
        definition.min_notional_units = self._units("min_notional", self.quote_scale)
        definition.max_notional_units = self._units("max_notional", self.quote_scale)
        if definition.max_price_ticks < 1 or definition.max_quantity_lots < 1:
            raise self._wrong("maxPrice and maxQuantity must be at least one tick and one lot")
        if definition.min_price_ticks > definition.max_price_ticks:
            raise self._wrong("minPrice may be at most maxPrice")
        if definition.min_quantity_lots > definition.max_quantity_lots:
            raise self._wrong("minQuantity may be at most maxQuantity")
        if definition.market_max_quantity_lots > definition.max_quantity_lots:
            raise self._wrong("marketMaxQuantity may be at most maxQuantity")
        if self.symbol.market_max_quantity.strip("0.") and not definition.market_max_quantity_lots:
            raise self._wrong("marketMaxQuantity must be at least one lot, or 0 for maxQuantity")
        if 0 < definition.max_notional_units < definition.min_notional_units:
            raise self._wrong("minNotional may be at most maxNotional")

    def fees(self, definition: v1.SymbolDefinition) -> None:
        definition.maker_fee_ppm = self._share("maker_fee", most=FEE_PPM_MOST, means="0.1, which is 10 %")
        definition.taker_fee_ppm = self._share("taker_fee", most=FEE_PPM_MOST, means="0.1, which is 10 %")
        definition.fee_charge = _FEE_CHARGES[self.symbol.fee_charge]

    def protection(self, definition: v1.SymbolDefinition) -> None:
        symbol = self.symbol
        definition.self_trade_prevention = _PREVENTIONS[symbol.self_trade_prevention]
        for field, band in (("bid_band", symbol.bid_band), ("ask_band", symbol.ask_band)):
            if (bounds := self._band(to_camel(field), band)) != v1.PriceBand():
                getattr(definition, field).CopyFrom(bounds)
        definition.average_minutes = symbol.average_minutes
        for field in ("market_collar", "static_band", "dynamic_band"):
            ppm = self._share(field, most=PPM - 1, means="0.999999: it is a share of the price")
            setattr(definition, f"{field}_ppm", ppm)
        if definition.static_band_ppm or definition.dynamic_band_ppm:
            definition.volatility_auction_ms = self._auction_ms()
        reference_units = self._units("reference_price", self.quote_scale)
        definition.reference_price_ticks, rest = divmod(reference_units, definition.tick_units)
        if rest or definition.reference_price_ticks > definition.max_price_ticks:
            raise self._wrong("referencePrice must be a multiple of tickSize and at most maxPrice")

    def check_largest_order(self, definition: v1.SymbolDefinition) -> None:
        """The most that one order can move, fee included, in 64 bits."""
        quote_units_per_tick_lot = definition.tick_units * definition.lot_units // 10**self.base_scale
        notional = definition.max_price_ticks * definition.max_quantity_lots * quote_units_per_tick_lot
        fee_ppm = max(definition.maker_fee_ppm, definition.taker_fee_ppm)
        fee = notional * fee_ppm // PPM if self.symbol.fee_charge is FeeCharge.QUOTE else 0
        if notional + fee > INT64_MAX:
            raise self._wrong(f"maxPrice times maxQuantity must stay below 2^63 {self.symbol.quote} min-units")

    def _band(self, field: str, band: Band) -> v1.PriceBand:
        lowest, highest = (
            self._parsed(f"{field}.{end}", text, SHARE_SCALE)
            for end, text in (("lowest", band.lowest), ("highest", band.highest))
        )
        if max(lowest, highest) > BAND_PPM_MOST:
            raise self._wrong(f"{field} may be at most 4294.967295 times the reference price")
        if 0 < highest < lowest:
            raise self._wrong(f"{field}.lowest may be at most {field}.highest")
        return v1.PriceBand(lowest_ppm=lowest, highest_ppm=highest)

    def _auction_ms(self) -> int:
        try:
            duration = parse_duration(self.symbol.volatility_auction, "volatilityAuction")
        except ValueError as error:
            raise self._wrong(str(error)) from None
        milliseconds = int(duration.total_seconds()) * 1000
        if milliseconds > VOLATILITY_AUCTION_MS_MOST:
            raise self._wrong("volatilityAuction may be at most 1h")
        return milliseconds

    def _share(self, field: str, *, most: int, means: str) -> int:
        ppm = self._units(field, SHARE_SCALE)
        if ppm > most:
            raise self._wrong(f"{to_camel(field)} may be at most {means}")
        return ppm

    def _units(self, field: str, scale: int, *, least: int = 0) -> int:
        value = self._parsed(to_camel(field), getattr(self.symbol, field), scale)
        if value < least:
            raise self._wrong(f"{to_camel(field)} must be greater than 0")
        return value

    def _parsed(self, name: str, text: str, scale: int) -> int:
        try:
            return parse_units(text, scale)
        except InvalidDecimal as error:
            raise self._wrong(f"{name} {error}") from None

    def _wrong(self, sentence: str) -> ValueError:
        return ValueError(f"symbol {self.symbol.symbol}: {sentence}")
