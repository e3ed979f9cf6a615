//! An order: the same value in the book, in replies, in events and among the recently closed.

use crate::event::SymbolId;
use crate::names::ClientOrderId;
use crate::order_book::Resting;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Buy,
    Sell,
}

impl Side {
    pub fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeInForce {
    /// What does not match rests in the book.
    GoodTillCancelled,
    /// What does not match expires.
    ImmediateOrCancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    New,
    PartiallyFilled,
    Filled,
    Canceled,
    Expired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The seq of the command that placed it.
    pub order_id: u64,
    pub client_order_id: ClientOrderId,
    pub account: u64,
    pub symbol: SymbolId,
    pub side: Side,
    pub time_in_force: TimeInForce,
    pub price_ticks: i64,
    pub quantity_lots: i64,
    pub executed_lots: i64,
    /// Sum over its trades, in quote min-units.
    pub executed_quote_units: i64,
    pub status: OrderStatus,
    pub created_at_us: i64,
    pub updated_at_us: i64,
}

impl Order {
    pub fn leaves_lots(&self) -> i64 {
        self.quantity_lots - self.executed_lots
    }

    pub(crate) fn fill(&mut self, quantity_lots: i64, quote_units: i64, time_us: i64) {
        self.executed_lots += quantity_lots;
        self.executed_quote_units += quote_units;
        assert!(
            self.executed_lots <= self.quantity_lots,
            "an order was filled beyond its quantity"
        );
        self.status = if self.leaves_lots() == 0 {
            OrderStatus::Filled
        } else {
            OrderStatus::PartiallyFilled
        };
        self.updated_at_us = time_us;
    }

    pub(crate) fn close(&mut self, status: OrderStatus, time_us: i64) {
        self.status = status;
        self.updated_at_us = time_us;
    }
}

impl Resting for Order {
    fn order_id(&self) -> u64 {
        self.order_id
    }

    fn side(&self) -> Side {
        self.side
    }

    fn price_ticks(&self) -> i64 {
        self.price_ticks
    }

    fn leaves_lots(&self) -> i64 {
        self.quantity_lots - self.executed_lots
    }
}
