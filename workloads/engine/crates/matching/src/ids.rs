//! Ids seen lately: those of commands, each with its first answer, and those that clients gave to orders that closed.

use crate::command::CommandId;
use crate::encoding::Chain;
use crate::event::{Fill, OrderOutcome, Outcome, Reply};
use crate::index::{Index, Secret};
use crate::listings::Listings;
use crate::names::{ClientOrderId, SymbolId, SymbolName};
use crate::planted::{Bug, planted};
use crate::record::RecordClosedId;
use crate::stored::{Damage, Input, Stored, fields, write_length};
use crate::version::Version;
use crate::window::Window;
use crate::{state_hash, state_hash_v1};

/// An answer, and of which symbol alone its command was. Before version 3 of none.
#[derive(Clone)]
struct Remembered {
    reply: Reply,
    symbol: Option<SymbolId>,
}

/// A resend older than the window is carried out again, so the window must be longer than any sender's patience.
#[derive(Clone)]
pub(crate) struct RecentCommands {
    secret: Secret,
    replies: Window<Remembered>,
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
            let of = self.replies.get(number);
            of.is_some_and(|of| of.reply.command_id.as_ref() == Some(id))
        });
        Some(&self.replies.get(number?)?.reply)
    }

    /// Where that id is looked for, and the one that makes room for it.
    pub fn foresee(&self, id: &CommandId) {
        self.numbers.foresee(self.hash(id));
        let oldest = self
            .replies
            .oldest()
            .and_then(|(_, oldest)| oldest.reply.command_id);
        if let Some(oldest) = oldest {
            self.numbers.foresee(self.hash(&oldest));
        }
    }

    /// Remembers a first answer; forgets the oldest when there are too many.
    pub fn remember(
        &mut self,
        id: CommandId,
        reply: &Reply,
        symbol: Option<SymbolId>,
        listings: &Listings,
        version: Version,
    ) {
        let symbol = symbol.filter(|_| version.moves_symbols());
        if version.hashes_everything() {
            (self.chain).add(|entry| state_hash_v1::encode_reply(&id, reply, listings, entry));
        } else {
            (self.chain).append(|entry| {
                state_hash::encode_reply(&id, reply, listings, entry);
                if version.moves_symbols() {
                    state_hash::encode_where_from(reply, symbol, listings, entry);
                }
            });
        }
        let copy = self.copy_of(reply);
        self.keep(id, copy, symbol);
        if self.replies.is_over() {
            self.forget_oldest();
        }
    }

    /// An answer that came with a symbol; nothing where its command was answered here.
    pub fn take_over(
        &mut self,
        id: CommandId,
        reply: &Reply,
        symbol: SymbolId,
        listings: &Listings,
        version: Version,
    ) {
        if self.reply(&id).is_none() {
            self.remember(id, reply, Some(symbol), listings, version);
        }
    }

    /// The newest answers to commands of that symbol alone, oldest first.
    pub fn of_symbol(&self, symbol: SymbolId, most: usize) -> Vec<&Reply> {
        let of_symbol = self.replies.iter().filter(|of| of.symbol == Some(symbol));
        let mut newest: Vec<_> = of_symbol.map(|of| &of.reply).collect();
        newest.drain(..newest.len().saturating_sub(most));
        newest
    }

    fn keep(&mut self, id: CommandId, reply: Reply, symbol: Option<SymbolId>) {
        let number = self.replies.push(Remembered { reply, symbol });
        self.numbers.insert(self.hash(&id), number);
    }

    pub fn write(&self, encoding: u32, out: &mut Vec<u8>) {
        self.chain.write(out);
        write_length(self.replies.len(), out);
        for Remembered { reply, symbol } in self.replies.iter() {
            reply.write(out);
            if encoding >= 3 {
                symbol.write(out);
                reply.origin.write(out);
            }
        }
    }

    pub fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        self.chain = Stored::read(from)?;
        for _ in 0..from.length()? {
            let mut reply = Reply::read(from)?;
            let mut symbol = None;
            if from.encoding >= 3 {
                symbol = Stored::read(from)?;
                reply.origin = Stored::read(from)?;
            }
            let id = reply.command_id.ok_or("a reply is to no command")?;
            if self.reply(&id).is_some() {
                return Err("two replies are to one command");
            }
            self.keep(id, reply, symbol);
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
            .reply
            .command_id
            .expect("only replies with an id are remembered");
        self.numbers.remove(self.hash(&id), number);
        let oldest = self.replies.pop_oldest();
        if let Some(Outcome::Order(mut order)) = oldest.map(|oldest| oldest.reply.outcome)
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
            origin: reply.origin.clone(),
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
    RecordClosedId { account, id, closed_at_us }
}

