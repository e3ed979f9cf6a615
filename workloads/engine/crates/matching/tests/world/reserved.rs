//! What open orders must hold, as the rules say.

use std::collections::BTreeMap;

use openbourse_matching::fees::FeeCharge;
use openbourse_matching::order::{Order, Side};

use super::told::Told;

/// Assets of scale 0 and ticks of 1 make a notional of price x lots x lot_units.
impl Told {
    /// By asset.
    pub fn reserved(&self, account: u64) -> BTreeMap<String, i64> {
        let mut reserved = BTreeMap::new();
        for order in self.orders.iter().filter(|order| order.account == account) {
            let (asset, units) = self.reserved_by(order);
            *reserved.entry(asset).or_default() += units;
        }
        reserved
    }

    fn reserved_by(&self, order: &Order) -> (String, i64) {
        let schedule = &self.schedules[order.fee_schedule as usize - 1];
        let base_units = order.leaves_lots() * schedule.lot_units;
        if order.side == Side::Sell {
            return (schedule.base_asset.to_string(), base_units);
        }
        let notional = order.price_ticks * base_units * schedule.tick_units;
        let fee = match schedule.fee_charge {
            Some(FeeCharge::Quote) => {
                let higher_ppm = schedule.maker_fee_ppm.max(schedule.taker_fee_ppm);
                notional * i64::from(higher_ppm) / 1_000_000
            }
            _ => 0,
        };
        (schedule.quote_asset.to_string(), notional + fee)
    }
}
