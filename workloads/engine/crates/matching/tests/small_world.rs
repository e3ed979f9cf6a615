//! Every sequence of commands in a world so small that all can be tried: two accounts, two prices, two quantities.
//! After each command the book, the money, the holds, the events and a resend are checked from outside.

use std::collections::BTreeMap;

use openbourse_matching::accounts::EXTERNAL_ACCOUNT;
use openbourse_matching::command::{
    Body, CancelOrder, Command, CreditFunds, DefineAsset, PlaceOrder, Target,
};
use openbourse_matching::event::{EventBody, Movement};
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::{AssetName, ClientOrderId, SymbolName, Trader, TransferId};
use openbourse_matching::order::{Order, OrderStatus, Side, TimeInForce};
use openbourse_matching::{Effects, Kernel, Stamp};

const A: u64 = 1000;
const B: u64 = 1001;
const PRICES: [i64; 2] = [10, 11];
const LOT_UNITS: i64 = 7;

#[test]
fn every_sequence_of_five_from_a_small_alphabet_keeps_every_promise() {
    let alphabet = vec![
        place(A, Side::Buy, TimeInForce::GoodTillCancelled, 10, 1),
        place(A, Side::Buy, TimeInForce::GoodTillCancelled, 11, 2),
        place(A, Side::Sell, TimeInForce::GoodTillCancelled, 11, 1),
        place(B, Side::Sell, TimeInForce::GoodTillCancelled, 10, 2),
        place(B, Side::Sell, TimeInForce::GoodTillCancelled, 11, 1),
        place(B, Side::Buy, TimeInForce::GoodTillCancelled, 10, 2),
        place(B, Side::Sell, TimeInForce::ImmediateOrCancel, 10, 2),
        cancel(A),
        cancel(B),
    ];
    assert_eq!(
        World::new().explore(&alphabet, 5),
        9 + 9_usize.pow(2) + 9_usize.pow(3) + 9_usize.pow(4) + 9_usize.pow(5)
    );
}

#[test]
fn every_sequence_of_three_of_all_orders_keeps_every_promise() {
    let mut alphabet = vec![cancel(A), cancel(B)];
    for account in [A, B] {
        for side in [Side::Buy, Side::Sell] {
            for time_in_force in [
                TimeInForce::GoodTillCancelled,
                TimeInForce::ImmediateOrCancel,
            ] {
                for price in PRICES {
                    for quantity in [1, 2] {
                        alphabet.push(place(account, side, time_in_force, price, quantity));
                    }
                }
            }
        }
    }
    assert_eq!(
        World::new().explore(&alphabet, 3),
        34 + 34_usize.pow(2) + 34_usize.pow(3)
    );
}

/// A kernel, and beside it what the events alone say that it must hold.
#[derive(Clone)]
struct World {
    kernel: Kernel,
    told: Told,
    /// What led here, to be played again.
    history: Vec<Command>,
}

