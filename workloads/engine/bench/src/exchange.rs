//! A shard with many accounts and orders, and commands for it: an order's way through the whole kernel.

use openbourse_matching::bands::PriceBand;
use openbourse_matching::command::{
    Body, CancelOrder, CancelRestriction, Checkpoint, Command, DefineAsset, PlaceOrder, Target,
    Terms, Transfer,
};
use openbourse_matching::event::Outcome;
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::{AssetName, ClientOrderId, SymbolName, Trader, TransferId};
use openbourse_matching::order::{SelfTradePrevention, Side, TimeInForce};
use openbourse_matching::{Effects, Kernel, Stamp};

use crate::random::Random;

const PRICE_TICKS: i64 = 10_000_000;
/// Where those orders rest that are there from the beginning: 100,000 levels a side, behind all that trades.
const FAR_TICKS: u64 = 1_000_000;
const FAR_LEVELS: u64 = 100_000;
/// Half of the orders are less than twice as far from the price.
const DEPTH_LEAST: u64 = 16;
const DEPTH_MOST: u64 = 1 << 16;
const IMMEDIATE_PERCENT: u64 = 10;
const CANCELLED_PERCENT: u64 = 45;
/// An order may be cancelled while at most so many were placed after it.
const LIFETIME_BITS: u64 = 14;

/// Wide enough for all that is placed here: it is there to be checked.
const BAND: PriceBand = PriceBand {
    lowest_ppm: 500_000,
    highest_ppm: 2_000_000,
};

/// A kernel and the stamps of its commands.
pub struct Exchange {
    pub kernel: Kernel,
    pub effects: Effects,
    random: Random,
    accounts: u64,
    /// Of the orders placed near the price, by age: id and account.
    placed: Vec<(u64, u64)>,
}

impl Exchange {
    /// One symbol with fees of 0.1 %, price bands around the average of five minutes and self-trade prevention.
    pub fn new(seed: u64) -> Self {
        let mut exchange = Self {
            kernel: Kernel::new("main"),
            effects: Effects::new(),
            random: Random::new(seed),
            accounts: 0,
            placed: Vec::new(),
        };
        for name in ["BTC", "USDT"] {
            let asset = DefineAsset {
                asset: asset(name),
                scale: 8,
            };
            exchange.done(Body::DefineAsset(asset));
        }
        exchange.done(Body::DefineSymbol(definition()));
        exchange
    }

    /// The next account, with as much of both assets as it will ever need.
    pub fn add_account(&mut self) {
        let account = Trader::FIRST + self.accounts;
        for name in ["BTC", "USDT"] {
            let credit = Transfer {
                transfer_id: TransferId::transfer_id("deposit").expect("it is one"),
                account: trader(account),
                asset: asset(name),
                amount: 1_000_000_000_000,
            };
            self.done(Body::CreditFunds(credit));
        }
        self.accounts += 1;
    }

    /// An order that will not be reached, of one account after another.
    pub fn add_far_order(&mut self) {
        let account = Trader::FIRST + self.kernel.seq() % self.accounts;
        let side = self.side();
        let depth = FAR_TICKS + self.random.below(FAR_LEVELS);
        let order = self.order(
            account,
            side,
            depth as i64,
            TimeInForce::GoodTillCancelled,
            1,
        );
        self.done(order);
    }

    /// Something that happens near the price: a few accounts do most of it.
    pub fn next_command(&mut self) -> Command {
        let body = if self.random.percent(CANCELLED_PERCENT) && !self.placed.is_empty() {
            let age = self.random.log_uniform(LIFETIME_BITS) as usize;
            let at = self.placed.len().saturating_sub(age);
            let (order_id, account) = self.placed[at];
            Body::CancelOrder(CancelOrder {
                account: trader(account),
                symbol: symbol(),
                target: Target::OrderId(order_id),
                restriction: CancelRestriction::Any,
            })
        } else {
            let account = Trader::FIRST + self.random.log_uniform(19) % self.accounts;
            let depth = self.random.power_law(DEPTH_MOST / DEPTH_LEAST) * DEPTH_LEAST;
            let (side, lots) = (self.side(), 1 + self.random.below(100));
            if self.random.percent(IMMEDIATE_PERCENT) {
                let depth = -(depth as i64);
                self.order(account, side, depth, TimeInForce::ImmediateOrCancel, lots)
            } else {
                self.placed.push((self.kernel.seq() + 1, account));
                let depth = depth + self.random.below(DEPTH_LEAST);
                let rests = TimeInForce::GoodTillCancelled;
                self.order(account, side, depth as i64, rests, lots)
            }
        };
        self.command(body)
    }

    /// It compares nothing with the one before.
    pub fn checkpoint(&mut self) -> Command {
        self.command(Body::Checkpoint(Checkpoint { previous: None }))
    }

    pub fn step(&mut self, command: &Command) {
        let seq = self.kernel.seq() + 1;
        let stamp = Stamp {
            seq,
            epoch: 1,
            time_us: 1_700_000_000_000_000 + seq as i64,
        };
        let stepped = self.kernel.step(stamp, command, &mut self.effects);
        stepped.expect("nothing diverges here");
    }

    /// The same, never inlined: what callgrind counts begins and ends here.
    #[inline(never)]
    pub fn step_measured(&mut self, command: &Command) {
        self.step(command);
    }

    fn done(&mut self, body: Body) {
        let command = self.command(body);
        self.step(&command);
        let reply = self
            .effects
            .reply
            .as_ref()
            .expect("every command is answered");
        assert!(!matches!(reply.outcome, Outcome::Refused(_)), "{reply:?}");
    }

    /// With an id as a sender would draw it.
    fn command(&mut self, body: Body) -> Command {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.random.draw().to_le_bytes());
        id[8..].copy_from_slice(&self.random.draw().to_le_bytes());
        Command { id: Some(id), body }
    }

    fn order(
        &mut self,
        account: u64,
        side: Side,
        depth: i64,
        time_in_force: TimeInForce,
        lots: u64,
    ) -> Body {
        let id = format!("x-{:020}", self.kernel.seq() + 1);
        Body::PlaceOrder(PlaceOrder {
            account: trader(account),
            symbol: symbol(),
            side,
            terms: Terms::Limit {
                price_ticks: match side {
                    Side::Buy => PRICE_TICKS - depth,
                    Side::Sell => PRICE_TICKS + depth,
                },
                quantity_lots: lots as i64,
                time_in_force,
            },
            self_trade_prevention: None,
            client_order_id: ClientOrderId::client_order_id(&id).expect("it is one"),
        })
    }

    fn side(&mut self) -> Side {
        if self.random.one_in(2) {
            Side::Buy
        } else {
            Side::Sell
        }
    }
}

fn definition() -> SymbolDefinition {
    let names = (symbol(), asset("BTC"), asset("USDT"));
    SymbolDefinition {
        self_trade_prevention: Some(SelfTradePrevention::ExpireMaker),
        average_minutes: 5,
        bid_band: BAND,
        ask_band: BAND,
        ..SymbolDefinition::plain(names, 10_000, 10_000, 1 << 30, 1 << 20, 1, 1000, 1000)
    }
}

fn symbol() -> SymbolName {
    SymbolName::symbol("BTCUSDT").expect("it is one")
}

fn asset(name: &str) -> AssetName {
    AssetName::asset(name).expect("it is one")
}

fn trader(account: u64) -> Trader {
    Trader::new(account).expect("it is one")
}
