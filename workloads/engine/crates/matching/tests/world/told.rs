//! What is known from events alone, as a ledger and a market data feed know it.

use std::collections::BTreeMap;

use openbourse_matching::Kernel;
use openbourse_matching::auction::Indication;
use openbourse_matching::event::{EventBody, Movement, PreventedMatch, Trade, TradeParty};
use openbourse_matching::fees::FeeCharge;
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::AssetName;
use openbourse_matching::order::{Order, OrderStatus, OrderType, Side};
use openbourse_matching::symbol_state::SymbolState;

use super::ensure;

#[derive(Clone, Default)]
pub struct Told {
    balances: BTreeMap<(u64, String), (i64, i64)>,
    deposited: BTreeMap<String, i64>,
    /// Still open, in the order in which they came.
    pub orders: Vec<Order>,
    closed_ids: Vec<(u64, String)>,
    levels: BTreeMap<(bool, i64), i64>,
    updates: u64,
    trades: u64,
    indicated: Indication,
    /// Each as its fee schedule begins, the first first.
    pub schedules: Vec<SymbolDefinition>,
    time_us: i64,
    /// Of the uncross that this command carries out.
    auction_ticks: Option<i64>,
}

impl Told {
    pub fn command_begins(&mut self, time_us: i64) {
        self.time_us = time_us;
        self.auction_ticks = None;
    }

    pub fn balance(&self, account: u64, asset: AssetName) -> (i64, i64) {
        let balance = self.balances.get(&(account, asset.to_string()));
        balance.copied().unwrap_or_default()
    }

