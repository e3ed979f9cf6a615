//! What an order holds: the most that it can cost, reserved before it can trade and released exactly.

use crate::accounts::Accounts;
use crate::event::{Effects, Movement};
use crate::fees::{FeeCharge, Role, fee_units};
use crate::listings::Symbol;
use crate::names::AssetId;
use crate::order::{Order, OrderStatus, OrderType, Side};
use crate::planted::{Bug, planted};

impl Symbol {
    pub fn asset_held(&self, side: Side) -> AssetId {
        match side {
            Side::Buy => self.quote,
            Side::Sell => self.base,
        }
    }

    /// What an order with a limit, or a sale, holds with the leaves that it has.
    pub fn hold_of(&self, order: &Order) -> i64 {
        match order.side {
            Side::Sell => self.base_units(order.leaves_lots()),
            Side::Buy => {
                let notional = self.quote_units(order.price_ticks, order.leaves_lots());
                let fees = self.fees_of(order);
                match fees.charge {
                    FeeCharge::Received => notional,
                    FeeCharge::Quote => notional + fee_units(notional, fees.highest_ppm()),
                }
            }
        }
    }

    /// What a buyer pays on top of the notional, or a seller is charged.
    pub fn fee_in_quote(&self, order: &Order, role: Role, notional_units: i64) -> i64 {
        let fees = self.fees_of(order);
        match fees.charge {
            FeeCharge::Received if order.side == Side::Buy => 0,
            _ => fee_units(notional_units, fees.rate_ppm(role)),
        }
    }

    /// Of what a buyer receives.
    pub fn fee_in_base(&self, order: &Order, role: Role, base_units: i64) -> i64 {
        let fees = self.fees_of(order);
        match fees.charge {
            FeeCharge::Received if order.side == Side::Buy => {
                fee_units(base_units, fees.rate_ppm(role))
                    + i64::from(planted(Bug::BuyersFeeIsRoundedUp))
            }
            _ => 0,
        }
    }
}

/// An order that came just now, and what it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker {
    pub order: Order,
    pub held_units: i64,
    /// MARKET by amount: the amount will not be used up, so that its end comes after its last lot.
    pub falls_short: bool,
}

impl Taker {
    /// After it spent so much, or lost lots.
    pub fn hold_after(&self, symbol: &Symbol, spent_units: i64) -> i64 {
        let order = &self.order;
        let by_spending =
            order.order_type == OrderType::Market || planted(Bug::PriceImprovementStaysHeld);
        if by_spending && order.side == Side::Buy {
            let ends = order.leaves_lots() == 0
                && (!self.falls_short || order.status == OrderStatus::ExpiredInMatch);
            if ends {
                0
            } else {
                self.held_units - spent_units
            }
        } else {
            symbol.hold_of(order)
        }
    }
}

/// From available into hold, or back when it is negative.
pub(crate) fn reserve(
    accounts: &mut Accounts,
    effects: &mut Effects,
    (account, asset): (u64, AssetId),
    units: i64,
) {
    let movement = Movement {
        account,
        asset,
        available_change: -units,
        hold_change: units,
    };
    accounts.apply(movement, effects);
}
