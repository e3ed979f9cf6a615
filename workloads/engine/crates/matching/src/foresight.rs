//! What a command will look at, looked at early and all at once.
//!
//! Accounts, orders and ids lie in tables that are far larger than the caches, and where each is found is known from the
//! command alone. Looked for one after another, each look would wait for memory by itself; here none waits for the one
//! before. Nothing is decided or changed, and no result depends on it.

use std::hint::black_box;

use crate::command::{Body, CancelOrder, CommandId, PlaceOrder, Target, Terms};
use crate::kernel::Kernel;
use crate::matching::crosses;
use crate::names::{ClientOrderId, SymbolName};
use crate::order::Order;

/// Few orders trade with more.
const MAKERS_MOST: usize = 4;

impl Kernel {
    pub(crate) fn foresee(&self, id: &CommandId, body: &Body) {
        self.recent.foresee(id);
        match body {
            Body::PlaceOrder(place) => self.foresee_new(place),
            Body::CancelOrder(cancel) => self.foresee_cancel(cancel),
            Body::AmendOrder(amend) => {
                self.foresee_open(amend.account.account(), amend.symbol, amend.target);
            }
            Body::ReplaceOrder(replace) => {
                self.foresee_cancel(&replace.cancel);
                self.foresee_new(&replace.place);
            }
            _ => {}
        }
    }

    /// With the orders at the best price, if it would trade there.
    fn foresee_new(&self, place: &PlaceOrder) {
        self.foresee_ids(place.account.account(), place.client_order_id);
        let Ok(symbol) = self.listings.symbol_id(place.symbol) else {
            return;
        };
        let reaches = |maker: &Order| match place.terms {
            Terms::Limit { price_ticks, .. } => crosses(place.side, price_ticks, maker.price_ticks),
            Terms::LimitMaker { .. } => false,
            Terms::MarketByLots { .. } | Terms::MarketByAmount { .. } => true,
        };
        let book = &self.listings.symbol(symbol).book;
        let side = place.side.opposite();
        if book.front(side).is_some_and(reaches) {
            let makers = book.first_queue(side).take(MAKERS_MOST);
            makers.for_each(|maker| self.foresee_close(maker));
        }
    }

    fn foresee_cancel(&self, cancel: &CancelOrder) {
        self.foresee_open(cancel.account.account(), cancel.symbol, cancel.target);
    }

    fn foresee_open(&self, account: u64, symbol: SymbolName, target: Target) {
        match target {
            Target::ClientOrderId(id) => self.foresee_ids(account, id),
            Target::OrderId(order_id) => {
                self.accounts.foresee(account);
                let Ok(symbol) = self.listings.symbol_id(symbol) else {
                    return;
                };
                if let Some(order) = self.listings.symbol(symbol).book.foresee(order_id) {
                    self.foresee_close(order);
                }
            }
        }
    }

    fn foresee_close(&self, order: &Order) {
        self.foresee_ids(order.account, order.client_order_id);
        (self.closed).foresee(order.account, order.symbol, order.client_order_id);
    }

    fn foresee_ids(&self, account: u64, id: ClientOrderId) {
        self.accounts.foresee_id(account, id);
        self.closed_ids.foresee(account, id);
        self.accounts.foresee(account);
    }
}

/// Reads a value for nothing but that it is in the cache from now on.
pub(crate) fn look_at<T>(value: T) {
    black_box(value);
}
