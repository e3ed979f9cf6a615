//! The assets and symbols of a shard: what may be listed, what may change afterwards, and what of a symbol lives on.

use std::collections::BTreeMap;

use crate::auction::Indication;
use crate::bands::{Minutes, PriceBand};
use crate::command::DefineAsset;
use crate::fees::{FeeCharge, FeeSchedule, fee_units};
use crate::moves::Away;
use crate::names::{AssetId, AssetName, Names, SymbolId, SymbolName};
use crate::order::{Order, SelfTradePrevention};
use crate::order_book::OrderBook;
use crate::planted::{Bug, planted};
use crate::refusal::Refusal;
use crate::symbol_state::SymbolState;
use crate::version::Version;

const SCALE_MOST: u32 = 18;
/// 10 %: more is a slip of the hand.
const FEE_MOST_PPM: u32 = 100_000;
const AVERAGE_MINUTES_MOST: u32 = 60;
const VOLATILITY_AUCTION_MS_MOST: i64 = 3_600_000;
/// A part of something that is less than all of it.
const PART_MOST_PPM: u32 = 999_999;

/// 0, None or a default stands for what is not limited, except where a least is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolDefinition {
    pub symbol: SymbolName,
    pub base_asset: AssetName,
    pub quote_asset: AssetName,
    /// Quote min-units for one whole base unit: the step of the price. At least 1.
    pub tick_units: i64,
    /// Base min-units: the step of the quantity. At least 1.
    pub lot_units: i64,
    /// At least 1.
    pub max_price_ticks: i64,
    /// At least 1.
    pub max_quantity_lots: i64,
    pub min_notional_units: i64,
    pub maker_fee_ppm: u32,
    pub taker_fee_ppm: u32,
    /// None: RECEIVED.
    pub fee_charge: Option<FeeCharge>,
    pub min_price_ticks: i64,
    pub min_quantity_lots: i64,
    /// 0: as max_quantity_lots.
    pub market_max_quantity_lots: i64,
    pub max_notional_units: i64,
    /// Of an order that does not say. None: no prevention.
    pub self_trade_prevention: Option<SelfTradePrevention>,
    pub bid_band: PriceBand,
    pub ask_band: PriceBand,
    /// 0: the reference price is the last price.
    pub average_minutes: u32,
    pub market_collar_ppm: u32,
    pub static_band_ppm: u32,
    pub dynamic_band_ppm: u32,
    pub volatility_auction_ms: i64,
    pub reference_price_ticks: i64,
}

impl SymbolDefinition {
    /// The fields of version 1, and no limit beyond them.
    #[expect(clippy::too_many_arguments, reason = "as many as version 1 has")]
    pub fn plain(
        (symbol, base_asset, quote_asset): (SymbolName, AssetName, AssetName),
        tick_units: i64,
        lot_units: i64,
        max_price_ticks: i64,
        max_quantity_lots: i64,
        min_notional_units: i64,
        maker_fee_ppm: u32,
        taker_fee_ppm: u32,
    ) -> Self {
        Self {
            symbol,
            base_asset,
            quote_asset,
            tick_units,
            lot_units,
            max_price_ticks,
            max_quantity_lots,
            min_notional_units,
            maker_fee_ppm,
            taker_fee_ppm,
            fee_charge: None,
            min_price_ticks: 0,
            min_quantity_lots: 0,
            market_max_quantity_lots: 0,
            max_notional_units: 0,
            self_trade_prevention: None,
            bid_band: PriceBand::default(),
            ask_band: PriceBand::default(),
            average_minutes: 0,
            market_collar_ppm: 0,
            static_band_ppm: 0,
            dynamic_band_ppm: 0,
            volatility_auction_ms: 0,
            reference_price_ticks: 0,
        }
    }

    pub(crate) fn least_price_ticks(&self) -> i64 {
        self.min_price_ticks.max(1)
    }

    pub(crate) fn least_quantity_lots(&self) -> i64 {
        self.min_quantity_lots.max(1)
    }

    pub(crate) fn market_most_lots(&self) -> i64 {
        match self.market_max_quantity_lots {
            0 => self.max_quantity_lots,
            most => most,
        }
    }

    pub(crate) fn fees(&self) -> FeeSchedule {
        FeeSchedule {
            maker_ppm: self.maker_fee_ppm,
            taker_ppm: self.taker_fee_ppm,
            charge: self.fee_charge.unwrap_or(FeeCharge::Received),
        }
    }
}

