//! All that a symbol is, as it goes from one shard to another: what it trades by, its book, and what is remembered of it.
//!
//! In a record the symbol has the number 0, its base asset 0 and its quote asset 1, whatever they have in a shard.

use crate::bands::Minute;
use crate::command::CommandId;
use crate::encoding::{Encoding, charge_number, state_number};
use crate::event::{Fill, OrderOutcome, Origin, Outcome, Replacement, Reply};
use crate::fees::FeeSchedule;
use crate::listings::SymbolDefinition;
use crate::names::{
    AssetId, AssetName, ClientOrderId, Names, ShardName, SymbolId, SymbolName, Trader,
};
use crate::order::{Order, OrderStatus, OrderType, Side, TimeInForce};
use crate::refusal::Refusal;
use crate::state_hash::{encode_definition, encode_reply};
use crate::symbol_state::SymbolState;

/// Open orders that a symbol may have when it moves.
pub const ORDERS_MOST: usize = 50_000;
/// Answers to commands that go with it: the newest.
pub const REPLIES_MOST: usize = 20_000;
/// Closed client order ids that go with it: those closed last.
pub const CLOSED_IDS_MOST: usize = 100_000;

/// Of one part. A reply is whole, however many fills it has.
const ORDERS_OF_PART: usize = 2_000;
const IDS_OF_PART: usize = 5_000;
const REPLIES_OF_PART: usize = 1_000;
const FILLS_OF_PART: usize = 10_000;

/// The whole, or a part of it: then the lists have what the part has of them, and the parts before the first list are
/// there in the first part only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolRecord {
    /// In every first part.
    pub terms: Option<Box<RecordTerms>>,
    /// Bids and then asks, each as they would trade.
    pub orders: Vec<Order>,
    /// Oldest first.
    pub closed_ids: Vec<RecordClosedId>,
    /// By account, those of the symbol first.
    pub countdowns: Vec<RecordCountdown>,
    /// Oldest first.
    pub replies: Vec<RecordReply>,
}

/// All of a symbol that is no list without a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordTerms {
    pub definition: SymbolDefinition,
    pub base_scale: u32,
    pub quote_scale: u32,
    pub phase: SymbolState,
    pub phase_ends_us: Option<i64>,
    pub trades: u64,
    pub prevented_matches: u64,
    pub updates: u64,
    pub last_price_ticks: Option<i64>,
    pub auction_price_ticks: Option<i64>,
    pub minutes: Vec<RecordMinute>,
    pub fee_schedules: Vec<FeeSchedule>,
    /// That the shard could have given until it froze the symbol.
    pub last_order_id: u64,
}

/// The trades of one minute: sums of price x lots and of lots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMinute {
    pub number: i64,
    pub price_lots: u128,
    pub lots: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordClosedId {
    pub account: u64,
    pub id: ClientOrderId,
    pub closed_at_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCountdown {
    pub account: u64,
    /// Of all symbols, of an account that has orders in this one.
    pub of_all_symbols: bool,
    pub guard: bool,
    pub end_us: i64,
}

/// An answer, and the shard that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordReply {
    pub command_id: CommandId,
    pub shard: ShardName,
    /// Without an id and an origin of its own.
    pub reply: Reply,
}

impl From<&Minute> for RecordMinute {
    fn from(of: &Minute) -> Self {
        Self {
            number: of.number,
            price_lots: of.price_lots,
            lots: of.lots,
        }
    }
}

impl From<&RecordMinute> for Minute {
    fn from(of: &RecordMinute) -> Self {
        Self {
            number: of.number,
            price_lots: of.price_lots,
            lots: of.lots,
        }
    }
}

/// What the numbers in a record stand for.
impl Names for SymbolDefinition {
    fn symbol_of(&self, _: SymbolId) -> SymbolName {
        self.symbol
    }

    fn asset_of(&self, asset: AssetId) -> AssetName {
        if asset == AssetId::BASE_OF_A_RECORD {
            self.base_asset
        } else {
            self.quote_asset
        }
    }
}

impl SymbolRecord {
    /// How many parts the whole has: the terms with nothing else, and then each list in pieces.
    pub fn parts(&self) -> usize {
        self.cuts().len()
    }

    /// From 0. None: there is no such part.
    pub fn part(&self, number: usize) -> Option<Self> {
        let mut part = Self::default();
        match self.cuts().get(number)? {
            Cut::Terms => part.terms.clone_from(&self.terms),
            Cut::Orders(from, to) => part.orders = self.orders[*from..*to].to_vec(),
            Cut::ClosedIds(from, to) => part.closed_ids = self.closed_ids[*from..*to].to_vec(),
            Cut::Countdowns(from, to) => part.countdowns = self.countdowns[*from..*to].to_vec(),
            Cut::Replies(from, to) => part.replies = self.replies[*from..*to].to_vec(),
        }
        Some(part)
    }

