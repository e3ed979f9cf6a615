//! What is known from events alone, as a ledger and a market data feed know it.

use std::collections::{BTreeMap, BTreeSet};

use openbourse_matching::Kernel;
use openbourse_matching::auction::Indication;
use openbourse_matching::event::{EventBody, Movement, PreventedMatch, Trade, TradeParty};
use openbourse_matching::fees::FeeCharge;
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::AssetName;
use openbourse_matching::order::{
    Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce,
};
use openbourse_matching::symbol_state::SymbolState;

use super::ensure;

#[derive(Clone, Default)]
pub struct Told {
    balances: BTreeMap<(u64, String), (i64, i64)>,
    deposited: BTreeMap<String, i64>,
    /// Still open, in the order in which they came.
    pub orders: Vec<Order>,
    closed_ids: Vec<(u64, String)>,
    /// Bids are true.
    pub levels: BTreeMap<(bool, i64), i64>,
    updates: u64,
    trades: u64,
    pub indicated: Indication,
    pub last_price_ticks: Option<i64>,
    /// As they were before the command: the last price, the best bid and ask.
    pub last_before: Option<i64>,
    pub best_before: (Option<i64>, Option<i64>),
    pub definition: Option<SymbolDefinition>,
    reusing: BTreeSet<u64>,
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
        self.look_at_prices();
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

    pub fn hear(
        &mut self,
        kernel: &Kernel,
        body: &EventBody,
        movements: &[Movement],
    ) -> Result<(), String> {
        self.move_money(kernel, body, movements)?;
        match body {
            EventBody::OrderAccepted(order) => {
                self.check_client_order_id(order)?;
                self.orders.push(*order);
            }
            EventBody::AccountConfigured(of) if of.reuse_client_order_ids => {
                self.reusing.insert(of.account.account());
            }
            EventBody::AccountConfigured(of) => {
                self.reusing.remove(&of.account.account());
            }
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
                ensure!(
                    order.time_in_force != TimeInForce::FillOrKill
                        || order.leaves_lots() == order.quantity_lots,
                    "a FOK order is filled whole or not at all: {order:?}"
                );
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
                self.definition = Some(*definition);
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
            let of_rules = self.auction().price_ticks;
            let ticks = *self.auction_ticks.get_or_insert(of_rules);
            ensure!(
                ticks == trade.price_ticks,
                "an auction trades at {ticks}, not at {}",
                trade.price_ticks
            );
        } else {
            let taker = &self.orders[self.place(trade.taker.order_id)?];
            self.check_bounds(trade, taker.order_type)?;
            let maker = self.orders[self.place(trade.maker.order_id)?];
            ensure!(
                maker.price_ticks == trade.price_ticks,
                "a trade has the resting order's price"
            );
        }
        self.last_price_ticks = Some(trade.price_ticks);
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
        let leaves = |order_id| Ok::<_, String>(self.orders[self.place(order_id)?].leaves_lots());
        let (makers, takers) = (leaves(maker.order_id)?, leaves(taker.order_id)?);
        let lost = match prevented.mode {
            SelfTradePrevention::None => return Err("NONE prevents nothing".into()),
            SelfTradePrevention::ExpireTaker => (0, takers),
            SelfTradePrevention::ExpireMaker => (makers, 0),
            SelfTradePrevention::ExpireBoth => (makers, takers),
            SelfTradePrevention::Decrement | SelfTradePrevention::Transfer => {
                (makers.min(takers), makers.min(takers))
            }
        };
        ensure!(
            (maker.prevented_lots, taker.prevented_lots) == lost,
            "maker and taker lose {lost:?}: {prevented:?}"
        );
        for party in [maker, taker] {
            let at = self.place(party.order_id)?;
            let order = &mut self.orders[at];
            order.prevented_lots += party.prevented_lots;
            if party.prevented_lots > 0 {
                order.updated_at_us = self.time_us;
            }
            self.check_leaves(at, party.leaves_lots)?;
        }
        Ok(())
    }

    /// Sequences are shorter than the 300 seconds.
    fn check_client_order_id(&self, order: &Order) -> Result<(), String> {
        let id = (order.account, order.client_order_id.to_string());
        ensure!(
            self.reusing.contains(&order.account) || !self.closed_ids.contains(&id),
            "{id:?} is that of a closed order"
        );
        let same = |open: &&Order| {
            (open.account, open.client_order_id) == (order.account, order.client_order_id)
        };
        ensure!(
            self.orders.iter().find(same).is_none(),
            "{id:?} is that of an open order"
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