/// A listed symbol.
#[derive(Clone)]
pub(crate) struct Symbol {
    pub id: SymbolId,
    pub definition: SymbolDefinition,
    pub base: AssetId,
    pub quote: AssetId,
    /// TRADING, POST_ONLY or AUCTION: what the symbol would be if nothing else kept it back.
    pub phase: SymbolState,
    /// When the phase becomes TRADING by itself. None: it does not.
    pub phase_ends_us: Option<i64>,
    /// The most restrictive of the phase, the halts that name it, and the shard's safety level.
    pub state: SymbolState,
    /// What one lot costs at a price of one tick.
    pub quote_units_per_tick_lot: i64,
    pub book: OrderBook<Order>,
    /// Made so far: the id of the last.
    pub trades: u64,
    pub prevented_matches: u64,
    pub updates: u64,
    /// Of the last trade.
    pub last_price_ticks: Option<i64>,
    /// Of the last uncross.
    pub auction_price_ticks: Option<i64>,
    pub minutes: Minutes,
    /// Number 1 first.
    pub fee_schedules: Vec<FeeSchedule>,
    /// What was told last of this auction.
    pub indicated: Indication,
    /// The price of an uncross that goes on.
    pub uncrossing_at: Option<i64>,
    /// None: it is here.
    pub away: Option<Away>,
}

impl Symbol {
    /// Price and quantity are those of an order that was within the limits when it was placed, or less.
    pub fn quote_units(&self, price_ticks: i64, quantity_lots: i64) -> i64 {
        price_ticks
            .checked_mul(quantity_lots)
            .and_then(|tick_lots| tick_lots.checked_mul(self.quote_units_per_tick_lot))
            .expect("the limits of a symbol keep every notional in range")
    }

    /// As for `quote_units`.
    pub fn base_units(&self, quantity_lots: i64) -> i64 {
        quantity_lots
            .checked_mul(self.definition.lot_units)
            .expect("the limits of a symbol keep every quantity in range")
    }

    /// That an order trades under: its own, or, of version 1, what the symbol charges now.
    pub fn fees_of(&self, order: &Order) -> FeeSchedule {
        match order.fee_schedule {
            0 => self.definition.fees(),
            _ if planted(Bug::FeesAreThoseOfTheTradesTime) => self.definition.fees(),
            number => self.fee_schedules[number as usize - 1],
        }
    }

    /// The number of the schedule in force; 0 under version 1.
    pub fn fee_schedule(&self) -> u32 {
        u32::try_from(self.fee_schedules.len()).expect("fewer than 2^32 fee schedules")
    }

    /// That of an order, or the symbol's.
    pub fn prevention_of(&self, order: &Order) -> SelfTradePrevention {
        (order.self_trade_prevention)
            .or(self.definition.self_trade_prevention)
            .unwrap_or(SelfTradePrevention::None)
    }
}

#[derive(Clone)]
pub(crate) struct Listings {
    /// Of the books.
    key: u64,
    assets: Vec<DefineAsset>,
    assets_by_name: BTreeMap<AssetName, AssetId>,
    symbols: Vec<Symbol>,
    symbols_by_name: BTreeMap<SymbolName, SymbolId>,
}

/// Whether a definition was news.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Defined {
    New,
    Changed,
    AsBefore,
}

impl Listings {
    pub fn keyed(key: u64) -> Self {
        Self {
            key,
            assets: Vec::new(),
            assets_by_name: BTreeMap::new(),
            symbols: Vec::new(),
            symbols_by_name: BTreeMap::new(),
        }
    }

    pub fn asset(&self, id: AssetId) -> &DefineAsset {
        &self.assets[id.0 as usize]
    }

    pub fn asset_id(&self, name: AssetName) -> Result<AssetId, Refusal> {
        let id = self.assets_by_name.get(&name).copied();
        id.ok_or(Refusal::UnknownAsset(name))
    }

    pub fn symbol(&self, id: SymbolId) -> &Symbol {
        &self.symbols[id.0 as usize]
    }

    pub fn symbol_mut(&mut self, id: SymbolId) -> &mut Symbol {
        &mut self.symbols[id.0 as usize]
    }

    pub fn symbol_id(&self, name: SymbolName) -> Result<SymbolId, Refusal> {
        let id = self.symbols_by_name.get(&name).copied();
        id.ok_or(Refusal::UnknownSymbol(name))
    }

    /// By name.
    pub fn assets(&self) -> impl Iterator<Item = &DefineAsset> {
        self.assets_by_name.values().map(|id| self.asset(*id))
    }

