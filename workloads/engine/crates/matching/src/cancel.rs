//! Ends orders on request: one, one for another, or all of an account, a symbol or the shard.

use crate::command::{
    CancelAllOrders, CancelOrder, CancelReason, CancelRestriction, ReplaceOrder, SetKillSwitch,
    Stamp, Target,
};
use crate::event::{Effects, EventBody, OrderOutcome, Outcome, Replacement};
use crate::kernel::Kernel;
use crate::listings::Symbol;
use crate::matching::Market;
use crate::names::SymbolId;
use crate::order::{Order, OrderStatus, Side};
use crate::refusal::Refusal;
use crate::risk::reserve;
use crate::symbol_state::SymbolState;

/// Orders that one command, or one countdown of a Tick, cancels.
const CANCELS_MOST: usize = 10_000;

/// Where an order rests.
type Place = (SymbolId, u64);

impl Kernel {
    pub(crate) fn cancel_order(
        &mut self,
        stamp: Stamp,
        cancel: &CancelOrder,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let order = self.cancel_one(stamp, cancel, CancelReason::Request, effects)?;
        Ok(Outcome::Order(OrderOutcome {
            order,
            fills: Vec::new(),
        }))
    }

    pub(crate) fn replace_order(
        &mut self,
        stamp: Stamp,
        replace: &ReplaceOrder,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        if let Ok(symbol) = self.listings.symbol_id(replace.cancel.symbol) {
            self.listings.symbol(symbol).check_here()?;
        }
        let cancel = self.cancel_one(stamp, &replace.cancel, CancelReason::Replaced, effects);
        let place = if cancel.is_ok() || replace.allow_failure {
            self.place_order(stamp, &replace.place, effects)
        } else {
            Err(Refusal::NotAttempted)
        };
        Ok(Outcome::Replaced(Box::new(Replacement { cancel, place })))
    }

    fn cancel_one(
        &mut self,
        stamp: Stamp,
        cancel: &CancelOrder,
        reason: CancelReason,
        effects: &mut Effects,
    ) -> Result<Order, Refusal> {
        let symbol_id = self.listings.symbol_id(cancel.symbol)?;
        let symbol = self.listings.symbol(symbol_id);
        symbol.check_here()?;
        if symbol.state == SymbolState::Halt || symbol.takes_no_cancel() {
            return Err(self.not_in_state(symbol));
        }
        let order = self.open_order(cancel.account.account(), symbol, cancel.target)?;
        let executed = order.executed_lots > 0;
        match cancel.restriction {
            CancelRestriction::OnlyNew if executed => {
                return Err(Refusal::CancelRestricted { executed });
            }
            CancelRestriction::OnlyPartiallyFilled if !executed => {
                return Err(Refusal::CancelRestricted { executed });
            }
            _ => {}
        }
        let order_id = order.order_id;
        Ok((self.market(symbol_id, stamp, effects)).cancel(order_id, reason))
    }

