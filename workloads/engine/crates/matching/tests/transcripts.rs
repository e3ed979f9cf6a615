//! Golden transcripts: `transcripts/<rule>.txt` has commands, each followed by what it did. To write them anew:
//! `REWRITE_TRANSCRIPTS=1 cargo test -p openbourse-matching --test transcripts`, and read the difference.
//!
//! | line | is |
//! |---|---|
//! | `# words` | kept as it is |
//! | `> asset BTC 4` | a command; its id is its number in the file, its seq too |
//! | `? balances` | a question: `balances`, `depth SYMBOL`, `open ACCOUNT`, `order ACCOUNT SYMBOL ID` |
//! | anything else | what was answered; an event's movements follow it as `[account asset available hold]` |

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use openbourse_matching::command::{
    Body, CancelOrder, Checkpoint, Command, CreditFunds, DefineAsset, ImposeHalt, LiftHalt,
    PlaceOrder, Target,
};
use openbourse_matching::event::{Event, EventBody, Movement, Outcome, Reply, Trade, TradeParty};
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::{
    AssetName, ClientOrderId, HaltName, SymbolName, Trader, TransferId,
};
use openbourse_matching::order::{Order, Side, TimeInForce};
use openbourse_matching::symbol_state::SymbolState;
use openbourse_matching::{Effects, Kernel, Stamp};

