//! Streams of messages for one order book: around a random walk of the price, deep by a power law.
//!
//! Of the new orders 15 % are immediate or cancel. Of those that rest 20 % are modified once, half of them down in place
//! and half to another price, and 95 % are cancelled in the end: when their time is over, or when the price comes to where
//! they are. The others stay until they trade. An order that traded before is neither modified nor cancelled; which do,
//! the generator learns by driving a book along. The stream is then fixed, whoever is driven with it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use openbourse_matching::limit_book::{LimitBook, LimitOrder};
use openbourse_matching::order::Side;

use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Place(LimitOrder),
    /// Immediate or cancel.
    Take(LimitOrder),
    Cancel {
        order_id: u64,
    },
    Modify {
        order_id: u64,
        price_ticks: i64,
        quantity_lots: i64,
        /// Only less of it: for books that want to be asked for that in another way.
        in_place: bool,
    },
}

/// How the price goes, and how far apart the levels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A tick now and then.
    Quiet,
    /// A tick or two with every eighth order.
    Normal,
    /// Runs of ten thousand ticks, to and fro.
    Swinging,
    /// Normal, but for a tenth of the time, in which the price falls to 60 %.
    Crash,
    /// Normal, but the levels are thousands to millions of ticks apart.
    Sparse,
}

impl Scenario {
    pub const ALL: [Self; 5] = [
        Self::Quiet,
        Self::Normal,
        Self::Swinging,
        Self::Crash,
        Self::Sparse,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Normal => "normal",
            Self::Swinging => "swinging",
            Self::Crash => "crash",
            Self::Sparse => "sparse",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.name() == name)
    }

    /// By how much all distances are larger.
    fn spacing(self) -> u64 {
        if self == Self::Sparse { 1000 } else { 1 }
    }
}

const IMMEDIATE_PERCENT: u64 = 15;
const CANCELLED_PERCENT: u64 = 95;
const MODIFIED_PERCENT: u64 = 20;
/// An order lives for up to 2^17 new orders, most for less.
const LIFETIME_BITS: u64 = 17;
/// Half of the orders are less than twice as far from the price.
const DEPTH_LEAST: u64 = 16;
const DEPTH_MOST: u64 = 1 << 20;
const PRICE_AT_FIRST: u64 = 10_000_000;

/// The same seed gives the same stream.
pub fn generate(scenario: Scenario, orders: u64, seed: u64) -> Vec<Message> {
    let mut generator = Generator {
        scenario,
        random: Random::new(seed),
        price: PRICE_AT_FIRST * scenario.spacing(),
        rising: true,
        book: LimitBook::new(),
        due: BinaryHeap::new(),
        cancelled_in_the_end: BTreeSet::new(),
        messages: Vec::new(),
    };
    for order_id in 1..=orders {
        generator.settle_due(order_id);
        generator.walk(order_id, orders);
        generator.flee();
        generator.new_order(order_id);
    }
    generator.settle_due(u64::MAX);
    generator.messages
}

struct Generator {
    scenario: Scenario,
    random: Random,
    price: u64,
    rising: bool,
    book: LimitBook,
    /// When, the order, and whether it is cancelled or modified then.
    due: BinaryHeap<Reverse<(u64, u64, bool)>>,
    cancelled_in_the_end: BTreeSet<u64>,
    messages: Vec<Message>,
}

impl Generator {
    fn walk(&mut self, at: u64, orders: u64) {
        let random = &mut self.random;
        let crashes = self.scenario == Scenario::Crash && (4..5).contains(&(at * 10 / orders));
        let (step, up) = match self.scenario {
            _ if crashes => (random.below(2 * PRICE_AT_FIRST * 4 / orders + 1), false),
            Scenario::Quiet => (u64::from(random.one_in(64)), random.one_in(2)),
            Scenario::Swinging => {
                if random.one_in(20_000) {
                    self.rising = !self.rising;
                }
                (u64::from(random.one_in(2)), self.rising)
            }
            Scenario::Normal | Scenario::Crash | Scenario::Sparse => {
                let moves = random.one_in(8);
                (u64::from(moves) * (1 + random.below(2)), random.one_in(2))
            }
        };
        let step = step * self.scenario.spacing();
        // Far above any depth: no price reaches 0.
        let least = 2 * DEPTH_MOST * self.scenario.spacing();
        self.price = if up || self.price < least + step {
            self.price + step
        } else {
            self.price - step
        };
    }

