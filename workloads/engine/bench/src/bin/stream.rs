//! `stream SCENARIO [ORDERS]`: the stream as text, a message a line, for what is not written in Rust.

use std::io::{BufWriter, Result, Write, stdout};

use openbourse_bench::stream::{Message, generate};
use openbourse_bench::{SEED, arguments};
use openbourse_matching::order::Side;

fn main() -> Result<()> {
    let (scenario, orders) = arguments();
    let mut out = BufWriter::new(stdout().lock());
    for message in generate(scenario, orders, SEED) {
        match message {
            Message::Place(order) | Message::Take(order) => writeln!(
                out,
                "{} {} {} {} {}",
                if matches!(message, Message::Take(_)) {
                    "take"
                } else {
                    "place"
                },
                order.order_id,
                if order.side == Side::Buy {
                    "buy"
                } else {
                    "sell"
                },
                order.price_ticks,
                order.quantity_lots,
            )?,
            Message::Cancel { order_id } => writeln!(out, "cancel {order_id}")?,
            Message::Modify {
                order_id,
                price_ticks,
                quantity_lots,
                ..
            } => writeln!(out, "modify {order_id} {price_ticks} {quantity_lots}")?,
        }
    }
    out.flush()
}
