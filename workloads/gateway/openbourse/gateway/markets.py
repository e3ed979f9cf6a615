"""What is listed, as the gateway knows it at one moment, and as Binance's words show it. No I/O, no clock."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from openbourse.contracts import v1
from openbourse.contracts.units import PPM, SymbolUnits, format_units
from openbourse.gateway import errors, filters, words
from openbourse.gateway.errors import Invalid

PERMISSION = "SPOT"


@dataclass(frozen=True, slots=True)
class Market:
    definition: v1.SymbolDefinition
    units: SymbolUnits
    # A v1.SymbolState.
    state: int
    reason: str
    # That lists it so.
    shard: str = ""
    # Of orders with a price. Worked out once: they are asked for in every one.
    bounds: filters.Bounds = field(init=False, compare=False)
    # The word for an order that says nothing of self-trade prevention.
    prevention_by_default: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", filters.Bounds.of(self.definition, self.units))
        object.__setattr__(self, "prevention_by_default", self.prevention(0))

    @property
    def symbol(self) -> str:
        return self.definition.symbol

    @property
    def status(self) -> str:
        return words.SYMBOL_STATES[self.state]

    def scale(self, asset: str) -> int:
        """Of one of the symbol's two assets."""
        return self.units.base_scale if asset == self.definition.base_asset else self.units.quote_scale

    def prevention(self, mode: int) -> str:
        """The word for a v1.SelfTradePrevention of an order; what was not said is the symbol's."""
        return words.SELF_TRADE_PREVENTIONS.get(mode or self.definition.self_trade_prevention, "NONE")

    def as_json(self, *, permission_sets: bool = True) -> dict[str, object]:
        definition, units = self.definition, self.units
        return {
            "symbol": definition.symbol,
            "status": self.status,
            "baseAsset": definition.base_asset,
            "baseAssetPrecision": units.base_scale,
            "quoteAsset": definition.quote_asset,
            "quotePrecision": units.quote_scale,
            "quoteAssetPrecision": units.quote_scale,
            "baseCommissionPrecision": units.base_scale,
            "quoteCommissionPrecision": units.quote_scale,
            "orderTypes": list(words.ORDER_TYPES.values()),
            "icebergAllowed": False,
            "ocoAllowed": False,
            "otoAllowed": False,
            "opoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": False,
            "cancelReplaceAllowed": True,
            "amendAllowed": True,
            "pegInstructionsAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": filters.as_json(definition, units),
            "permissions": [],
            "permissionSets": [[PERMISSION]] if permission_sets else [],
            "defaultSelfTradePreventionMode": self.prevention(0),
            "allowedSelfTradePreventionModes": list(words.SELF_TRADE_PREVENTIONS.values()),
        }

    def fee_as_json(self) -> dict[str, object]:
        return {
            "symbol": self.symbol,
            "makerCommission": fee_text(self.definition.maker_fee_ppm),
            "takerCommission": fee_text(self.definition.taker_fee_ppm),
        }


def fee_text(ppm: int) -> str:
    """A share in Binance's eight decimals: 1000 ppm is "0.00100000"."""
    return format_units(ppm * (10**8 // PPM), 8)


@dataclass(frozen=True, slots=True)
class Markets:
    """All assets (name -> scale) and markets (symbol -> market): of a shard, or of several together."""

    scales: dict[str, int]
    by_symbol: dict[str, Market]

    @classmethod
    def of(cls, listings: v1.ListingsAnswer, shard: str = "") -> "Markets":
        scales = {asset.asset: asset.scale for asset in listings.assets}
        markets = (
            Market(
                listing.definition,
                SymbolUnits.of(listing.definition, scales),
                listing.state or v1.SymbolState.SYMBOL_STATE_TRADING,
                listing.reason,
                shard,
            )
            for listing in listings.symbols
        )
        return cls(scales, {market.symbol: market for market in markets})

    @classmethod
    def together(cls, of_shards: Iterable["Markets"], home: Callable[[str], str | None]) -> "Markets":
        """Each symbol as the shard lists it that it is in; where that one has not said so yet, as another one does.

        Raises ValueError where two shards count an asset in different units.
        """
        scales: dict[str, int] = {}
        found: dict[str, Market] = {}
        for markets in of_shards:
            for asset, scale in markets.scales.items():
                if scales.setdefault(asset, scale) != scale:
                    raise ValueError(f"asset {asset} has scale {scale} in one shard and {scales[asset]} in another")
            for symbol, market in markets.by_symbol.items():
                if symbol not in found or market.shard == home(symbol):
                    found[symbol] = market
        return cls(scales, dict(sorted(found.items())))

    def without(self, shards: Collection[str]) -> "Markets":
        """As these are while some shards are away: nothing is taken there, and what was last heard of it is old."""
        if not shards:
            return self
        closed = v1.SymbolState.SYMBOL_STATE_CANCEL_ONLY
        shown = {
            symbol: replace(market, state=closed, reason=f"shard {market.shard} is away")
            if market.shard in shards
            else market
            for symbol, market in self.by_symbol.items()
        }
        return Markets(self.scales, shown)

    def market(self, symbol: str) -> Market:
        """Raises Invalid for a symbol that is not listed."""
        market = self.by_symbol.get(symbol)
        if market is None:
            raise Invalid(errors.BAD_SYMBOL)
        return market

    def selected(
        self, symbols: list[str] | None, permissions: Collection[str] | None, status: str | None
    ) -> list[Market]:
        """The markets that exchangeInfo was asked for. Raises Invalid."""
        if symbols is not None:
            if permissions is not None or status is not None:
                raise Invalid(errors.BAD_COMBINATION)
            if len(set(symbols)) < len(symbols):
                raise Invalid(errors.REPEATED_SYMBOL)
            return [self.market(symbol) for symbol in symbols]
        if status is not None and status not in words.SYMBOL_STATES.values():
            raise Invalid(errors.BAD_SYMBOL_STATUS)
        if permissions is not None and PERMISSION not in permissions:
            return []
        return [market for market in self.by_symbol.values() if status in (None, market.status)]

    def highest_fees(self) -> tuple[int, int]:
        """Maker and taker, in parts per million: what an order on any symbol pays at most."""
        definitions = [market.definition for market in self.by_symbol.values()]
        return (
            max((definition.maker_fee_ppm for definition in definitions), default=0),
            max((definition.taker_fee_ppm for definition in definitions), default=0),
        )

    def coins_as_json(self, balances: dict[str, v1.Balance]) -> list[dict[str, object]]:
        """The assets as the wallet calls show them; nothing is deposited or withdrawn through this wire."""
        coins: list[dict[str, object]] = []
        for asset, scale in self.scales.items():
            balance = balances.get(asset, v1.Balance())
            zero = format_units(0, scale)
            coins.append(
                {
                    "coin": asset,
                    "name": asset,
                    "depositAllEnable": False,
                    "withdrawAllEnable": False,
                    "free": format_units(balance.available, scale),
                    "locked": format_units(balance.hold, scale),
                    "freeze": zero,
                    "withdrawing": zero,
                    "ipoing": zero,
                    "ipoable": zero,
                    "storage": zero,
                    "isLegalMoney": False,
                    "trading": True,
                    "networkList": [],
                }
            )
        return coins