    /// Somebody else's order is unknown.
    pub(crate) fn open_order<'a>(
        &self,
        account: u64,
        symbol: &'a Symbol,
        target: Target,
    ) -> Result<&'a Order, Refusal> {
        let order_id = match target {
            Target::OrderId(order_id) => Some(order_id),
            Target::ClientOrderId(id) => {
                let open = self.accounts.open_order_in(symbol.id, account, id);
                open.map(|open| open.order_id)
            }
        };
        let order = order_id.and_then(|order_id| symbol.book.get(order_id));
        order
            .filter(|order| order.account == account)
            .ok_or(Refusal::UnknownOrder)
    }

    pub(crate) fn cancel_all_orders(
        &mut self,
        stamp: Stamp,
        cancel: &CancelAllOrders,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let symbol = (cancel.symbol)
            .map(|name| self.listings.symbol_id(name))
            .transpose()?;
        if let Some(symbol) = symbol {
            self.listings.symbol(symbol).check_here()?;
        }
        let orders = match cancel.account {
            None => self.orders_of_symbols(symbol),
            Some(account) => {
                if let Some(symbol) = symbol.map(|symbol| self.listings.symbol(symbol))
                    && (symbol.state == SymbolState::Halt || symbol.takes_no_cancel())
                {
                    return Err(self.not_in_state(symbol));
                }
                let mut orders = self.orders_of_account(account.account(), symbol);
                orders.retain(|(symbol, _)| {
                    let symbol = self.listings.symbol(*symbol);
                    symbol.state != SymbolState::Halt && !symbol.takes_no_cancel()
                });
                orders
            }
        };
        let remaining = self.cancel_each(stamp, &orders, cancel.reason, effects);
        Ok(Outcome::CanceledAll {
            canceled: u32::try_from(orders.len() - remaining).expect("it is bounded"),
            remaining: remaining as u64,
        })
    }

    /// As many as one command may; how many are left.
    pub(crate) fn cancel_each(
        &mut self,
        stamp: Stamp,
        orders: &[Place],
        reason: CancelReason,
        effects: &mut Effects,
    ) -> usize {
        for (symbol, order_id) in orders.iter().take(CANCELS_MOST) {
            (self.market(*symbol, stamp, effects)).cancel(*order_id, reason);
        }
        orders.len().saturating_sub(CANCELS_MOST)
    }

    /// By order id; those of a symbol that is moving are not to be had.
    pub(crate) fn orders_of_account(&self, account: u64, symbol: Option<SymbolId>) -> Vec<Place> {
        (self.accounts.open_orders(account))
            .filter(|open| symbol.is_none_or(|symbol| symbol == open.symbol))
            .filter(|open| self.listings.symbol(open.symbol).away.is_none())
            .map(|open| (open.symbol, open.order_id))
            .collect()
    }

    /// By symbol name, bids and then asks, as they would trade.
    fn orders_of_symbols(&self, only: Option<SymbolId>) -> Vec<Place> {
        let symbols = self.listings.symbols();
        symbols
            .filter(|symbol| only.is_none_or(|only| only == symbol.id) && symbol.away.is_none())
            .flat_map(|symbol| {
                let sides = [Side::Buy, Side::Sell].into_iter();
                sides.flat_map(move |side| {
                    let orders = symbol.book.orders(side);
                    orders.map(move |order| (symbol.id, order.order_id))
                })
            })
            .collect()
    }

    pub(crate) fn set_kill_switch(
        &mut self,
        stamp: Stamp,
        set: &SetKillSwitch,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        crate::halts::check_reason(&set.reason)?;
        let account = set.account.account();
        if !self.accounts.set_killed(account, set.on) {
            return Ok(());
        }
        let event = EventBody::KillSwitchSet {
            account,
            on: set.on,
            reason: set.reason.clone(),
        };
        effects.happened(None, event);
        if set.on {
            self.kill_orders(account, stamp, effects);
        } else {
            self.accounts.set_dying(account, false);
        }
        Ok(())
    }

    /// As many as one command may; the next Tick goes on.
    pub(crate) fn kill_orders(&mut self, account: u64, stamp: Stamp, effects: &mut Effects) {
        let orders = self.orders_of_account(account, None);
        self.cancel_each(stamp, &orders, CancelReason::KillSwitch, effects);
        let dying = self.accounts.open_orders(account).next().is_some();
        self.accounts.set_dying(account, dying);
    }
}

impl Symbol {
    /// An auction that has its price keeps its orders until it is through.
    pub(crate) fn takes_no_cancel(&self) -> bool {
        self.state == SymbolState::Auction && self.uncrossing_at.is_some()
    }
}

impl Market<'_> {
    fn cancel(&mut self, order_id: u64, reason: CancelReason) -> Order {
        let mut order = (self.symbol.book.remove(order_id)).expect("an open order rests");
        let held = (order.account, self.symbol.asset_held(order.side));
        let units = self.symbol.hold_of(&order);
        order.close(OrderStatus::Canceled, self.time_us);
        self.close_resting(&order);
        reserve(self.accounts, self.effects, held, -units);
        let reason = self.version.tells_cancel_reasons().then_some(reason);
        self.happened(EventBody::OrderCanceled { order, reason });
        self.tell_level(order.side, order.price_ticks);
        order
    }
}
