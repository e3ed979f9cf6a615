//! A book driven with a stream, and what came of it: equal for all books that match alike.

use openbourse_matching::limit_book::{Fill, LimitBook};

use crate::stream::Message;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub fills: u64,
    pub lots: u64,
    /// Of makers, prices and lots, in their order.
    pub digest: u64,
    pub refused: u64,
}

impl Outcome {
    pub fn filled(&mut self, maker_order_id: u64, price_ticks: u64, quantity_lots: u64) {
        self.fills += 1;
        self.lots += quantity_lots;
        let fill = maker_order_id ^ price_ticks << 24 ^ quantity_lots << 48;
        self.digest = (self.digest.rotate_left(5) ^ fill).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Never inlined: what callgrind counts begins and ends here.
#[inline(never)]
pub fn drive_limit_book(book: &mut LimitBook, messages: &[Message]) -> Outcome {
    let mut outcome = Outcome::default();
    for message in messages {
        let fills = |fill: Fill| {
            outcome.filled(
                fill.maker_order_id,
                fill.price_ticks as u64,
                fill.quantity_lots as u64,
            );
        };
        let done = match *message {
            Message::Place(order) => book.place(order, fills).is_ok(),
            Message::Take(order) => book.take(order, fills).is_ok(),
            Message::Cancel { order_id } => book.cancel(order_id).is_ok(),
            Message::Modify {
                order_id,
                price_ticks,
                quantity_lots,
                ..
            } => (book.modify(order_id, price_ticks, quantity_lots, fills)).is_ok(),
        };
        outcome.refused += u64::from(!done);
    }
    outcome
}