/// Known from events alone, as a ledger and a market data feed know it.
#[derive(Clone, Default)]
struct Told {
    balances: BTreeMap<(u64, String), (i64, i64)>,
    /// Still open, in the order in which they came.
    orders: Vec<Order>,
    levels: BTreeMap<(bool, i64), i64>,
    updates: u64,
    trades: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            kernel: Kernel::new("main"),
            told: Told::default(),
            history: Vec::new(),
        };
        let definition = SymbolDefinition {
            symbol: symbol(),
            base_asset: asset("BTC"),
            quote_asset: asset("USDT"),
            tick_units: 1,
            lot_units: LOT_UNITS,
            max_price_ticks: 11,
            max_quantity_lots: 2,
            min_notional_units: 0,
            maker_fee_ppm: 30_000,
            taker_fee_ppm: 100_000,
        };
        let credit = |account, name, amount| {
            Body::CreditFunds(CreditFunds {
                transfer_id: TransferId::transfer_id("t").unwrap(),
                account: trader(account),
                asset: asset(name),
                amount,
            })
        };
        let setup = [
            Body::DefineAsset(DefineAsset {
                asset: asset("BTC"),
                scale: 0,
            }),
            Body::DefineAsset(DefineAsset {
                asset: asset("USDT"),
                scale: 0,
            }),
            Body::DefineSymbol(definition),
            // Enough for most sequences, not for all.
            credit(A, "BTC", 20),
            credit(A, "USDT", 250),
            credit(B, "BTC", 30),
            credit(B, "USDT", 150),
        ];
        for body in setup {
            world.step(&body);
        }
        world
    }

    /// How many sequences there are.
    fn explore(&self, alphabet: &[Body], depth: usize) -> usize {
        if depth == 0 {
            self.check_replay();
            return 0;
        }
        let mut sequences = 0;
        for body in alphabet {
            let mut next = self.clone();
            next.step(body);
            next.check_money();
            next.check_book();
            next.check_resend();
            sequences += 1 + next.explore(alphabet, depth - 1);
        }
        sequences
    }

    fn step(&mut self, body: &Body) {
        let number = self.history.len() as u64 + 1;
        let command = Command {
            id: Some(u128::from(number).to_be_bytes()),
            body: body.clone(),
        };
        let mut effects = Effects::new();
        self.kernel
            .step(stamp(number), &command, &mut effects)
            .unwrap();
        self.history.push(command);
        for (event, movements) in effects.events() {
            self.told.hear(&self.kernel, &event.body, movements);
        }
    }

    fn check_money(&self) {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        let mut balances = BTreeMap::new();
        for account in self.kernel.accounts() {
            for (asset, balance) in self.kernel.balances_of(account) {
                assert!(
                    balance.hold >= 0 && (balance.available >= 0 || account == EXTERNAL_ACCOUNT)
                );
                *sums.entry(asset.to_string()).or_default() += balance.available + balance.hold;
                balances.insert(
                    (account, asset.to_string()),
                    (balance.available, balance.hold),
                );
            }
        }
        assert!(sums.values().all(|sum| *sum == 0), "{sums:?}");
        assert_eq!(
            balances, self.told.balances,
            "the events tell every balance"
        );
        for account in [A, B] {
            let (mut base, mut quote) = (0, 0);
            for order in self.kernel.open_orders(account, None).unwrap() {
                match order.side {
                    Side::Buy => quote += order.price_ticks * order.leaves_lots() * LOT_UNITS,
                    Side::Sell => base += order.leaves_lots() * LOT_UNITS,
                }
            }
            let hold = |asset: &str| {
                balances
                    .get(&(account, asset.into()))
                    .map_or(0, |(_, hold)| *hold)
            };
            assert_eq!(
                (hold("BTC"), hold("USDT")),
                (base, quote),
                "holds are what open orders need"
            );
        }
    }

    fn check_book(&self) {
        let depth = self.kernel.depth(symbol(), 100).unwrap();
        if let (Some((bid, _)), Some((ask, _))) = (depth.bids.first(), depth.asks.first()) {
            assert!(bid < ask, "the book is crossed: {depth:?}");
        }
        let levels = depth
            .bids
            .iter()
            .map(|(price, lots)| ((true, *price), *lots));
        let levels = levels.chain(
            depth
                .asks
                .iter()
                .map(|(price, lots)| ((false, *price), *lots)),
        );
        assert_eq!(
            levels.collect::<BTreeMap<_, _>>(),
            self.told.levels,
            "the deltas tell the book"
        );
        assert_eq!(depth.last_update_id, self.told.updates);
        let mut told: Vec<_> = self.told.orders.clone();
        told.sort_by_key(|order| (order.account, order.order_id));
        let open = [A, B].map(|account| self.kernel.open_orders(account, None).unwrap());
        assert_eq!(
            open.concat(),
            told.iter().collect::<Vec<_>>(),
            "the events tell every open order"
        );
    }

    fn check_resend(&self) {
        let last = self.history.last().unwrap();
        let mut again = self.kernel.clone();
        let mut effects = Effects::new();
        let number = self.history.len() as u64 + 1;
        again.step(stamp(number), last, &mut effects).unwrap();
        assert_eq!(
            again.state_hash(),
            self.kernel.state_hash(),
            "a resend changes nothing"
        );
        assert_eq!(effects.events().count(), 0);
        assert_eq!(
            effects.reply.unwrap().stamp,
            stamp(number - 1),
            "a resend gets its first answer"
        );
    }

    fn check_replay(&self) {
        let mut replayed = Kernel::new("main");
        let mut effects = Effects::new();
        for (number, command) in (1..).zip(&self.history) {
            replayed.step(stamp(number), command, &mut effects).unwrap();
        }
        assert_eq!(replayed.state_hash(), self.kernel.state_hash());
    }
}

