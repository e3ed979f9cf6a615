//! Lowers the quantity of an open order, which keeps its place in the queue.

use crate::command::{AmendOrder, Stamp};
use crate::event::{Effects, EventBody, OrderOutcome, Outcome};
use crate::kernel::Kernel;
use crate::order::Order;
use crate::place::{check_notional, check_quantity};
use crate::planted::{Bug, lose_place, planted};
use crate::refusal::Refusal;
use crate::risk::reserve;
use crate::symbol_state::SymbolState;

impl Kernel {
    pub(crate) fn amend_order(
        &mut self,
        stamp: Stamp,
        amend: &AmendOrder,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        if amend.quantity_lots < 1 {
            return Err(Refusal::Invalid("quantity_lots: must be at least 1"));
        }
        let symbol_id = self.listings.symbol_id(amend.symbol)?;
        let before = *self.check_amend(stamp, amend)?;
        let account = before.account;
        let new_id = amend.new_client_order_id.unwrap_or(before.client_order_id);

        let mut market = self.market(symbol_id, stamp, effects);
        let held_units = market.symbol.hold_of(&before);
        let order = (market.symbol.book).reduce(before.order_id, |order| {
            order.quantity_lots = amend.quantity_lots;
            order.client_order_id = new_id;
            order.updated_at_us = stamp.time_us;
        });
        let order = order.expect("an open order rests");
        if planted(Bug::AmendmentLosesItsPlace) {
            lose_place(&mut market.symbol.book, order.order_id);
        }
        if new_id != before.client_order_id {
            (market.accounts).renamed(symbol_id, account, before.client_order_id, new_id);
            market.remember_closed_id(account, before.client_order_id);
        }
        let released = held_units - market.symbol.hold_of(&order);
        let held = (account, market.symbol.asset_held(order.side));
        reserve(market.accounts, market.effects, held, -released);
        market.happened(EventBody::OrderAmended {
            order,
            previous_quantity_lots: before.quantity_lots,
            previous_client_order_id: before.client_order_id,
        });
        market.tell_level(order.side, order.price_ticks);
        Ok(Outcome::Order(OrderOutcome {
            order,
            fills: Vec::new(),
        }))
    }

    fn check_amend(&self, stamp: Stamp, amend: &AmendOrder) -> Result<&Order, Refusal> {
        let symbol = (self.listings).symbol(self.listings.symbol_id(amend.symbol)?);
        symbol.check_here()?;
        let forbidden = matches!(symbol.state, SymbolState::CancelOnly | SymbolState::Halt);
        if forbidden || symbol.takes_no_cancel() {
            return Err(self.not_in_state(symbol));
        }
        let order = self.open_order(amend.account.account(), symbol, amend.target)?;
        let above = order.executed_lots + order.prevented_lots;
        if amend.quantity_lots >= order.quantity_lots || amend.quantity_lots <= above {
            return Err(Refusal::QuantityNotLower {
                below: order.quantity_lots,
                above,
            });
        }
        check_quantity(
            symbol,
            amend.quantity_lots,
            symbol.definition.max_quantity_lots,
        )?;
        let notional = symbol.quote_units(order.price_ticks, amend.quantity_lots);
        check_notional(symbol, i128::from(notional))?;
        match amend.new_client_order_id {
            Some(id) if id != order.client_order_id => {
                self.check_client_order_id(order.account, id, stamp.time_us)?;
            }
            _ => {}
        }
        Ok(order)
    }
}