    /// By name.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols_by_name.values().map(|id| self.symbol(*id))
    }

    /// By name.
    pub fn symbol_ids(&self) -> Vec<SymbolId> {
        self.symbols_by_name.values().copied().collect()
    }

    pub fn define_asset(&mut self, asset: DefineAsset) -> Result<Defined, Refusal> {
        if asset.scale > SCALE_MOST {
            return Err(Refusal::Invalid("scale: must be 0 to 18"));
        }
        if let Some(id) = self.assets_by_name.get(&asset.asset) {
            return if self.asset(*id).scale == asset.scale {
                Ok(Defined::AsBefore)
            } else {
                Err(Refusal::Immutable("scale: cannot change"))
            };
        }
        let id = AssetId(u32::try_from(self.assets.len()).expect("fewer than 2^32 assets"));
        self.assets.push(asset);
        self.assets_by_name.insert(asset.asset, id);
        Ok(Defined::New)
    }

    /// In no order that means something.
    pub fn symbols_mut(&mut self) -> impl Iterator<Item = &mut Symbol> {
        self.symbols.iter_mut()
    }

    /// From version 1 to 2: what is charged now is the first schedule, also of the orders that are open.
    pub fn begin_fee_schedules(&mut self) {
        for symbol in &mut self.symbols {
            symbol.fee_schedules = vec![symbol.definition.fees()];
            symbol.book.change_all(|order| {
                order.fee_schedule = 1;
                order.self_trade_prevention = Some(SelfTradePrevention::None);
            });
        }
    }

    /// Whether it could be listed, or take the place of what is; what one lot costs at a price of one tick.
    pub fn check_definition(&self, definition: &SymbolDefinition) -> Result<i64, Refusal> {
        check_ranges(definition)?;
        let base = self.asset_id(definition.base_asset)?;
        self.asset_id(definition.quote_asset)?;
        if let Some(id) = self.symbols_by_name.get(&definition.symbol) {
            check_unchanged(&self.symbol(*id).definition, definition)?;
        }
        exact_notional(definition, self.asset(base).scale)
    }

    pub fn define_symbol(
        &mut self,
        definition: &SymbolDefinition,
        version: Version,
    ) -> Result<Defined, Refusal> {
        let quote_units_per_tick_lot = self.check_definition(definition)?;
        let base = self.asset_id(definition.base_asset)?;
        let quote = self.asset_id(definition.quote_asset)?;
        let listed = self.symbols_by_name.get(&definition.symbol).copied();
        if let Some(id) = listed {
            let symbol = self.symbol_mut(id);
            if symbol.definition == *definition {
                return Ok(Defined::AsBefore);
            }
            symbol.check_here()?;
            symbol.definition = *definition;
            if version.keeps_fee_schedules()
                && symbol.fee_schedules.last() != Some(&definition.fees())
            {
                symbol.fee_schedules.push(definition.fees());
            }
            return Ok(Defined::Changed);
        }
        let id = SymbolId(u32::try_from(self.symbols.len()).expect("fewer than 2^32 symbols"));
        self.symbols.push(Symbol {
            id,
            definition: *definition,
            base,
            quote,
            phase: SymbolState::Trading,
            phase_ends_us: None,
            state: SymbolState::Trading,
            quote_units_per_tick_lot,
            book: OrderBook::keyed(self.key),
            trades: 0,
            prevented_matches: 0,
            updates: 0,
            last_price_ticks: None,
            auction_price_ticks: None,
            minutes: Minutes::default(),
            fee_schedules: if version.keeps_fee_schedules() {
                vec![definition.fees()]
            } else {
                Vec::new()
            },
            indicated: Indication::default(),
            uncrossing_at: None,
            away: None,
        });
        self.symbols_by_name.insert(definition.symbol, id);
        Ok(Defined::New)
    }
}

impl Names for Listings {
    fn symbol_of(&self, symbol: SymbolId) -> SymbolName {
        self.symbol(symbol).definition.symbol
    }

    fn asset_of(&self, asset: AssetId) -> AssetName {
        self.asset(asset).asset
    }
}

