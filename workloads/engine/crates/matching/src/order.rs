//! An order: the same value in the book, in replies, in events and among the recently closed.

use crate::names::{ClientOrderId, SymbolId};
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
    /// Matches at once and in full, or expires.
    FillOrKill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderType {
    Limit,
    Market,
    /// Post-only.
    LimitMaker,
}

/// What happens when an order would trade with one of its own party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTradePrevention {
    None,
    ExpireTaker,
    ExpireMaker,
    ExpireBoth,
    Decrement,
    Transfer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    New,
    PartiallyFilled,
    Filled,
    Canceled,
    Expired,
    /// By self-trade prevention.
    ExpiredInMatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The seq of the command that placed it.
    pub order_id: u64,
    pub client_order_id: ClientOrderId,
    pub account: u64,
    pub symbol: SymbolId,
    pub side: Side,
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    /// 0 of a MARKET order.
    pub price_ticks: i64,
    pub quantity_lots: i64,
    pub executed_lots: i64,
    /// Lost to self-trade prevention.
    pub prevented_lots: i64,
    /// Sum over its trades, in quote min-units.
    pub executed_quote_units: i64,
    /// Of a MARKET order by amount; 0 of others.
    pub quote_units: i64,
    pub status: OrderStatus,
    pub created_at_us: i64,
    pub updated_at_us: i64,
    /// None: the symbol's default.
    pub self_trade_prevention: Option<SelfTradePrevention>,
    /// Numbered from 1; 0 of an order of version 1.
    pub fee_schedule: u32,
}

impl Order {
    pub fn leaves_lots(&self) -> i64 {
        self.quantity_lots - self.executed_lots - self.prevented_lots
    }

    pub(crate) fn is_by_amount(&self) -> bool {
        self.quote_units > 0
    }

    pub(crate) fn fill(&mut self, quantity_lots: i64, quote_units: i64, time_us: i64) {
        self.executed_lots += quantity_lots;
        self.executed_quote_units += quote_units;
        assert!(
            self.leaves_lots() >= 0,
            "an order was filled beyond its quantity"
        );
        self.status = if self.leaves_lots() == 0 {
            OrderStatus::Filled
        } else {
            OrderStatus::PartiallyFilled
        };
        self.updated_at_us = time_us;
    }

    /// Takes lots away; it expires when nothing is left.
    pub(crate) fn prevent(&mut self, quantity_lots: i64, time_us: i64) {
        if quantity_lots == 0 {
            return;
        }
        self.prevented_lots += quantity_lots;
        assert!(self.leaves_lots() >= 0, "an order lost more than it had");
        if self.leaves_lots() == 0 {
            self.status = OrderStatus::ExpiredInMatch;
        }
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
        Order::leaves_lots(self)
    }
}
