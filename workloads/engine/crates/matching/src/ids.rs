//! Command ids seen lately, each with its first answer.

use std::collections::VecDeque;

use crate::command::CommandId;
use crate::event::{Outcome, Reply};
use crate::index::Index;
use crate::listings::Listings;
use crate::state_hash::{Chain, Encoding};

/// A resend older than the window is carried out again, so the window must be longer than any sender's patience.
#[derive(Clone)]
pub(crate) struct RecentCommands {
    most: usize,
    /// How many were forgotten: the number of the first that is still here.
    forgotten: u64,
    replies: VecDeque<Reply>,
    numbers: Index<CommandId, u64>,
    chain: Chain,
}

impl RecentCommands {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            forgotten: 0,
            replies: VecDeque::new(),
            numbers: Index::default(),
            chain: Chain::default(),
        }
    }

    pub fn most(&self) -> usize {
        self.most
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn reply(&self, id: &CommandId) -> Option<&Reply> {
        let place = usize::try_from(self.numbers.get(id)? - self.forgotten).ok()?;
        self.replies.get(place)
    }

    /// Remembers a first answer; forgets the oldest when there are too many.
    pub fn remember(&mut self, id: CommandId, reply: Reply, listings: &Listings) {
        self.chain
            .add(|encoding| encode(&id, &reply, listings, encoding));
        let number = self.forgotten + self.replies.len() as u64;
        let before = self.numbers.insert(id, number);
        assert_eq!(before, None, "a command id was answered twice");
        self.replies.push_back(reply);
        if self.replies.len() > self.most {
            let oldest = self.replies.pop_front();
            let oldest = oldest.and_then(|reply| reply.command_id);
            self.numbers
                .remove(&oldest.expect("only replies with an id are remembered"));
            self.forgotten += 1;
        }
    }
}

fn encode(id: &CommandId, reply: &Reply, listings: &Listings, encoding: &mut Encoding) {
    encoding.bytes(id);
    encoding.u64(reply.stamp.seq);
    encoding.u64(reply.stamp.epoch);
    encoding.i64(reply.stamp.time_us);
    match &reply.outcome {
        Outcome::Order { order, fills } => {
            encoding.u8(1);
            encoding.order(
                order,
                listings.symbol(order.symbol).definition.symbol.as_str(),
            );
            encoding.count(fills.len());
            for fill in fills {
                encoding.u64(fill.trade_id);
                encoding.i64(fill.price_ticks);
                encoding.i64(fill.quantity_lots);
                encoding.i64(fill.quote_units);
                encoding.i64(fill.fee_units);
                encoding.text(listings.asset(fill.fee_asset).asset.as_str());
            }
        }
        Outcome::Refused(refusal) => {
            encoding.u8(2);
            encoding.u32(refusal.reason());
            encoding.text(&refusal.to_string());
        }
        Outcome::Done => encoding.u8(3),
    }
}
