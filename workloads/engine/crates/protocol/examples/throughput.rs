//! How many commands a second a shard carries out, with decoding, encoding and the memory of ids: a generated stream
//! of new orders, a part of them IOC, most of the others cancelled later.
//!
//! `cargo run --release -p openbourse-protocol --example throughput`

use std::time::Instant;

use openbourse_protocol::{Shard, Stamp, v1};
use prost::Message;
use v1::command::Body;

const COMMANDS: usize = 500_000;
const ACCOUNTS: u64 = 1_000;

/// Marsaglia's xorshift: a stream that is the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn main() {
    let mut numbers = Numbers(88_172_645_463_325_252);
    let mut stream: Vec<Body> = listings();
    let (mut resting, mut middle) = (Vec::new(), 50_000_u64);
    while stream.len() < COMMANDS {
        middle = middle + numbers.below(3) - 1;
        if resting.len() > 1_000 && numbers.below(100) < 45 {
            let place = numbers.below(resting.len() as u64);
            let (account, client_order_id) = resting.swap_remove(usize::try_from(place).unwrap());
            stream.push(cancel(account, client_order_id));
            continue;
        }
        let account = 1_000 + numbers.below(ACCOUNTS);
        let client_order_id = format!("order-{}", stream.len());
        let buys = numbers.below(2) == 0;
        let away = i64::try_from(numbers.below(40) * numbers.below(40) / 20).unwrap() - 2;
        let middle = i64::try_from(middle).unwrap();
        let immediate = numbers.below(100) < 15;
        if !immediate {
            resting.push((account, client_order_id.clone()));
        }
        stream.push(Body::PlaceOrder(v1::PlaceOrder {
            account,
            symbol: "BTCUSDT".into(),
            side: if buys { v1::Side::Buy } else { v1::Side::Sell }.into(),
            r#type: v1::OrderType::Limit.into(),
            time_in_force: if immediate {
                v1::TimeInForce::Ioc
            } else {
                v1::TimeInForce::Gtc
            }
            .into(),
            price_ticks: if buys { middle - away } else { middle + away },
            quantity_lots: 1 + i64::try_from(numbers.below(20)).unwrap(),
            client_order_id,
            ..Default::default()
        }));
    }
    let commands: Vec<Vec<u8>> = (1_u128..)
        .zip(stream)
        .map(|(number, body)| {
            let command = v1::Command {
                command_id: number
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
                    .to_be_bytes()
                    .to_vec(),
                correlation_id: format!("request-{number}"),
                causation_id: String::new(),
                traceparent: String::new(),
                body: Some(body),
            };
            command.encode_to_vec()
        })
        .collect();

    let mut shard = Shard::new("main");
    let (mut replies, mut events, mut bytes) = (Vec::new(), Vec::new(), 0);
    let begin = Instant::now();
    for (seq, command) in (1..).zip(&commands) {
        let time_us = 1_700_000_000_000_000 + i64::try_from(seq).unwrap();
        let stamp = Stamp {
            seq,
            epoch: 1,
            time_us,
        };
        shard
            .step(stamp, command, &mut replies, &mut events)
            .expect("no checkpoint in it");
        bytes += replies.len() + events.len();
        replies.clear();
        events.clear();
    }
    let seconds = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    let state_hash = shard.state_hash();
    let hash_ms = begin.elapsed().as_secs_f64() * 1_000.0;
    let rate = commands.len() as f64 / seconds;
    println!(
        "{rate:.0} commands/s, {:.2} us each, {bytes} bytes out",
        1e6 / rate
    );
    println!(
        "state hash {:02x}{:02x}{:02x}{:02x} in {hash_ms:.1} ms",
        state_hash[0], state_hash[1], state_hash[2], state_hash[3]
    );
}

fn listings() -> Vec<Body> {
    let asset = |asset: &str| {
        Body::DefineAsset(v1::DefineAsset {
            asset: asset.into(),
            scale: 8,
        })
    };
    let definition = v1::SymbolDefinition {
        symbol: "BTCUSDT".into(),
        base_asset: "BTC".into(),
        quote_asset: "USDT".into(),
        tick_units: 1_000_000,
        lot_units: 1_000,
        max_price_ticks: 1 << 30,
        max_quantity_lots: 1 << 20,
        min_notional_units: 0,
        maker_fee_ppm: 1_000,
        taker_fee_ppm: 1_000,
        ..Default::default()
    };
    let mut bodies = vec![
        asset("BTC"),
        asset("USDT"),
        Body::DefineSymbol(v1::DefineSymbol {
            definition: Some(definition),
        }),
    ];
    for account in 1_000..1_000 + ACCOUNTS {
        for asset in ["BTC", "USDT"] {
            bodies.push(Body::CreditFunds(v1::CreditFunds {
                transfer_id: format!("{account}/{asset}"),
                account,
                asset: asset.into(),
                amount: 1 << 50,
            }));
        }
    }
    bodies
}

fn cancel(account: u64, client_order_id: String) -> Body {
    Body::CancelOrder(v1::CancelOrder {
        account,
        symbol: "BTCUSDT".into(),
        target: Some(v1::cancel_order::Target::ClientOrderId(client_order_id)),
        ..Default::default()
    })
}
