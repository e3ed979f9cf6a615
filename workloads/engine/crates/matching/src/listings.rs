//! The assets and symbols of a shard: what may be listed, what may change afterwards, and what of a symbol lives on.

use std::collections::BTreeMap;

use crate::command::DefineAsset;
use crate::event::{AssetId, SymbolId};
use crate::names::{AssetName, SymbolName};
use crate::order::Order;
use crate::order_book::OrderBook;
use crate::refusal::Refusal;
use crate::symbol_state::SymbolState;

const SCALE_MOST: u32 = 18;
/// 10 %: more is a slip of the hand.
const FEE_MOST_PPM: u32 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolDefinition {
    pub symbol: SymbolName,
    pub base_asset: AssetName,
    pub quote_asset: AssetName,
    /// Quote min-units for one whole base unit: the step of the price.
    pub tick_units: i64,
    /// Base min-units: the step of the quantity.
    pub lot_units: i64,
    pub max_price_ticks: i64,
    pub max_quantity_lots: i64,
    pub min_notional_units: i64,
    pub maker_fee_ppm: u32,
    pub taker_fee_ppm: u32,
}

/// A listed symbol.
#[derive(Clone)]
pub(crate) struct Symbol {
    pub id: SymbolId,
    pub definition: SymbolDefinition,
    pub base: AssetId,
    pub quote: AssetId,
    /// The most restrictive of the halts that name it.
    pub state: SymbolState,
    /// What one lot costs at a price of one tick.
    pub quote_units_per_tick_lot: i64,
    pub book: OrderBook<Order>,
    /// Trades made so far: the id of the last.
    pub trades: u64,
    /// Book deltas made so far: the id of the last.
    pub updates: u64,
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
}

#[derive(Clone, Default)]
pub(crate) struct Listings {
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

    pub fn define_symbol(&mut self, definition: &SymbolDefinition) -> Result<Defined, Refusal> {
        check_ranges(definition)?;
        let base = self.asset_id(definition.base_asset)?;
        let quote = self.asset_id(definition.quote_asset)?;
        let listed = self.symbols_by_name.get(&definition.symbol).copied();
        if let Some(id) = listed {
            check_unchanged(&self.symbol(id).definition, definition)?;
        }
        let quote_units_per_tick_lot = exact_notional(definition, self.asset(base).scale)?;
        if let Some(id) = listed {
            let symbol = self.symbol_mut(id);
            if symbol.definition == *definition {
                return Ok(Defined::AsBefore);
            }
            symbol.definition = *definition;
            return Ok(Defined::Changed);
        }
        let id = SymbolId(u32::try_from(self.symbols.len()).expect("fewer than 2^32 symbols"));
        self.symbols.push(Symbol {
            id,
            definition: *definition,
            base,
            quote,
            state: SymbolState::Trading,
            quote_units_per_tick_lot,
            book: OrderBook::default(),
            trades: 0,
            updates: 0,
        });
        self.symbols_by_name.insert(definition.symbol, id);
        Ok(Defined::New)
    }
}

fn check_ranges(definition: &SymbolDefinition) -> Result<(), Refusal> {
    let rules = [
        (
            definition.base_asset != definition.quote_asset,
            "quote_asset: must differ from base_asset",
        ),
        (definition.tick_units >= 1, "tick_units: must be at least 1"),
        (definition.lot_units >= 1, "lot_units: must be at least 1"),
        (
            definition.max_price_ticks >= 1,
            "max_price_ticks: must be at least 1",
        ),
        (
            definition.max_quantity_lots >= 1,
            "max_quantity_lots: must be at least 1",
        ),
        (
            definition.min_notional_units >= 0,
            "min_notional_units: must be at least 0",
        ),
        (
            definition.maker_fee_ppm <= FEE_MOST_PPM,
            "maker_fee_ppm: must be 0 to 100000",
        ),
        (
            definition.taker_fee_ppm <= FEE_MOST_PPM,
            "taker_fee_ppm: must be 0 to 100000",
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
        tick_lots.checked_mul(units)?;
        Some(units)
    });
    match (largest_base, largest_quote) {
        (Some(_), Some(units)) => Ok(units),
        _ => Err(Refusal::Overflow(
            "max_quantity_lots: the largest order would leave the range of a signed 64-bit integer",
        )),
    }
}