fn check_ranges(definition: &SymbolDefinition) -> Result<(), Refusal> {
    let of = definition;
    let least = |value: i64, least: i64, rule: &'static str| (value >= least, rule);
    let part = |ppm: u32, rule: &'static str| (ppm <= PART_MOST_PPM, rule);
    let volatile = of.static_band_ppm > 0 || of.dynamic_band_ppm > 0;
    let rules = [
        (
            of.base_asset != of.quote_asset,
            "quote_asset: must differ from base_asset",
        ),
        least(of.tick_units, 1, "tick_units: must be at least 1"),
        least(of.lot_units, 1, "lot_units: must be at least 1"),
        least(of.max_price_ticks, 1, "max_price_ticks: must be at least 1"),
        least(
            of.max_quantity_lots,
            1,
            "max_quantity_lots: must be at least 1",
        ),
        least(
            of.min_notional_units,
            0,
            "min_notional_units: must be at least 0",
        ),
        (
            of.maker_fee_ppm <= FEE_MOST_PPM,
            "maker_fee_ppm: must be 0 to 100000",
        ),
        (
            of.taker_fee_ppm <= FEE_MOST_PPM,
            "taker_fee_ppm: must be 0 to 100000",
        ),
        (
            (0..=of.max_price_ticks).contains(&of.min_price_ticks),
            "min_price_ticks: must be 0 to max_price_ticks",
        ),
        (
            (0..=of.max_quantity_lots).contains(&of.min_quantity_lots),
            "min_quantity_lots: must be 0 to max_quantity_lots",
        ),
        (
            (0..=of.max_quantity_lots).contains(&of.market_max_quantity_lots),
            "market_max_quantity_lots: must be 0 to max_quantity_lots",
        ),
        (
            of.max_notional_units == 0 || of.max_notional_units >= of.min_notional_units.max(1),
            "max_notional_units: must be 0, or at least min_notional_units",
        ),
        (
            of.bid_band.is_possible(),
            "bid_band: lowest_ppm must be at most highest_ppm, or one of them 0",
        ),
        (
            of.ask_band.is_possible(),
            "ask_band: lowest_ppm must be at most highest_ppm, or one of them 0",
        ),
        (
            of.average_minutes <= AVERAGE_MINUTES_MOST,
            "average_minutes: must be 0 to 60",
        ),
        part(
            of.market_collar_ppm,
            "market_collar_ppm: must be 0 to 999999",
        ),
        part(of.static_band_ppm, "static_band_ppm: must be 0 to 999999"),
        part(of.dynamic_band_ppm, "dynamic_band_ppm: must be 0 to 999999"),
        (
            !volatile || (1..=VOLATILITY_AUCTION_MS_MOST).contains(&of.volatility_auction_ms),
            "volatility_auction_ms: must be 1 to 3600000 with a static or dynamic band",
        ),
        (
            volatile || of.volatility_auction_ms == 0,
            "volatility_auction_ms: must be 0 without a static or dynamic band",
        ),
        (
            (0..=of.max_price_ticks).contains(&of.reference_price_ticks),
            "reference_price_ticks: must be 0 to max_price_ticks",
        ),
    ];
    match rules.iter().find(|(kept, _)| !kept) {
        Some((_, rule)) => Err(Refusal::Invalid(rule)),
        None => Ok(()),
    }
}

fn check_unchanged(
    listed: &SymbolDefinition,
    definition: &SymbolDefinition,
) -> Result<(), Refusal> {
    if listed.base_asset != definition.base_asset {
        Err(Refusal::Immutable("base_asset: cannot change"))
    } else if listed.quote_asset != definition.quote_asset {
        Err(Refusal::Immutable("quote_asset: cannot change"))
    } else if listed.tick_units != definition.tick_units {
        Err(Refusal::Immutable("tick_units: cannot change"))
    } else if listed.lot_units != definition.lot_units {
        Err(Refusal::Immutable("lot_units: cannot change"))
    } else {
        Ok(())
    }
}

/// What one lot costs at a price of one tick: whole, and small enough that the largest order stays in range.
fn exact_notional(definition: &SymbolDefinition, base_scale: u32) -> Result<i64, Refusal> {
    let whole_base = 10_i128.pow(base_scale);
    let scaled = i128::from(definition.tick_units) * i128::from(definition.lot_units);
    if scaled % whole_base != 0 {
        return Err(Refusal::Invalid(
            "tick_units: times lot_units must be a multiple of 10^scale of base_asset",
        ));
    }
    let largest_base = definition
        .max_quantity_lots
        .checked_mul(definition.lot_units);
    let largest_quote = i64::try_from(scaled / whole_base).ok().and_then(|units| {
        let tick_lots = definition
            .max_price_ticks
            .checked_mul(definition.max_quantity_lots)?;
        let notional = tick_lots.checked_mul(units)?;
        let fees = definition.fees();
        notional.checked_add(match fees.charge {
            FeeCharge::Received => 0,
            FeeCharge::Quote => fee_units(notional, fees.highest_ppm()),
        })?;
        Some(units)
    });
    match (largest_base, largest_quote) {
        (Some(_), Some(units)) => Ok(units),
        _ => Err(Refusal::Overflow(
            "max_quantity_lots: the largest order would leave the range of a signed 64-bit integer",
        )),
    }
}