    /// Adds the next part.
    pub fn append(&mut self, part: Self) {
        self.terms = self.terms.take().or(part.terms);
        self.orders.extend(part.orders);
        self.closed_ids.extend(part.closed_ids);
        self.countdowns.extend(part.countdowns);
        self.replies.extend(part.replies);
    }

    fn cuts(&self) -> Vec<Cut> {
        let mut cuts = vec![Cut::Terms];
        let pieces = |length: usize, most: usize, cut: fn(usize, usize) -> Cut| {
            (0..length)
                .step_by(most)
                .map(move |from| cut(from, length.min(from + most)))
        };
        cuts.extend(pieces(self.orders.len(), ORDERS_OF_PART, Cut::Orders));
        cuts.extend(pieces(self.closed_ids.len(), IDS_OF_PART, Cut::ClosedIds));
        cuts.extend(pieces(self.countdowns.len(), IDS_OF_PART, Cut::Countdowns));
        let (mut from, mut fills) = (0, 0);
        for (at, of) in self.replies.iter().enumerate() {
            let more = fills_of(&of.reply.outcome);
            if at > from && (at - from == REPLIES_OF_PART || fills + more > FILLS_OF_PART) {
                cuts.push(Cut::Replies(from, at));
                (from, fills) = (at, 0);
            }
            fills += more;
        }
        if from < self.replies.len() {
            cuts.push(Cut::Replies(from, self.replies.len()));
        }
        cuts
    }

    /// Over the whole, or as much of it as is there.
    pub fn digest(&self) -> [u8; 32] {
        let mut encoding = Encoding::default();
        encoding.text("openbourse.symbol.v1");
        self.encode(&mut encoding);
        encoding.digest()
    }

    fn encode(&self, encoding: &mut Encoding) {
        let Some(terms) = &self.terms else {
            return;
        };
        terms.encode(encoding);
        encoding.count(self.orders.len());
        for order in &self.orders {
            encoding.order(order, terms.definition.symbol);
        }
        encoding.count(self.closed_ids.len());
        for of in &self.closed_ids {
            encoding.u64(of.account);
            encoding.text(of.id);
            encoding.i64(of.closed_at_us);
        }
        encoding.count(self.countdowns.len());
        for of in &self.countdowns {
            encoding.u64(of.account);
            encoding.u8(of.of_all_symbols.into());
            encoding.u8(of.guard.into());
            encoding.i64(of.end_us);
        }
        encoding.count(self.replies.len());
        for of in &self.replies {
            encode_reply(&of.command_id, &of.reply, &terms.definition, encoding);
            encoding.text(of.shard);
        }
    }
}

impl RecordTerms {
    fn encode(&self, encoding: &mut Encoding) {
        encode_definition(&self.definition, encoding);
        encoding.u32(self.base_scale);
        encoding.u32(self.quote_scale);
        encoding.u8(state_number(self.phase));
        encoding.i64_or_0(self.phase_ends_us);
        encoding.u64(self.trades);
        encoding.u64(self.prevented_matches);
        encoding.u64(self.updates);
        encoding.i64_or_0(self.last_price_ticks);
        encoding.i64_or_0(self.auction_price_ticks);
        encoding.count(self.minutes.len());
        for minute in &self.minutes {
            encoding.i64(minute.number);
            encoding.u128(minute.price_lots);
            encoding.u128(minute.lots);
        }
        encoding.count(self.fee_schedules.len());
        for schedule in &self.fee_schedules {
            encoding.u32(schedule.maker_ppm);
            encoding.u32(schedule.taker_ppm);
            encoding.u8(charge_number(Some(schedule.charge)));
        }
        encoding.u64(self.last_order_id);
    }
}

enum Cut {
    Terms,
    Orders(usize, usize),
    ClosedIds(usize, usize),
    Countdowns(usize, usize),
    Replies(usize, usize),
}

fn fills_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Order(order) => order.fills.len(),
        Outcome::Replaced(both) => both.place.as_ref().map_or(0, |placed| placed.fills.len()),
        _ => 0,
    }
}

/// Into other numbers: of symbols one, of assets each by what it is.
#[derive(Clone, Copy)]
pub(crate) struct Renumbered {
    pub symbol: SymbolId,
    /// The numbers of base and quote before, and now.
    pub before: [AssetId; 2],
    pub now: [AssetId; 2],
}

impl Renumbered {
    pub fn order(&self, order: &Order) -> Order {
        Order {
            symbol: self.symbol,
            ..*order
        }
    }

