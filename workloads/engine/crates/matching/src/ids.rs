//! Ids seen lately: those of commands, each with its first answer, and those that clients gave to orders that closed.

use crate::command::CommandId;
use crate::encoding::Chain;
use crate::event::{Fill, OrderOutcome, Outcome, Reply};
use crate::index::{Index, Secret};
use crate::listings::Listings;
use crate::names::ClientOrderId;
use crate::planted::{Bug, planted};
use crate::stored::{Damage, Input, Stored, fields, write_length};
use crate::version::Version;
use crate::window::Window;
use crate::{state_hash, state_hash_v1};

/// A resend older than the window is carried out again, so the window must be longer than any sender's patience.
#[derive(Clone)]
pub(crate) struct RecentCommands {
    secret: Secret,
    replies: Window<Reply>,
    numbers: Index,
    /// Kept for their allocations.
    spare_fills: Vec<Vec<Fill>>,
    chain: Chain,
}

impl RecentCommands {
    pub fn new(most: usize, key: u64) -> Self {
        Self {
            secret: Secret::of(key),
            replies: Window::new(most),
            numbers: Index::default(),
            spare_fills: Vec::new(),
            chain: Chain::default(),
        }
    }

    pub fn most(&self) -> usize {
        self.replies.most()
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn chain_mut(&mut self) -> &mut Chain {
        &mut self.chain
    }

    pub fn reply(&self, id: &CommandId) -> Option<&Reply> {
        let number = self.numbers.find(self.hash(id), |number| {
            let reply = self.replies.get(number);
            reply.is_some_and(|reply| reply.command_id.as_ref() == Some(id))
        });
        self.replies.get(number?)
    }

    /// Where that id is looked for, and the one that makes room for it.
    pub fn foresee(&self, id: &CommandId) {
        self.numbers.foresee(self.hash(id));
        let oldest = self
            .replies
            .oldest()
            .and_then(|(_, reply)| reply.command_id);
        if let Some(oldest) = oldest {
            self.numbers.foresee(self.hash(&oldest));
        }
    }

    /// Remembers a first answer; forgets the oldest when there are too many.
    pub fn remember(
        &mut self,
        id: CommandId,
        reply: &Reply,
        listings: &Listings,
        version: Version,
    ) {
        if version.hashes_everything() {
            (self.chain).add(|entry| state_hash_v1::encode_reply(&id, reply, listings, entry));
        } else {
            (self.chain).append(|entry| state_hash::encode_reply(&id, reply, listings, entry));
        }
        let copy = self.copy_of(reply);
        self.keep(id, copy);
        if self.replies.is_over() {
            self.forget_oldest();
        }
    }

    fn keep(&mut self, id: CommandId, reply: Reply) {
        let number = self.replies.push(reply);
        self.numbers.insert(self.hash(&id), number);
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        self.chain.write(out);
        write_length(self.replies.len(), out);
        self.replies.iter().for_each(|reply| reply.write(out));
    }

    pub fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        self.chain = Stored::read(from)?;
        for _ in 0..from.length()? {
            let reply = Reply::read(from)?;
            let id = reply.command_id.ok_or("a reply is to no command")?;
            if self.reply(&id).is_some() {
                return Err("two replies are to one command");
            }
            self.keep(id, reply);
        }
        match self.replies.is_over() {
            true => Err("more commands are remembered than may be"),
            false => Ok(()),
        }
    }

    fn forget_oldest(&mut self) {
        let Some((number, oldest)) = self.replies.oldest() else {
            return;
        };
        let id = oldest
            .command_id
            .expect("only replies with an id are remembered");
        self.numbers.remove(self.hash(&id), number);
        let oldest = self.replies.pop_oldest();
        if let Some(Outcome::Order(mut order)) = oldest.map(|oldest| oldest.outcome)
            && order.fills.capacity() > 0
        {
            order.fills.clear();
            self.spare_fills.push(order.fills);
        }
    }

    fn copy_of(&mut self, reply: &Reply) -> Reply {
        let mut copy = Reply {
            command_id: reply.command_id,
            stamp: reply.stamp,
            outcome: Outcome::Done,
        };
        copy.outcome = match &reply.outcome {
            Outcome::Order(order) if !order.fills.is_empty() => {
                let mut fills = self.spare_fills.pop().unwrap_or_default();
                fills.extend_from_slice(&order.fills);
                Outcome::Order(OrderOutcome {
                    order: order.order,
                    fills,
                })
            }
            other => other.clone(),
        };
        copy
    }

