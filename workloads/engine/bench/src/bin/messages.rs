//! `messages [COMMANDS]`: what it costs to decode a command and to encode its reply and its events, the kernel between them
//! left out. Prints one line of JSON.

use std::time::Instant;

use openbourse_bench::exchange::Exchange;
use openbourse_bench::{SEED, quantile};
use openbourse_matching::command::{Body, Command, Target, Terms};
use openbourse_matching::order::{Side, TimeInForce};
use openbourse_protocol::{Decoded, Version, v1};
use prost::Message;

const ACCOUNTS: u64 = 10_000;
/// Without orders in the book none would trade.
const COMMANDS_BEFORE: u64 = 50_000;

fn main() {
    let commands = std::env::args().nth(1).map_or(500_000, |commands| {
        commands.parse().expect("the argument is a number")
    });
    let mut exchange = Exchange::new(SEED);
    (0..ACCOUNTS).for_each(|_| exchange.add_account());
    for _ in 0..COMMANDS_BEFORE {
        let command = exchange.next_command();
        exchange.step(&command);
    }
    let (mut decoding, mut encoding) = (Vec::new(), Vec::new());
    let (mut reply, mut events) = (Vec::new(), Vec::new());
    let (mut in_bytes, mut out_bytes) = (0, 0);
    for _ in 0..commands {
        let command = exchange.next_command();
        let bytes = message(&command).encode_to_vec();
        let started = Instant::now();
        let decoded = decode_measured(&bytes);
        decoding.push(started.elapsed().as_nanos() as u64);
        assert!(decoded.command == command, "it means something else");
        exchange.step(&decoded.command);
        reply.clear();
        events.clear();
        let started = Instant::now();
        encode_measured(&decoded, &exchange, &mut reply, &mut events);
        encoding.push(started.elapsed().as_nanos() as u64);
        in_bytes += bytes.len();
        out_bytes += reply.len() + events.len();
    }
    println!(
        "{{\"messages\": {commands}, \"decode_ns\": {}, \"encode_ns\": {}, \"decoded_bytes\": {:.1}, \"encoded_bytes\": {:.1}}}",
        quantile(&mut decoding, 500),
        quantile(&mut encoding, 500),
        in_bytes as f64 / commands as f64,
        out_bytes as f64 / commands as f64,
    );
}

/// Never inlined: what callgrind counts begins and ends here.
#[inline(never)]
fn decode_measured(bytes: &[u8]) -> Decoded {
    Decoded::of(bytes, Version::LATEST)
}

/// Never inlined, as above.
#[inline(never)]
fn encode_measured(
    decoded: &Decoded,
    exchange: &Exchange,
    reply: &mut Vec<u8>,
    events: &mut Vec<u8>,
) {
    decoded.encode(&exchange.kernel, &exchange.effects, reply, events);
}

/// As a gateway sends it, with an id of its request.
fn message(command: &Command) -> v1::Command {
    let body = match &command.body {
        Body::PlaceOrder(place) => {
            let Terms::Limit {
                price_ticks,
                quantity_lots,
                time_in_force,
            } = place.terms
            else {
                panic!("only limit orders are placed here");
            };
            v1::command::Body::PlaceOrder(v1::PlaceOrder {
                account: place.account.account(),
                symbol: place.symbol.to_string(),
                side: match place.side {
                    Side::Buy => v1::Side::Buy.into(),
                    Side::Sell => v1::Side::Sell.into(),
                },
                r#type: v1::OrderType::Limit.into(),
                time_in_force: match time_in_force {
                    TimeInForce::GoodTillCancelled => v1::TimeInForce::Gtc.into(),
                    TimeInForce::ImmediateOrCancel => v1::TimeInForce::Ioc.into(),
                    TimeInForce::FillOrKill => v1::TimeInForce::Fok.into(),
                },
                price_ticks,
                quantity_lots,
                client_order_id: place.client_order_id.to_string(),
                ..Default::default()
            })
        }
        Body::CancelOrder(cancel) => {
            let Target::OrderId(order_id) = cancel.target else {
                panic!("orders are cancelled by their id here");
            };
            v1::command::Body::CancelOrder(v1::CancelOrder {
                account: cancel.account.account(),
                symbol: cancel.symbol.to_string(),
                target: Some(v1::cancel_order::Target::OrderId(order_id)),
                ..Default::default()
            })
        }
        other => panic!("nobody sends that here: {other:?}"),
    };
    v1::Command {
        command_id: command.id.map(Vec::from).unwrap_or_default(),
        correlation_id: "0123456789abcdef".into(),
        body: Some(body),
        ..Default::default()
    }
}
