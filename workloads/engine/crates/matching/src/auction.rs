//! Auctions: orders are collected, and trade at the one price at which most can.

use std::collections::BTreeMap;

use crate::command::Stamp;
use crate::event::{Effects, EventBody};
use crate::kernel::Kernel;
use crate::listings::Symbol;
use crate::matching::{MATCHES_MOST, Market};
use crate::names::SymbolId;
use crate::order::{Order, Side};
use crate::planted::{Bug, planted};
use crate::symbol_state::SymbolState;

/// What an auction would do now: nothing, when it is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indication {
    pub price_ticks: i64,
    pub quantity_lots: i64,
    /// Bids less asks at that price, at or better.
    pub surplus_lots: i64,
}

impl Symbol {
    /// Only a book that crosses has a price.
    pub fn indication(&self) -> Indication {
        let (Some(best_bid), Some(best_ask)) =
            (self.book.best(Side::Buy), self.book.best(Side::Sell))
        else {
            return Indication::default();
        };
        if best_bid < best_ask {
            return Indication::default();
        }
        let candidates = candidates(&self.book, best_ask, best_bid);
        let volume = candidates.iter().map(|at| at.quantity_lots).max();
        let largest = |at: &&Indication| Some(at.quantity_lots) == volume;
        let surplus = (candidates.iter().filter(largest))
            .map(|at| at.surplus_lots.abs())
            .min();
        let mut best = (candidates.iter().filter(largest))
            .filter(|at| Some(at.surplus_lots.abs()) == surplus)
            .copied();
        let first = best.next().expect("a book that crosses has a price");
        self.nearest(first, best)
    }

    /// Of equally good prices, lowest first: by market pressure, then by the reference price.
    fn nearest(&self, lowest: Indication, others: impl Iterator<Item = Indication>) -> Indication {
        let mut best: Vec<_> = vec![lowest];
        best.extend(others);
        let highest = best[best.len() - 1];
        if best.iter().all(|at| at.surplus_lots > 0) {
            let other = planted(Bug::AuctionTakesTheOtherPrice);
            return if other { lowest } else { highest };
        }
        let all_asks = best.iter().all(|at| at.surplus_lots < 0);
        let Some(reference) = self.last_price().filter(|_| !all_asks) else {
            return lowest;
        };
        (best.into_iter())
            .min_by_key(|at| ((at.price_ticks - reference).abs(), -at.price_ticks))
            .expect("there is the lowest")
    }
}

/// Each limit price from the best ask to the best bid, lowest first.
fn candidates(
    book: &crate::order_book::OrderBook<Order>,
    lowest: i64,
    highest: i64,
) -> Vec<Indication> {
    let crossing = |side: Side| -> BTreeMap<i64, i64> {
        (book.levels(side))
            .take_while(|(price, _)| (lowest..=highest).contains(price))
            .collect()
    };
    let (bids, asks) = (crossing(Side::Buy), crossing(Side::Sell));
    let mut prices: Vec<i64> = bids.keys().chain(asks.keys()).copied().collect();
    prices.sort_unstable();
    prices.dedup();
    let mut bids_lots: i64 = bids.values().sum();
    let mut asks_lots = 0;
    let at_price = |price_ticks: i64| {
        asks_lots += asks.get(&price_ticks).unwrap_or(&0);
        let indication = Indication {
            price_ticks,
            quantity_lots: bids_lots.min(asks_lots),
            surplus_lots: bids_lots - asks_lots,
        };
        bids_lots -= bids.get(&price_ticks).unwrap_or(&0);
        indication
    };
    prices.into_iter().map(at_price).collect()
}

impl Kernel {
    /// Tells what an auction would do where that changed.
    pub(crate) fn indicate(&mut self, symbol: SymbolId, effects: &mut Effects) {
        let symbol = self.listings.symbol_mut(symbol);
        if symbol.state != SymbolState::Auction
            || symbol.uncrossing_at.is_some()
            || symbol.has_departed()
        {
            return;
        }
        let indication = symbol.indication();
        if indication != symbol.indicated {
            symbol.indicated = indication;
            let indicated = EventBody::AuctionIndicated(indication);
            effects.happened(Some(symbol.id), indicated);
        }
    }

    /// Ends an auction, or as much of it as one command may trade.
    pub(crate) fn uncross(
        &mut self,
        symbol: SymbolId,
        stamp: Stamp,
        reason: &str,
        effects: &mut Effects,
    ) {
        let mut market = self.market(symbol, stamp, effects);
        let finished = market.trade_at_one_price();
        let touched = std::mem::take(&mut market.touched);
        if finished {
            let symbol = self.listings.symbol_mut(symbol);
            symbol.uncrossing_at = None;
            symbol.set_phase(SymbolState::Trading, None);
            let id = symbol.id;
            self.update_state(id, None, reason, effects);
        }
        let mut market = self.market(symbol, stamp, effects);
        market.touched = touched;
        market.tell_book(Side::Buy);
    }
}

impl Market<'_> {
    /// Whether that is all of it.
    fn trade_at_one_price(&mut self) -> bool {
        let price_ticks = match self.symbol.uncrossing_at {
            Some(price_ticks) => price_ticks,
            None => match self.symbol.indication() {
                Indication {
                    quantity_lots: 0, ..
                } => return true,
                indication => indication.price_ticks,
            },
        };
        self.symbol.uncrossing_at = Some(price_ticks);
        self.symbol.auction_price_ticks = Some(price_ticks);
        for _ in 0..MATCHES_MOST {
            let Some((bid, ask)) = self.next_at(price_ticks) else {
                return true;
            };
            self.pair(&bid, &ask, price_ticks);
        }
        self.next_at(price_ticks).is_none()
    }

    fn next_at(&self, price_ticks: i64) -> Option<(Order, Order)> {
        let book = &self.symbol.book;
        let bid = book
            .front(Side::Buy)
            .filter(|bid| bid.price_ticks >= price_ticks);
        let ask = book
            .front(Side::Sell)
            .filter(|ask| ask.price_ticks <= price_ticks);
        Some((*bid?, *ask?))
    }

    /// The younger order is the taker.
    fn pair(&mut self, bid: &Order, ask: &Order, price_ticks: i64) {
        let (maker, taker) =
            if (bid.order_id < ask.order_id) != planted(Bug::OlderOrderIsTheTakerOfAnAuction) {
                (bid, ask)
            } else {
                (ask, bid)
            };
        let lots = bid.leaves_lots().min(ask.leaves_lots());
        let quote_units = self.symbol.quote_units(price_ticks, lots);
        let time_us = self.time_us;
        self.touch(taker.side, taker.price_ticks);
        let held = self.symbol.hold_of(taker);
        let taker = (self.symbol.book)
            .reduce(taker.order_id, |taker| {
                taker.fill(lots, quote_units, time_us)
            })
            .expect("the taker rests in the book");
        let released = held - self.symbol.hold_of(&taker);
        self.trade(maker.order_id, (&taker, released), price_ticks, lots);
        if taker.leaves_lots() == 0 {
            self.close_resting(&taker);
        }
    }
}
