//! The assets and symbols of a shard.

use crate::names::{AssetName, SymbolName};

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
