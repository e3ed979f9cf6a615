//! How far trades may go, as the rules say: the collar of a MARKET order and the volatility bands.

use openbourse_matching::event::Trade;
use openbourse_matching::order::{OrderType, Side};

use super::ensure;
use super::told::Told;

impl Told {
    /// What bounds the trades of the command that begins now.
    pub fn look_at_prices(&mut self) {
        self.last_before = self.last_price();
        let prices = |bids: bool| {
            let levels = self.levels.keys();
            levels
                .filter(move |(of_bids, _)| *of_bids == bids)
                .map(|(_, price)| *price)
        };
        self.best_before = (prices(true).max(), prices(false).min());
    }

    /// Of a trade that is not of an auction.
    pub fn check_bounds(&self, trade: &Trade, taker: OrderType) -> Result<(), String> {
        let Some(definition) = self.definition else {
            return Err("a trade in a symbol that nobody defined".into());
        };
        let further = |center: i64, ppm: u32| {
            (trade.price_ticks - center).abs() * 1_000_000 > center * i64::from(ppm)
        };
        let dynamic_ppm = definition.dynamic_band_ppm;
        if let Some(last) = self.last_before.filter(|_| dynamic_ppm > 0) {
            ensure!(
                !further(last, dynamic_ppm),
                "{trade:?} is too far from {last}"
            );
        }
        let collar_ppm = definition.market_collar_ppm;
        let best = match trade.taker_side {
            Side::Buy => self.best_before.1,
            Side::Sell => self.best_before.0,
        };
        let worse = |base: i64| match trade.taker_side {
            Side::Buy => trade.price_ticks > base,
            Side::Sell => trade.price_ticks < base,
        };
        if let Some(base) = self.last_before.or(best)
            && taker == OrderType::Market
            && collar_ppm > 0
        {
            ensure!(
                !(worse(base) && further(base, collar_ppm)),
                "{trade:?} is beyond the collar around {base}"
            );
        }
        Ok(())
    }
}
