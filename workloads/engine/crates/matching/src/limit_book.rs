//! One market without accounts and money: limit orders by price and time, fills told as they happen.
//!
//! For whoever wants the order book alone: a simulation, a comparison, a harness. The shard's [`Kernel`](crate::Kernel)
//! has the same book below its rules.
//!
//! ```
//! use openbourse_matching::limit_book::{LimitBook, LimitOrder};
//! use openbourse_matching::order::Side::{Buy, Sell};
//!
//! let mut book = LimitBook::new();
//! let order = |order_id, side, price_ticks, quantity_lots| LimitOrder { order_id, side, price_ticks, quantity_lots };
//! book.place(order(1, Sell, 101, 5), |_| {})?;
//! book.place(order(2, Buy, 99, 3), |_| {})?;
//! assert_eq!((book.best_bid(), book.best_ask()), (Some(99), Some(101)));
//!
//! let mut fills = Vec::new();
//! let placed = book.take(order(3, Buy, 102, 7), |fill| fills.push(fill))?;  // immediate or cancel
//! assert_eq!((placed.executed_lots, fills[0].maker_order_id, fills[0].price_ticks), (5, 1, 101));
//! assert_eq!(book.modify(2, 99, 1, |_| {})?.resting_lots, 1);               // keeps its place
//! assert_eq!((book.depth_lots(Buy, 99), book.cancel(2)), (1, Ok(1)));
//! # Ok::<(), openbourse_matching::limit_book::Refused>(())
//! ```

use std::fmt;

use crate::order::Side;
use crate::order_book::{OrderBook, Resting};

/// Lots of one order, so that no sum of what rests leaves the range of an i64.
pub const QUANTITY_MOST: i64 = i64::MAX >> 32;

#[derive(Clone, Default)]
pub struct LimitBook {
    book: OrderBook<LimitOrder>,
}

/// As it is placed, and as it rests: then `quantity_lots` is what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitOrder {
    /// From 1, no two of the orders that rest have the same.
    pub order_id: u64,
    pub side: Side,
    /// From 1.
    pub price_ticks: i64,
    /// 1 to [`QUANTITY_MOST`].
    pub quantity_lots: i64,
}

/// A trade, always at the price of the order that rested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub maker_order_id: u64,
    pub taker_order_id: u64,
    pub price_ticks: i64,
    pub quantity_lots: i64,
}

/// What became of an order; what neither was executed nor rests has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub executed_lots: i64,
    pub resting_lots: i64,
}

/// It was not done, and the book is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 0, or that of an order that rests.
    OrderId,
    Price,
    Quantity,
    UnknownOrder,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OrderId => out.write_str("order_id: must be from 1, and of no order that rests"),
            Self::Price => out.write_str("price_ticks: must be from 1"),
            Self::Quantity => write!(out, "quantity_lots: must be 1 to {QUANTITY_MOST}"),
            Self::UnknownOrder => out.write_str("no such order rests"),
        }
    }
}

impl std::error::Error for Refused {}

impl LimitBook {
    pub fn new() -> Self {
        Self::default()
    }

    /// A new order that trades what it can and rests with the remainder.
    pub fn place(&mut self, order: LimitOrder, fills: impl FnMut(Fill)) -> Result<Placed, Refused> {
        check(order.price_ticks, order.quantity_lots)?;
        if order.order_id == 0 || self.book.get(order.order_id).is_some() {
            return Err(Refused::OrderId);
        }
        Ok(self.match_and_rest(order, fills))
    }

    /// A new order that trades what it can at once and never rests (immediate or cancel).
    pub fn take(&mut self, order: LimitOrder, fills: impl FnMut(Fill)) -> Result<Placed, Refused> {
        check(order.price_ticks, order.quantity_lots)?;
        Ok(Placed {
            executed_lots: order.quantity_lots - self.sweep(order, fills),
            resting_lots: 0,
        })
    }

    /// Returns the lots that were left.
    pub fn cancel(&mut self, order_id: u64) -> Result<i64, Refused> {
        let order = self.book.remove(order_id).ok_or(Refused::UnknownOrder)?;
        Ok(order.quantity_lots)
    }

    /// Gives an order another price or another quantity to be left of it. Less at the same price keeps its place;
    /// everything else is a cancel and a new order of the same id, which may trade.
    pub fn modify(
        &mut self,
        order_id: u64,
        price_ticks: i64,
        quantity_lots: i64,
        fills: impl FnMut(Fill),
    ) -> Result<Placed, Refused> {
        check(price_ticks, quantity_lots)?;
        let resting = *self.book.get(order_id).ok_or(Refused::UnknownOrder)?;
        if price_ticks == resting.price_ticks && quantity_lots <= resting.quantity_lots {
            (self.book).reduce(order_id, |order| order.quantity_lots = quantity_lots);
            return Ok(Placed {
                executed_lots: 0,
                resting_lots: quantity_lots,
            });
        }
        self.book.remove(order_id);
        let order = LimitOrder {
            price_ticks,
            quantity_lots,
            ..resting
        };
        Ok(self.match_and_rest(order, fills))
    }

    pub fn best_bid(&self) -> Option<i64> {
        self.book.best(Side::Buy)
    }

    pub fn best_ask(&self) -> Option<i64> {
        self.book.best(Side::Sell)
    }

    /// What rests at a price, 0 where nothing does.
    pub fn depth_lots(&self, side: Side, price_ticks: i64) -> i64 {
        self.book.quantity_lots(side, price_ticks)
    }

    /// The resting orders, to be looked at: levels, queues, single orders.
    pub fn resting(&self) -> &OrderBook<LimitOrder> {
        &self.book
    }

    fn match_and_rest(&mut self, order: LimitOrder, fills: impl FnMut(Fill)) -> Placed {
        let resting_lots = match self.book.best(order.side.opposite()) {
            Some(best) if order.reaches(best) => self.sweep(order, fills),
            _ => order.quantity_lots,
        };
        if resting_lots > 0 {
            self.book.rest(LimitOrder {
                quantity_lots: resting_lots,
                ..order
            });
        }
        Placed {
            executed_lots: order.quantity_lots - resting_lots,
            resting_lots,
        }
    }

    /// Trades with the other side, the best price and there the oldest order first; returns what is left.
    fn sweep(&mut self, taker: LimitOrder, mut fills: impl FnMut(Fill)) -> i64 {
        let mut left_lots = taker.quantity_lots;
        while let Some(maker) = self.book.front(taker.side.opposite()) {
            if left_lots == 0 || !taker.reaches(maker.price_ticks) {
                break;
            }
            let fill = Fill {
                maker_order_id: maker.order_id,
                taker_order_id: taker.order_id,
                price_ticks: maker.price_ticks,
                quantity_lots: left_lots.min(maker.quantity_lots),
            };
            left_lots -= fill.quantity_lots;
            self.book.reduce_front(taker.side.opposite(), |maker| {
                maker.quantity_lots -= fill.quantity_lots;
            });
            fills(fill);
        }
        left_lots
    }
}

impl LimitOrder {
    fn reaches(&self, price_ticks: i64) -> bool {
        match self.side {
            Side::Buy => price_ticks <= self.price_ticks,
            Side::Sell => price_ticks >= self.price_ticks,
        }
    }
}

impl Resting for LimitOrder {
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
        self.quantity_lots
    }
}

fn check(price_ticks: i64, quantity_lots: i64) -> Result<(), Refused> {
    if price_ticks < 1 {
        return Err(Refused::Price);
    }
    if !(1..=QUANTITY_MOST).contains(&quantity_lots) {
        return Err(Refused::Quantity);
    }
    Ok(())
}