impl Told {
    fn hear(&mut self, kernel: &Kernel, body: &EventBody, movements: &[Movement]) {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for moved in movements {
            let asset = kernel.asset_name(moved.asset).to_string();
            *sums.entry(asset.clone()).or_default() += moved.available_change + moved.hold_change;
            let (available, hold) = self.balances.entry((moved.account, asset)).or_default();
            *available += moved.available_change;
            *hold += moved.hold_change;
        }
        assert!(
            sums.values().all(|sum| *sum == 0),
            "{body:?} moves {movements:?}"
        );
        match body {
            EventBody::OrderAccepted(order) => self.orders.push(*order),
            EventBody::OrderCanceled(order) | EventBody::OrderExpired(order) => {
                self.orders.retain(|open| open.order_id != order.order_id);
            }
            EventBody::TradeExecuted(trade) => {
                self.trades += 1;
                assert_eq!(trade.trade_id, self.trades);
                assert_eq!(
                    trade.maker.order_id,
                    self.first_in_line(trade.taker.order_id, trade.taker_side)
                );
                for party in [&trade.maker, &trade.taker] {
                    self.fill(
                        party.order_id,
                        trade.quantity_lots,
                        trade.quote_units,
                        party.leaves_lots,
                    );
                }
            }
            EventBody::BookDelta {
                update_id,
                side,
                price_ticks,
                quantity_lots,
            } => {
                self.updates += 1;
                assert_eq!(*update_id, self.updates);
                let level = (*side == Side::Buy, *price_ticks);
                if *quantity_lots == 0 {
                    assert!(
                        self.levels.remove(&level).is_some(),
                        "a level that was not there is gone"
                    );
                } else {
                    assert_ne!(
                        self.levels.insert(level, *quantity_lots),
                        Some(*quantity_lots),
                        "a delta is a change"
                    );
                }
            }
            _ => {}
        }
    }

    /// Best price, then age.
    fn first_in_line(&self, taker: u64, taker_side: Side) -> u64 {
        let others = self
            .orders
            .iter()
            .filter(|order| order.order_id != taker && order.side != taker_side);
        let first = others.min_by_key(|order| match order.side {
            Side::Buy => (-order.price_ticks, order.order_id),
            Side::Sell => (order.price_ticks, order.order_id),
        });
        first.expect("a trade has a maker").order_id
    }

    fn fill(&mut self, order_id: u64, quantity_lots: i64, quote_units: i64, leaves_lots: i64) {
        let place = self
            .orders
            .iter()
            .position(|order| order.order_id == order_id)
            .unwrap();
        let order = &mut self.orders[place];
        order.executed_lots += quantity_lots;
        order.executed_quote_units += quote_units;
        order.status = OrderStatus::PartiallyFilled;
        order.updated_at_us = 0;
        assert_eq!(order.leaves_lots(), leaves_lots);
        if leaves_lots == 0 {
            self.orders.remove(place);
        }
    }
}

fn stamp(seq: u64) -> Stamp {
    Stamp {
        seq,
        epoch: 1,
        time_us: 0,
    }
}

/// Each account gives all its orders one of two names, so that most sequences meet a duplicate.
fn place(
    account: u64,
    side: Side,
    time_in_force: TimeInForce,
    price_ticks: i64,
    quantity_lots: i64,
) -> Body {
    let id = if quantity_lots == 1 { "one" } else { "two" };
    Body::PlaceOrder(PlaceOrder {
        account: trader(account),
        symbol: symbol(),
        side,
        time_in_force,
        price_ticks,
        quantity_lots,
        client_order_id: ClientOrderId::client_order_id(id).unwrap(),
    })
}

fn cancel(account: u64) -> Body {
    Body::CancelOrder(CancelOrder {
        account: trader(account),
        symbol: symbol(),
        target: Target::ClientOrderId(ClientOrderId::client_order_id("one").unwrap()),
    })
}

fn trader(account: u64) -> Trader {
    Trader::new(account).unwrap()
}

fn symbol() -> SymbolName {
    SymbolName::symbol("BTCUSDT").unwrap()
}

fn asset(name: &str) -> AssetName {
    AssetName::asset(name).unwrap()
}