    /// Cancels the orders that the price has come to, as far as those that stay let it look.
    fn flee(&mut self) {
        for side in [Side::Buy, Side::Sell] {
            while let Some(front) = self.book.resting().front(side) {
                let reached = match side {
                    Side::Buy => front.price_ticks >= self.price as i64,
                    Side::Sell => front.price_ticks <= self.price as i64,
                };
                let order_id = front.order_id;
                if !reached || !self.cancelled_in_the_end.contains(&order_id) {
                    break;
                }
                self.cancel(order_id);
            }
        }
    }

    fn cancel(&mut self, order_id: u64) {
        self.cancelled_in_the_end.remove(&order_id);
        self.book.cancel(order_id).expect("it rests");
        self.messages.push(Message::Cancel { order_id });
    }

    fn new_order(&mut self, order_id: u64) {
        let side = self.side();
        if self.random.percent(IMMEDIATE_PERCENT) {
            let quantity = 1 + self.random.below(40);
            // Its price lies where the makers are.
            let order = LimitOrder {
                side,
                ..self.order(order_id, side.opposite(), quantity)
            };
            let taken = self.book.take(order, |_| {});
            taken.expect("the stream is well formed");
            self.messages.push(Message::Take(order));
            return;
        }
        let quantity = 1 + self.random.below(100);
        let order = self.order(order_id, side, quantity);
        let placed = self
            .book
            .place(order, |_| {})
            .expect("the stream is well formed");
        self.messages.push(Message::Place(order));
        if placed.resting_lots > 0 {
            self.plan(order_id);
        }
    }

    fn plan(&mut self, order_id: u64) {
        let lifetime = 1 + self.random.log_uniform(LIFETIME_BITS);
        if self.random.percent(MODIFIED_PERCENT) {
            let at = order_id + self.random.below(lifetime);
            self.due.push(Reverse((at, order_id, false)));
        }
        if self.random.percent(CANCELLED_PERCENT) {
            self.due
                .push(Reverse((order_id + lifetime, order_id, true)));
            self.cancelled_in_the_end.insert(order_id);
        }
    }

    fn settle_due(&mut self, now: u64) {
        while let Some(Reverse((at, order_id, cancelled))) = self.due.peek().copied() {
            if at >= now {
                break;
            }
            self.due.pop();
            let Some(resting) = self.book.resting().get(order_id).copied() else {
                continue;
            };
            if cancelled {
                self.cancel(order_id);
            } else {
                self.modify(resting);
            }
        }
    }

    fn modify(&mut self, resting: LimitOrder) {
        let order_id = resting.order_id;
        let changed = if resting.quantity_lots > 1 && self.random.one_in(2) {
            LimitOrder {
                quantity_lots: 1 + self.random.below(resting.quantity_lots as u64 - 1) as i64,
                ..resting
            }
        } else {
            self.order(order_id, resting.side, resting.quantity_lots as u64)
        };
        let (price_ticks, quantity_lots) = (changed.price_ticks, changed.quantity_lots);
        let in_place = price_ticks == resting.price_ticks;
        let modified = self
            .book
            .modify(order_id, price_ticks, quantity_lots, |_| {});
        modified.expect("it rests");
        self.messages.push(Message::Modify {
            order_id,
            price_ticks,
            quantity_lots,
            in_place,
        });
    }

    fn side(&mut self) -> Side {
        if self.random.one_in(2) {
            Side::Buy
        } else {
            Side::Sell
        }
    }

    /// On that side of the price, as deep as the power law says.
    fn order(&mut self, order_id: u64, side: Side, quantity_lots: u64) -> LimitOrder {
        let spacing = self.scenario.spacing();
        let unit = DEPTH_LEAST * spacing;
        let depth =
            self.random.power_law(DEPTH_MOST / DEPTH_LEAST) * unit + self.random.below(unit);
        let price_ticks = match side {
            Side::Buy => self.price - depth,
            Side::Sell => self.price + depth,
        };
        LimitOrder {
            order_id,
            side,
            price_ticks: price_ticks as i64,
            quantity_lots: quantity_lots as i64,
        }
    }
}