#[test]
fn every_transcript_is_what_the_kernel_does() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut differing = Vec::new();
    for file in files {
        let recorded = fs::read_to_string(&file).unwrap();
        let played = play(&recorded);
        if env::var_os("REWRITE_TRANSCRIPTS").is_some() {
            fs::write(&file, &played).unwrap();
        } else if let Some(line) = first_difference(&recorded, &played) {
            differing.push(format!("{}: {line}", file.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn first_difference(recorded: &str, played: &str) -> Option<String> {
    if recorded == played {
        return None;
    }
    let (mut recorded, mut played) = (recorded.lines(), played.lines());
    let mut line = 0;
    loop {
        line += 1;
        let (before, now) = (recorded.next(), played.next());
        if before != now || before.is_none() {
            return Some(format!(
                "line {line}\n  recorded {before:?}\n  now      {now:?}"
            ));
        }
    }
}

struct Stage {
    kernel: Kernel,
    effects: Effects,
    commands: Vec<Command>,
    out: String,
}

fn play(transcript: &str) -> String {
    let mut stage = Stage {
        kernel: Kernel::new("main"),
        effects: Effects::new(),
        commands: Vec::new(),
        out: String::new(),
    };
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            stage.say(line);
            stage.command(command);
        } else if let Some(question) = line.strip_prefix("? ") {
            stage.say(line);
            stage.question(question);
        } else if line.starts_with('#') || line.is_empty() {
            stage.say(line);
        }
    }
    stage.out
}

impl Stage {
    fn say(&mut self, line: &str) {
        writeln!(self.out, "{line}").unwrap();
    }

    fn command(&mut self, text: &str) {
        let number = self.commands.len() as u64 + 1;
        let command = match text.strip_prefix("again ") {
            Some(earlier) => self.commands[earlier.parse::<usize>().unwrap() - 1].clone(),
            None => Command {
                id: Some(u128::from(number).to_be_bytes()),
                body: parse(text),
            },
        };
        let stamp = Stamp {
            seq: number,
            epoch: 1,
            time_us: i64::try_from(number).unwrap() * 1000,
        };
        self.kernel
            .step(stamp, &command, &mut self.effects)
            .unwrap();
        self.commands.push(command);
        let reply = self.reply(self.effects.reply.as_ref().unwrap());
        let events: Vec<_> = self
            .effects
            .events()
            .map(|(event, moved)| self.event(event, moved))
            .collect();
        self.say(&format!("  {reply}"));
        for event in events {
            self.say(&format!("    {event}"));
        }
    }

    fn question(&mut self, text: &str) {
        let words: Vec<_> = text.split(' ').collect();
        let answer: Vec<String> = match words[..] {
            ["balances"] => (self.kernel.accounts())
                .flat_map(|account| {
                    let balances = self.kernel.balances_of(account).into_iter();
                    balances.map(move |(asset, has)| {
                        format!("{account} {asset} {} {}", has.available, has.hold)
                    })
                })
                .collect(),
            ["depth", symbol] => {
                let depth = self
                    .kernel
                    .depth(SymbolName::symbol(symbol).unwrap(), 5000)
                    .unwrap();
                let level = |side: &str, (price, lots)| format!("{side} {price} x {lots}");
                let asks = depth.asks.into_iter().rev().map(|at| level("ask", at));
                asks.chain(depth.bids.into_iter().map(|at| level("bid", at)))
                    .collect()
            }
            ["open", account] => {
                let orders = self
                    .kernel
                    .open_orders(account.parse().unwrap(), None)
                    .unwrap();
                orders.into_iter().map(|order| self.order(order)).collect()
            }
            ["order", account, symbol, id] => {
                let symbol = SymbolName::symbol(symbol).unwrap();
                match self
                    .kernel
                    .order(account.parse().unwrap(), symbol, target(id))
                {
                    Ok(order) => vec![self.order(order)],
                    Err(refusal) => vec![format!("refused {}: {refusal}", refusal.reason())],
                }
            }
            _ => panic!("no such question: {text}"),
        };
        for line in answer {
            self.say(&format!("  {line}"));
        }
    }

    fn reply(&self, reply: &Reply) -> String {
        let seq = reply.stamp.seq;
        match &reply.outcome {
            Outcome::Order { order, fills } => {
                let fills = fills.iter().map(|fill| {
                    let fee_asset = self.kernel.asset_name(fill.fee_asset);
                    format!(
                        ", fill {} {} x {} fee {} {fee_asset}",
                        fill.trade_id, fill.price_ticks, fill.quantity_lots, fill.fee_units
                    )
                });
                format!("{seq}: {}{}", self.order(order), fills.collect::<String>())
            }
            Outcome::Refused(refusal) => format!("{seq}: refused {}: {refusal}", refusal.reason()),
            Outcome::Done => format!("{seq}: done"),
        }
    }

    fn event(&self, event: &Event, movements: &[Movement]) -> String {
        let mut line = match &event.body {
            EventBody::OrderAccepted(order) => format!("accepted {}", self.order(order)),
            EventBody::OrderRejected {
                account,
                client_order_id,
                refusal,
            } => {
                format!("rejected {account} {client_order_id} {}", refusal.reason())
            }
            EventBody::OrderCanceled(order) => format!("canceled {}", self.order(order)),
            EventBody::OrderExpired(order) => format!("expired {}", self.order(order)),
            EventBody::TradeExecuted(trade) => self.trade(trade),
            EventBody::BookDelta {
                update_id,
                side,
                price_ticks,
                quantity_lots,
            } => {
                format!("delta {update_id} {side:?} {price_ticks} x {quantity_lots}")
            }
            EventBody::FundsCredited {
                transfer_id,
                account,
                asset,
                amount,
            } => {
                format!(
                    "credited {transfer_id} {account} {amount} {}",
                    self.kernel.asset_name(*asset)
                )
            }
            EventBody::SymbolStateChanged {
                state,
                previous_state,
                halt,
                reason,
            } => {
                format!("state {previous_state:?} -> {state:?} by {halt}: {reason}")
            }
            // The hash of everything would make every transcript change with each change of its encoding.
            EventBody::EngineCheckpoint { .. } => "checkpoint".into(),
            EventBody::AssetDefined { asset, scale } => format!("asset {asset} {scale}"),
            EventBody::SymbolDefined(definition) => format!("symbol {}", definition.symbol),
        };
        for moved in movements {
            let asset = self.kernel.asset_name(moved.asset);
            let (available, hold) = (moved.available_change, moved.hold_change);
            write!(line, " [{} {asset} {available:+} {hold:+}]", moved.account).unwrap();
        }
        match event.symbol {
            Some(symbol) => format!("{} {line}", self.kernel.symbol_name(symbol)),
            None => line,
        }
    }

    fn trade(&self, trade: &Trade) -> String {
        let party = |party: &TradeParty| {
            let fee_asset = self.kernel.asset_name(party.fee_asset);
            let TradeParty {
                account,
                order_id,
                fee_units,
                leaves_lots,
                ..
            } = party;
            format!("{account} #{order_id} fee {fee_units} {fee_asset} leaves {leaves_lots}")
        };
        format!(
            "trade {} {:?} {} x {} = {}, maker {}, taker {}",
            trade.trade_id,
            trade.taker_side,
            trade.price_ticks,
            trade.quantity_lots,
            trade.quote_units,
            party(&trade.maker),
            party(&trade.taker)
        )
    }

    fn order(&self, order: &Order) -> String {
        format!(
            "#{} {} {:?} {} x {}/{} {:?}",
            order.order_id,
            order.client_order_id,
            order.side,
            order.price_ticks,
            order.executed_lots,
            order.quantity_lots,
            order.status
        )
    }
}

fn parse(text: &str) -> Body {
    let words: Vec<_> = text.split(' ').collect();
    match words[..] {
        ["asset", name, scale] => Body::DefineAsset(DefineAsset {
            asset: asset(name),
            scale: scale.parse().unwrap(),
        }),
        ["symbol", name, base, quote, ..] => Body::DefineSymbol(SymbolDefinition {
            symbol: symbol(name),
            base_asset: asset(base),
            quote_asset: asset(quote),
            tick_units: named(&words, "tick", 1),
            lot_units: named(&words, "lot", 1),
            max_price_ticks: named(&words, "max-price", 1000),
            max_quantity_lots: named(&words, "max-quantity", 1000),
            min_notional_units: named(&words, "min-notional", 0),
            maker_fee_ppm: u32::try_from(named(&words, "maker", 0)).unwrap(),
            taker_fee_ppm: u32::try_from(named(&words, "taker", 0)).unwrap(),
        }),
        ["credit", account, name, amount] => Body::CreditFunds(CreditFunds {
            transfer_id: TransferId::transfer_id("t").unwrap(),
            account: trader(account),
            asset: asset(name),
            amount: amount.parse().unwrap(),
        }),
        [
            "place",
            account,
            name,
            side,
            time_in_force,
            price,
            quantity,
            id,
        ] => Body::PlaceOrder(PlaceOrder {
            account: trader(account),
            symbol: symbol(name),
            side: match side {
                "buy" => Side::Buy,
                "sell" => Side::Sell,
                _ => panic!("no such side: {side}"),
            },
            time_in_force: match time_in_force {
                "gtc" => TimeInForce::GoodTillCancelled,
                "ioc" => TimeInForce::ImmediateOrCancel,
                _ => panic!("no such time in force: {time_in_force}"),
            },
            price_ticks: price.parse().unwrap(),
            quantity_lots: quantity.parse().unwrap(),
            client_order_id: ClientOrderId::client_order_id(id).unwrap(),
        }),
        ["cancel", account, name, id] => Body::CancelOrder(CancelOrder {
            account: trader(account),
            symbol: symbol(name),
            target: target(id),
        }),
        ["halt", name, state, symbols, ref reason @ ..] => Body::ImposeHalt(ImposeHalt {
            halt: HaltName::new(name).unwrap(),
            symbols: match symbols {
                "*" => Vec::new(),
                names => names.split(',').map(symbol).collect(),
            },
            state: match state {
                "halt" => SymbolState::Halt,
                "cancel-only" => SymbolState::CancelOnly,
                "trading" => SymbolState::Trading,
                _ => panic!("no such state: {state}"),
            },
            reason: reason.join(" "),
        }),
        ["lift", name, ref reason @ ..] => Body::LiftHalt(LiftHalt {
            halt: HaltName::new(name).unwrap(),
            reason: reason.join(" "),
        }),
        ["checkpoint"] => Body::Checkpoint(Checkpoint { previous: None }),
        _ => panic!("no such command: {text}"),
    }
}

/// `tick=100` among the words.
fn named(words: &[&str], name: &str, otherwise: i64) -> i64 {
    let value = words
        .iter()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.map_or(otherwise, |value| value.parse().unwrap())
}

fn target(id: &str) -> Target {
    match id.strip_prefix('#') {
        Some(order_id) => Target::OrderId(order_id.parse().unwrap()),
        None => Target::ClientOrderId(ClientOrderId::client_order_id(id).unwrap()),
    }
}

fn trader(account: &str) -> Trader {
    Trader::new(account.parse().unwrap()).unwrap()
}

fn symbol(name: &str) -> SymbolName {
    SymbolName::symbol(name).unwrap()
}

fn asset(name: &str) -> AssetName {
    AssetName::asset(name).unwrap()
}
