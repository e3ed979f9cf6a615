//! Ids seen lately: those of commands, each with its first answer, and those that clients gave to orders that closed.

use std::collections::{BTreeMap, VecDeque};

use crate::command::CommandId;
use crate::encoding::Chain;
use crate::event::{Outcome, Reply};
use crate::index::Index;
use crate::listings::Listings;
use crate::names::ClientOrderId;
use crate::state_hash_v1;
use crate::version::Version;

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
    pub fn remember(
        &mut self,
        id: CommandId,
        reply: Reply,
        listings: &Listings,
        version: Version,
    ) {
        if version.hashes_everything() {
            (self.chain).add(|entry| state_hash_v1::encode_reply(&id, &reply, listings, entry));
        } else {
            self.chain.append(|entry| {
                entry.bytes(&id);
                entry.u64(reply.stamp.seq);
                entry.u32(match &reply.outcome {
                    Outcome::Refused(refusal) => refusal.reason(),
                    _ => 0,
                });
            });
        }
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

/// How long a closed order's client order id may not be used again.
const REUSE_AFTER_US: i64 = 300_000_000;

/// Client order ids of orders that closed lately, each with the time at which it did.
#[derive(Clone)]
pub(crate) struct ClosedClientIds {
    most: usize,
    /// The number of the first that is still here.
    first: u64,
    closed: VecDeque<ClosedClientId>,
    /// The one closed last, of those that are the same.
    last: BTreeMap<(u64, ClientOrderId), u64>,
    forgotten_early: u64,
}

#[derive(Clone, Copy)]
struct ClosedClientId {
    account: u64,
    id: ClientOrderId,
    closed_at_us: i64,
}

impl ClosedClientIds {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            first: 0,
            closed: VecDeque::new(),
            last: BTreeMap::new(),
            forgotten_early: 0,
        }
    }

    pub fn most(&self) -> usize {
        self.most
    }

    /// How many had to make room for others before their time.
    pub fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    pub fn is_recent(&self, account: u64, id: ClientOrderId, now_us: i64) -> bool {
        let number = self.last.get(&(account, id));
        let closed = number.and_then(|number| {
            let place = usize::try_from(number - self.first).ok()?;
            self.closed.get(place)
        });
        closed.is_some_and(|closed| !is_over(closed, now_us))
    }

    pub fn remember(&mut self, account: u64, id: ClientOrderId, now_us: i64) {
        while self.closed.front().is_some_and(|oldest| is_over(oldest, now_us)) {
            self.forget_oldest();
        }
        let number = self.first + self.closed.len() as u64;
        self.last.insert((account, id), number);
        self.closed.push_back(ClosedClientId {
            account,
            id,
            closed_at_us: now_us,
        });
        if self.closed.len() > self.most {
            self.forget_oldest();
            self.forgotten_early += 1;
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.closed.pop_front() else {
            return;
        };
        let key = (oldest.account, oldest.id);
        if self.last.get(&key) == Some(&self.first) {
            self.last.remove(&key);
        }
        self.first += 1;
    }
}

fn is_over(closed: &ClosedClientId, now_us: i64) -> bool {
    closed.closed_at_us <= now_us - REUSE_AFTER_US
}