    fn hash(&self, id: &CommandId) -> u32 {
        let (words, _) = id.as_chunks::<4>();
        let word = |at: usize| u32::from_le_bytes(words[at]);
        self.secret.hash([word(0), word(1), word(2), word(3)])
    }
}

/// How long a closed order's client order id may not be used again.
const REUSE_AFTER_US: i64 = 300_000_000;

/// Client order ids of orders that closed lately, each with the time at which it did.
#[derive(Clone)]
pub(crate) struct ClosedClientIds {
    secret: Secret,
    closed: Window<ClosedClientId>,
    /// The one closed last, of those that are the same.
    last: Index,
    forgotten_early: u64,
    chain: Chain,
}

fields! {
    ClosedClientId { account, id, closed_at_us }
}

#[derive(Clone, Copy)]
struct ClosedClientId {
    account: u64,
    id: ClientOrderId,
    closed_at_us: i64,
}

impl ClosedClientIds {
    pub fn new(most: usize, key: u64) -> Self {
        Self {
            secret: Secret::of(key),
            closed: Window::new(most),
            last: Index::default(),
            forgotten_early: 0,
            chain: Chain::default(),
        }
    }

    pub fn most(&self) -> usize {
        self.closed.most()
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn chain_mut(&mut self) -> &mut Chain {
        &mut self.chain
    }

    /// How many had to make room for others before their time.
    pub fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    /// Where that id is looked for, and the one that makes room for it.
    pub fn foresee(&self, account: u64, id: ClientOrderId) {
        self.last.foresee(self.hash(account, &id));
        if let Some((_, oldest)) = self.closed.oldest() {
            self.last.foresee(self.hash(oldest.account, &oldest.id));
        }
    }

    pub fn is_recent(&self, account: u64, id: ClientOrderId, now_us: i64) -> bool {
        let closed = self
            .find(account, id)
            .and_then(|number| self.closed.get(number));
        closed.is_some_and(|closed| !is_over(closed, now_us))
    }

    pub fn remember(&mut self, account: u64, id: ClientOrderId, now_us: i64) {
        while (self.closed.oldest()).is_some_and(|(_, oldest)| is_over(oldest, now_us)) {
            self.forget_oldest();
        }
        if !planted(Bug::StateHashIgnoresClosedClientOrderIds) {
            self.chain.append(|entry| {
                entry.u64(account);
                entry.text(id);
                entry.i64(now_us);
            });
        }
        self.keep(ClosedClientId {
            account,
            id,
            closed_at_us: now_us,
        });
        if self.closed.is_over() {
            self.forget_oldest();
            self.forgotten_early += 1;
        }
    }

    fn keep(&mut self, closed: ClosedClientId) {
        let before = self.find(closed.account, closed.id);
        let number = self.closed.push(closed);
        let hash = self.hash(closed.account, &closed.id);
        match before {
            Some(before) => self.last.replace(hash, before, number),
            None => self.last.insert(hash, number),
        }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        self.chain.write(out);
        self.forgotten_early.write(out);
        write_length(self.closed.len(), out);
        self.closed.iter().for_each(|closed| closed.write(out));
    }

    pub fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        self.chain = Stored::read(from)?;
        self.forgotten_early = Stored::read(from)?;
        for _ in 0..from.length()? {
            self.keep(Stored::read(from)?);
        }
        match self.closed.is_over() {
            true => Err("more client order ids are remembered than may be"),
            false => Ok(()),
        }
    }

    fn forget_oldest(&mut self) {
        let Some((number, oldest)) = self.closed.oldest() else {
            return;
        };
        let (account, id) = (oldest.account, oldest.id);
        if self.find(account, id) == Some(number) {
            self.last.remove(self.hash(account, &id), number);
        }
        self.closed.pop_oldest();
    }

    fn find(&self, account: u64, id: ClientOrderId) -> Option<u32> {
        self.last.find(self.hash(account, &id), |number| {
            let closed = self.closed.get(number);
            closed.is_some_and(|closed| closed.account == account && closed.id == id)
        })
    }

    fn hash(&self, account: u64, id: &ClientOrderId) -> u32 {
        self.secret.hash(id.words(account, 0))
    }
}

fn is_over(closed: &ClosedClientId, now_us: i64) -> bool {
    closed.closed_at_us <= now_us - REUSE_AFTER_US
}
