//! `peer SCENARIO [ORDERS]`: the same stream through `orderbook-rs`, and one line of JSON.
//!
//! Its trades are told to a listener, the only place where it tells all of them. Everything else is as it comes from
//! `OrderBook::new`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use openbourse_bench::arguments;
use openbourse_bench::drive::Outcome;
use openbourse_bench::stream::{Message, generate};
use openbourse_matching::limit_book::LimitOrder;
use openbourse_matching::order::Side;
use orderbook_rs::{Id, OrderBook, TimeInForce, TradeResult};
use pricelevel::{OrderUpdate, Price, Quantity};

fn main() {
    let (scenario, orders) = arguments();
    let messages = generate(scenario, orders, openbourse_bench::SEED);
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let told = Arc::clone(&outcome);
    let listener = move |result: &TradeResult| {
        let mut outcome = told.lock().unwrap_or_else(PoisonError::into_inner);
        for trade in result.match_result.trades().as_vec() {
            let maker = trade
                .maker_order_id()
                .as_u64()
                .expect("our ids are numbers");
            let price = u64::try_from(trade.price().as_u128()).expect("our prices are small");
            outcome.filled(maker, price, trade.quantity().as_u64());
        }
    };
    let book = OrderBook::<()>::with_trade_listener("PEER", Arc::new(listener));
    let started = Instant::now();
    drive_peer(&book, &messages);
    let took = started.elapsed();
    let outcome = *outcome.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{{\"scenario\": \"{}\", \"messages\": {}, \"fills\": {}, \"digest\": {}, \"ns_per_message\": {:.1}}}",
        scenario.name(),
        messages.len(),
        outcome.fills,
        outcome.digest,
        took.as_nanos() as f64 / messages.len() as f64,
    );
}

/// Never inlined: what callgrind counts begins and ends here.
#[inline(never)]
fn drive_peer(book: &OrderBook<()>, messages: &[Message]) {
    for message in messages {
        match *message {
            Message::Place(order) => place(book, order, TimeInForce::Gtc),
            Message::Take(order) => place(book, order, TimeInForce::Ioc),
            Message::Cancel { order_id } => {
                let cancelled = book.cancel_order(Id::Sequential(order_id));
                assert!(matches!(cancelled, Ok(Some(_))), "{cancelled:?}");
            }
            Message::Modify {
                order_id,
                price_ticks,
                quantity_lots,
                in_place,
            } => {
                let order_id = Id::Sequential(order_id);
                let new_quantity = Quantity::new(quantity_lots as u64);
                let update = if in_place {
                    OrderUpdate::UpdateQuantity {
                        order_id,
                        new_quantity,
                    }
                } else {
                    OrderUpdate::UpdatePriceAndQuantity {
                        order_id,
                        new_price: Price::new(price_ticks as u128),
                        new_quantity,
                    }
                };
                book.update_order(update)
                    .expect("what rests can be changed");
            }
        }
    }
}

fn place(book: &OrderBook<()>, order: LimitOrder, time_in_force: TimeInForce) {
    let side = match order.side {
        Side::Buy => orderbook_rs::Side::Buy,
        Side::Sell => orderbook_rs::Side::Sell,
    };
    let id = Id::Sequential(order.order_id);
    let (price, quantity) = (order.price_ticks as u128, order.quantity_lots as u64);
    // What is left of an immediate order is an error there.
    let _ = book.add_limit_order(id, price, quantity, side, time_in_force, None);
}
