//! `book SCENARIO [ORDERS]`: drives the order book alone, and prints one line of JSON.

use std::time::Instant;

use openbourse_bench::drive::drive_limit_book;
use openbourse_bench::stream::{Message, generate};
use openbourse_bench::{SEED, arguments};
use openbourse_matching::limit_book::LimitBook;
use openbourse_matching::order::Side;

fn main() {
    let (scenario, orders) = arguments();
    let messages = generate(scenario, orders, SEED);
    let mut book = LimitBook::new();
    let started = Instant::now();
    let outcome = drive_limit_book(&mut book, &messages);
    let took = started.elapsed();

    let count = |of: fn(&Message) -> bool| messages.iter().filter(|message| of(message)).count();
    let resting = book.resting();
    let rest = |side| [resting.len(side), resting.levels(side).count()];
    println!(
        "{{\"scenario\": \"{}\", \"messages\": {}, \"cancels\": {}, \"modifies\": {}, \"immediate\": {}, \"fills\": {}, \
         \"digest\": {}, \"refused\": {}, \"bids_and_levels\": {:?}, \"asks_and_levels\": {:?}, \"ns_per_message\": {:.1}}}",
        scenario.name(),
        messages.len(),
        count(|message| matches!(message, Message::Cancel { .. })),
        count(|message| matches!(message, Message::Modify { .. })),
        count(|message| matches!(message, Message::Take(_))),
        outcome.fills,
        outcome.digest,
        outcome.refused,
        rest(Side::Buy),
        rest(Side::Sell),
        took.as_nanos() as f64 / messages.len() as f64,
    );
}