    pub fn deposited(&self, asset: AssetName) -> i64 {
        self.deposited.get(asset.as_str()).copied().unwrap_or(0)
    }

    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// By account and id.
    pub fn closed_ids(&self) -> Vec<(u64, String)> {
        let mut ids = self.closed_ids.clone();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub fn hear(
        &mut self,
        kernel: &Kernel,
        body: &EventBody,
        movements: &[Movement],
    ) -> Result<(), String> {
        self.move_money(kernel, body, movements)?;
        match body {
            EventBody::OrderAccepted(order) => self.orders.push(*order),
            EventBody::OrderAmended {
                order,
                previous_client_order_id,
                ..
            } => {
                let at = self.place(order.order_id)?;
                if order.client_order_id != *previous_client_order_id {
                    (self.closed_ids).push((order.account, previous_client_order_id.to_string()));
                }
                self.orders[at] = *order;
            }
            EventBody::OrderCanceled { order, .. } | EventBody::OrderExpired(order) => {
                // An order by amount may expire when nothing is left of it.
                if let Ok(at) = self.place(order.order_id) {
                    self.close(at);
                }
            }
            EventBody::TradeExecuted(trade) => self.hear_trade(trade)?,
            EventBody::MatchPrevented(prevented) => self.hear_prevented(prevented)?,
            EventBody::BookDelta {
                update_id,
                side,
                price_ticks,
                quantity_lots,
            } => {
                self.updates += 1;
                ensure!(*update_id == self.updates, "updates count from 1");
                let level = (*side == Side::Buy, *price_ticks);
                let before = match quantity_lots {
                    0 => self.levels.remove(&level),
                    lots => self.levels.insert(level, *lots),
                };
                ensure!(
                    before != Some(*quantity_lots),
                    "a delta is a change: {body:?}"
                );
            }
            EventBody::AuctionIndicated(indicated) => {
                ensure!(
                    *indicated != self.indicated,
                    "what was told is not told again"
                );
                self.indicated = *indicated;
            }
            EventBody::SymbolStateChanged { state, .. } if *state == SymbolState::Trading => {
                self.indicated = Indication::default();
            }
            EventBody::SymbolDefined {
                definition,
                fee_schedule,
            } => {
                if *fee_schedule as usize > self.schedules.len() {
                    self.schedules.push(*definition);
                }
            }
            EventBody::FundsCredited(of) => {
                *self.deposited.entry(of.asset.to_string()).or_default() += of.amount;
            }
            EventBody::FundsDebited(of) => {
                *self.deposited.entry(of.asset.to_string()).or_default() -= of.amount;
            }
            _ => {}
        }
        Ok(())
    }

    fn move_money(
        &mut self,
        kernel: &Kernel,
        body: &EventBody,
        movements: &[Movement],
    ) -> Result<(), String> {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for moved in movements {
            let asset = kernel.asset_name(moved.asset).to_string();
            *sums.entry(asset.clone()).or_default() += moved.available_change + moved.hold_change;
            let (available, hold) = self.balances.entry((moved.account, asset)).or_default();
            *available += moved.available_change;
            *hold += moved.hold_change;
        }
        ensure!(
            sums.values().all(|sum| *sum == 0),
            "each event sums to zero: {body:?} moves {movements:?}"
        );
        Ok(())
    }

    fn hear_trade(&mut self, trade: &Trade) -> Result<(), String> {
        self.trades += 1;
        ensure!(trade.trade_id == self.trades, "trades count from 1");
        self.check_first_in_line(trade.maker.order_id, trade.taker_side.opposite())?;
        if trade.auction {
            self.check_first_in_line(trade.taker.order_id, trade.taker_side)?;
            ensure!(
                trade.taker.order_id > trade.maker.order_id,
                "the younger order takes"
            );
            let ticks = *self.auction_ticks.get_or_insert(trade.price_ticks);
            ensure!(ticks == trade.price_ticks, "an auction has one price");
        } else {
            let maker = self.orders[self.place(trade.maker.order_id)?];
            ensure!(
                maker.price_ticks == trade.price_ticks,
                "a trade has the resting order's price"
            );
        }
        for (party, takes) in [(&trade.maker, false), (&trade.taker, true)] {
            self.check_fee(trade, party, takes)?;
            let at = self.place(party.order_id)?;
            let order = &mut self.orders[at];
            order.executed_lots += trade.quantity_lots;
            order.executed_quote_units += trade.quote_units;
            order.status = OrderStatus::PartiallyFilled;
            order.updated_at_us = self.time_us;
            self.check_leaves(at, party.leaves_lots)?;
        }
        Ok(())
    }

    fn hear_prevented(&mut self, prevented: &PreventedMatch) -> Result<(), String> {
        let (maker, taker) = (&prevented.maker, &prevented.taker);
        self.check_first_in_line(maker.order_id, prevented.taker_side.opposite())?;
        for party in [maker, taker] {
            let at = self.place(party.order_id)?;
            let order = &mut self.orders[at];
            order.prevented_lots += party.prevented_lots;
            if party.prevented_lots > 0 {
                order.updated_at_us = self.time_us;
            }
            self.check_leaves(at, party.leaves_lots)?;
        }
        ensure!(
            maker.prevented_lots > 0 || taker.prevented_lots > 0,
            "somebody loses something"
        );
        Ok(())
    }

    fn check_leaves(&mut self, at: usize, leaves_lots: i64) -> Result<(), String> {
        let order = &self.orders[at];
        let left = order.quantity_lots - order.executed_lots - order.prevented_lots;
        ensure!(
            left == leaves_lots && left >= 0,
            "leaves are what is neither executed nor prevented: {left}, {leaves_lots}"
        );
        if left == 0 {
            self.close(at);
        }
        Ok(())
    }

    /// `floor(x * rate / 1,000,000)` of what the party receives, or of the notional.
    fn check_fee(&self, trade: &Trade, party: &TradeParty, takes: bool) -> Result<(), String> {
        let order = &self.orders[self.place(party.order_id)?];
        let schedule = &self.schedules[order.fee_schedule as usize - 1];
        let rate_ppm = if takes {
            schedule.taker_fee_ppm
        } else {
            schedule.maker_fee_ppm
        };
        let in_base = order.side == Side::Buy && schedule.fee_charge != Some(FeeCharge::Quote);
        let charged = if in_base {
            trade.quantity_lots * schedule.lot_units
        } else {
            trade.quote_units
        };
        let fee_units = charged * i64::from(rate_ppm) / 1_000_000;
        ensure!(
            party.fee_units == fee_units,
            "the fee of order {} is {}, by its schedule {fee_units}",
            party.order_id,
            party.fee_units
        );
        Ok(())
    }

    /// Best price, then age; the order that takes is not in line.
    fn check_first_in_line(&self, order_id: u64, side: Side) -> Result<(), String> {
        let in_line = (self.orders.iter())
            .filter(|order| order.side == side && order.order_type != OrderType::Market);
        let first = in_line.min_by_key(|order| match order.side {
            Side::Buy => (-order.price_ticks, order.order_id),
            Side::Sell => (order.price_ticks, order.order_id),
        });
        ensure!(
            first.map(|order| order.order_id) == Some(order_id),
            "order {order_id} trades, {first:?} is first in line"
        );
        Ok(())
    }

    /// Of all prices of the book the one at which most can trade has the smallest surplus.
    pub fn check_indication(&self, state: SymbolState) -> Result<(), String> {
        if state != SymbolState::Auction {
            return Ok(());
        }
        let sum = |bids: bool, within: &dyn Fn(i64) -> bool| -> i64 {
            let levels = self.levels.iter();
            levels
                .filter(|((of_bids, price), _)| *of_bids == bids && within(*price))
                .map(|(_, lots)| lots)
                .sum()
        };
        let at = |price: i64| {
            let bids = sum(true, &|limit| limit >= price);
            let asks = sum(false, &|limit| limit <= price);
            (bids.min(asks), -(bids - asks).abs())
        };
        let best = self.levels.keys().map(|(_, price)| at(*price)).max();
        let best = best.filter(|(volume, _)| *volume > 0).unwrap_or_default();
        let told = (
            self.indicated.quantity_lots,
            -self.indicated.surplus_lots.abs(),
        );
        ensure!(
            told == best,
            "indicated {:?}, best is {best:?}",
            self.indicated
        );
        Ok(())
    }

    pub fn check_levels(&self, levels: BTreeMap<(bool, i64), i64>) -> Result<(), String> {
        ensure!(
            levels == self.levels,
            "the deltas tell the book: {levels:?}, told {:?}",
            self.levels
        );
        Ok(())
    }

    pub fn check_open(&self, mut open: Vec<&Order>) -> Result<(), String> {
        open.sort_by_key(|order| order.order_id);
        ensure!(
            open == self.orders.iter().collect::<Vec<_>>(),
            "the events tell every open order: {open:?}, told {:?}",
            self.orders
        );
        Ok(())
    }

    fn place(&self, order_id: u64) -> Result<usize, String> {
        let place = self
            .orders
            .iter()
            .position(|order| order.order_id == order_id);
        place.ok_or_else(|| format!("order {order_id} is not open"))
    }

    fn close(&mut self, at: usize) {
        let order = self.orders.remove(at);
        (self.closed_ids).push((order.account, order.client_order_id.to_string()));
    }
}