/// With the symbol of its order; before version 3 of none.
#[derive(Clone, Copy)]
struct ClosedClientId {
    of: RecordClosedId,
    symbol: Option<SymbolId>,
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
            self.last
                .foresee(self.hash(oldest.of.account, &oldest.of.id));
        }
    }

    pub fn is_recent(&self, account: u64, id: ClientOrderId, now_us: i64) -> bool {
        let closed = self
            .find(account, id)
            .and_then(|number| self.closed.get(number));
        closed.is_some_and(|closed| !is_over(closed, now_us))
    }

    pub fn remember(
        &mut self,
        account: u64,
        id: ClientOrderId,
        symbol: Option<(SymbolId, SymbolName)>,
        now_us: i64,
    ) {
        let closed_at_us = now_us;
        let of = RecordClosedId {
            account,
            id,
            closed_at_us,
        };
        self.enter(of, symbol, now_us);
    }

    /// One that came with a symbol; nothing where the same id closed here no earlier.
    pub fn take_over(&mut self, of: &RecordClosedId, symbol: (SymbolId, SymbolName), now_us: i64) {
        let here = self.find(of.account, of.id);
        let here = here.and_then(|number| self.closed.get(number));
        if here.is_none_or(|here| here.of.closed_at_us < of.closed_at_us) {
            self.enter(*of, Some(symbol), now_us);
        }
    }

    /// Of that symbol, those closed last that are not over, oldest first.
    pub fn of_symbol(&self, symbol: SymbolId, now_us: i64, most: usize) -> Vec<RecordClosedId> {
        let of_symbol = self.closed.iter().filter(|of| of.symbol == Some(symbol));
        let recent = of_symbol.filter(|closed| !is_over(closed, now_us));
        let mut newest: Vec<_> = recent.map(|closed| closed.of).collect();
        newest.drain(..newest.len().saturating_sub(most));
        newest
    }

    fn enter(&mut self, of: RecordClosedId, symbol: Option<(SymbolId, SymbolName)>, now_us: i64) {
        while (self.closed.oldest()).is_some_and(|(_, oldest)| is_over(oldest, now_us)) {
            self.forget_oldest();
        }
        if !planted(Bug::StateHashIgnoresClosedClientOrderIds) {
            self.chain.append(|entry| {
                entry.u64(of.account);
                entry.text(of.id);
                entry.i64(of.closed_at_us);
                if let Some((_, name)) = symbol {
                    entry.text(name);
                }
            });
        }
        let symbol = symbol.map(|(symbol, _)| symbol);
        self.keep(ClosedClientId { of, symbol });
        if self.closed.is_over() {
            self.forget_oldest();
            self.forgotten_early += 1;
        }
    }

    fn keep(&mut self, closed: ClosedClientId) {
        let RecordClosedId { account, id, .. } = closed.of;
        let before = self.find(account, id);
        let number = self.closed.push(closed);
        let hash = self.hash(account, &id);
        match before {
            Some(before) => self.last.replace(hash, before, number),
            None => self.last.insert(hash, number),
        }
    }

    pub fn write(&self, encoding: u32, out: &mut Vec<u8>) {
        self.chain.write(out);
        self.forgotten_early.write(out);
        write_length(self.closed.len(), out);
        for ClosedClientId { of, symbol } in self.closed.iter() {
            of.write(out);
            if encoding >= 3 {
                symbol.write(out);
            }
        }
    }

    pub fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        self.chain = Stored::read(from)?;
        self.forgotten_early = Stored::read(from)?;
        for _ in 0..from.length()? {
            let of = Stored::read(from)?;
            let symbol = match from.encoding {
                ..3 => None,
                _ => Stored::read(from)?,
            };
            self.keep(ClosedClientId { of, symbol });
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
        let (account, id) = (oldest.of.account, oldest.of.id);
        if self.find(account, id) == Some(number) {
            self.last.remove(self.hash(account, &id), number);
        }
        self.closed.pop_oldest();
    }

    fn find(&self, account: u64, id: ClientOrderId) -> Option<u32> {
        self.last.find(self.hash(account, &id), |number| {
            let closed = self.closed.get(number);
            closed.is_some_and(|closed| closed.of.account == account && closed.of.id == id)
        })
    }

    fn hash(&self, account: u64, id: &ClientOrderId) -> u32 {
        self.secret.hash(id.words(account, 0))
    }
}

fn is_over(closed: &ClosedClientId, now_us: i64) -> bool {
    closed.of.closed_at_us <= now_us - REUSE_AFTER_US
}