    /// A refusal as it is told, since what it is about may be unknown elsewhere.
    pub fn reply(&self, reply: &Reply, origin: Option<Box<Origin>>) -> Reply {
        Reply {
            command_id: reply.command_id,
            stamp: reply.stamp,
            outcome: self.outcome(&reply.outcome),
            origin,
        }
    }

    fn outcome(&self, outcome: &Outcome) -> Outcome {
        match outcome {
            Outcome::Order(made) => Outcome::Order(self.made(made)),
            Outcome::Replaced(both) => Outcome::Replaced(Box::new(Replacement {
                cancel: (both.cancel.as_ref()).map_or_else(
                    |refusal| Err(told(refusal)),
                    |canceled| Ok(self.order(canceled)),
                ),
                place: (both.place.as_ref())
                    .map_or_else(|refusal| Err(told(refusal)), |placed| Ok(self.made(placed))),
            })),
            Outcome::Refused(refusal) => Outcome::Refused(told(refusal)),
            other => other.clone(),
        }
    }

    fn made(&self, made: &OrderOutcome) -> OrderOutcome {
        let fill = |fill: &Fill| Fill {
            fee_asset: if fill.fee_asset == self.before[0] {
                self.now[0]
            } else {
                self.now[1]
            },
            ..*fill
        };
        OrderOutcome {
            order: self.order(&made.order),
            fills: made.fills.iter().map(fill).collect(),
        }
    }
}

fn told(refusal: &Refusal) -> Refusal {
    Refusal::Told {
        reason: refusal.reason(),
        detail: refusal.to_string().into(),
    }
}

/// Whether the orders could rest like that: prices, quantities and schedules in range, each side as it would trade, no
/// id twice, and no sum out of range. What they hold of base and quote together, in min-units.
pub(crate) fn check_orders(
    terms: &RecordTerms,
    orders: &[Order],
    units_per_tick_lot: i64,
) -> Result<[i64; 2], &'static str> {
    let mut held = [0_i64; 2];
    let mut last: Option<&Order> = None;
    let mut lots = 0_i64;
    let mut ids = std::collections::BTreeSet::new();
    let mut names = std::collections::BTreeSet::new();
    for order in orders {
        let left = (order.quantity_lots.checked_sub(order.executed_lots))
            .and_then(|left| left.checked_sub(order.prevented_lots))
            .filter(|left| *left >= 1 && order.executed_lots >= 0 && order.prevented_lots >= 0)
            .ok_or("record: an order has no quantity")?;
        let rests = order.time_in_force == TimeInForce::GoodTillCancelled
            && matches!(order.order_type, OrderType::Limit | OrderType::LimitMaker)
            && matches!(
                order.status,
                OrderStatus::New | OrderStatus::PartiallyFilled
            );
        if !rests || order.account < Trader::FIRST {
            return Err("record: an order is none that rests");
        }
        if order.price_ticks < 1 || order.order_id == 0 || order.order_id > terms.last_order_id {
            return Err("record: an order has no price, or an id that was not given");
        }
        if !(1..=terms.fee_schedules.len()).contains(&(order.fee_schedule as usize)) {
            return Err("record: an order has no fee schedule");
        }
        if !ids.insert(order.order_id) || !names.insert((order.account, order.client_order_id)) {
            return Err("record: two orders have one id");
        }
        let in_order = last.is_none_or(|last| match (last.side, order.side) {
            (Side::Buy, Side::Sell) => true,
            (Side::Sell, Side::Buy) => false,
            (Side::Buy, Side::Buy) => {
                (-last.price_ticks, last.order_id) < (-order.price_ticks, order.order_id)
            }
            (Side::Sell, Side::Sell) => {
                (last.price_ticks, last.order_id) < (order.price_ticks, order.order_id)
            }
        });
        if !in_order {
            return Err("record: the orders are not as they would trade");
        }
        last = Some(order);
        lots = lots.checked_add(left).ok_or(OUT_OF_RANGE)?;
        let base = left
            .checked_mul(terms.definition.lot_units)
            .ok_or(OUT_OF_RANGE)?;
        let notional = (order.price_ticks.checked_mul(left))
            .and_then(|tick_lots| tick_lots.checked_mul(units_per_tick_lot))
            .ok_or(OUT_OF_RANGE)?;
        // As in `Symbol::hold_of`; a fee is at most a tenth.
        let schedule = terms.fee_schedules[order.fee_schedule as usize - 1];
        let (at, units) = match order.side {
            Side::Sell => (0, base),
            Side::Buy => (1, schedule.held_with_fee(notional).ok_or(OUT_OF_RANGE)?),
        };
        held[at] = held[at].checked_add(units).ok_or(OUT_OF_RANGE)?;
    }
    Ok(held)
}

const OUT_OF_RANGE: &str = "record: a sum leaves the range of a signed 64-bit integer";
