//! Worlds so small that every sequence of commands can be tried. After each command the book, the money, the holds, the
//! events and a resend are checked from outside, with what the rules say and nothing of the kernel's own reckoning.

pub mod alphabets;
mod auction;
mod bounds;
mod reserved;
mod told;
pub mod wild;

use std::collections::{BTreeMap, HashMap};

use openbourse_matching::accounts::EXTERNAL_ACCOUNT;
use openbourse_matching::command::{Command, Target};
use openbourse_matching::event::{EventBody, Movement, Outcome, Reply};
use openbourse_matching::names::HaltName;
use openbourse_matching::order::Order;
use openbourse_matching::symbol_state::{Halt, SymbolState};
use openbourse_matching::{Effects, Kernel, Stamp};

use crate::script::parse;
use told::Told;

/// An `Err` that says what is not as it must be.
macro_rules! ensure {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(format!($($what)*));
        }
    };
}
pub(crate) use ensure;

/// Commands, in the language of the transcripts.
pub struct Alphabet {
    pub name: &'static str,
    pub setup: &'static [&'static str],
    pub letters: &'static [&'static str],
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Explored {
    pub commands: usize,
    /// Different ones, of each length of sequence.
    pub states: Vec<usize>,
}

/// What is wrong, and what led there.
#[derive(Debug)]
pub struct Broken {
    pub what: String,
    pub commands: Vec<String>,
}

/// Every sequence of up to so many commands; the first that breaks a promise ends it.
pub fn explore(alphabet: &Alphabet, length: usize) -> Result<Explored, Broken> {
    let mut world = World::new();
    for command in alphabet.setup {
        world.step(command)?;
    }
    let mut explored = Explored {
        commands: 0,
        states: vec![0; length],
    };
    let mut seen: Vec<_> = (0..length).map(|_| Seen::default()).collect();
    world.explore(alphabet.letters, &mut seen, &mut explored)?;
    Ok(explored)
}

/// A kernel, and beside it what the events alone say that it must hold.
#[derive(Clone)]
struct World {
    kernel: Kernel,
    told: Told,
    commands: Vec<String>,
    /// To each of the commands.
    replies: Vec<Reply>,
    /// But command ids.
    state_hash: [u8; 32],
}

/// Of the longest sequences one in so many is played again from the beginning.
const REPLAYED: usize = 16;

/// The states that sequences of one length lead to: equal hashes must be equal states.
#[derive(Default)]
struct Seen {
    /// By the hash but command ids, what comes of each letter there. Deeper sequences are tried behind the first one only.
    futures: HashMap<[u8; 32], Vec<Done>>,
    /// By the hash, what a resend of each command gets.
    replies: HashMap<[u8; 32], Vec<Reply>>,
}

/// What a command did, and how the shard answers afterwards.
#[derive(Debug, PartialEq)]
struct Done {
    reply: Reply,
    events: Vec<(EventBody, Vec<Movement>)>,
    state_hash: [u8; 32],
    /// By id, open and closed ones.
    orders: Vec<Order>,
    next_due_us: Option<i64>,
    halts: Vec<(HaltName, Halt)>,
}

impl World {
    fn new() -> Self {
        let mut kernel = Kernel::new("main");
        Self {
            state_hash: kernel.state_hash_but_command_ids(),
            kernel,
            told: Told::default(),
            commands: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// What comes of each letter; nothing at the end of the longest sequences.
    fn explore(
        &mut self,
        letters: &[&str],
        seen: &mut [Seen],
        explored: &mut Explored,
    ) -> Result<Vec<Done>, Broken> {
        let Some((here, deeper)) = seen.split_first_mut() else {
            if explored.commands.is_multiple_of(REPLAYED) {
                self.check(Self::check_replay)?;
            }
            return Ok(Vec::new());
        };
        let mut futures = Vec::new();
        for letter in letters {
            let mut next = self.clone();
            futures.push(next.step(letter)?);
            explored.commands += 1;
            if let Some(future) = here.futures.get(&next.state_hash) {
                next.check_future(letters, future)?;
            } else {
                let depth = explored.states.len() - deeper.len() - 1;
                explored.states[depth] += 1;
                let future = next.explore(letters, deeper, explored)?;
                here.futures.insert(next.state_hash, future);
            }
            let replies = here.replies.entry(next.kernel.state_hash());
            let same = *replies.or_insert_with(|| next.replies.clone()) == next.replies;
            next.check(|_| {
                ensure!(same, "two states of one hash answer resends alike");
                Ok(())
            })?;
        }
        Ok(futures)
    }

    /// The same comes of each letter as where the hash was seen first.
    fn check_future(&mut self, letters: &[&str], future: &[Done]) -> Result<(), Broken> {
        for (letter, first) in letters.iter().zip(future) {
            let done = carry_out(&mut self.kernel.clone(), letter, &mut Effects::new());
            self.check(|_| {
                ensure!(
                    done == *first,
                    "two states of one hash go on alike, also with {letter}: {done:?} is not {first:?}"
                );
                Ok(())
            })?;
        }
        Ok(())
    }

    fn step(&mut self, text: &str) -> Result<Done, Broken> {
        let before = self.state_hash;
        self.commands.push(text.into());
        (self.told).command_begins(stamp(self.commands.len() as u64).time_us);
        let mut effects = Effects::new();
        let done = carry_out(&mut self.kernel, text, &mut effects);
        let heard = (effects.events())
            .try_for_each(|(event, moved)| self.told.hear(&self.kernel, &event.body, moved));
        self.state_hash = done.state_hash;
        self.replies.push(done.reply.clone());
        let refused = matches!(done.reply.outcome, Outcome::Refused(_)).then_some(before);
        self.check(|world| {
            heard?;
            world.check_refusal(refused)?;
            world.check_money()?;
            world.check_holds()?;
            world.check_book()?;
            world.told.check_indication(world.state())?;
            world.check_resend()
        })?;
        Ok(done)
    }

    fn check(&mut self, check: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), Broken> {
        check(self).map_err(|what| Broken {
            what,
            commands: self.commands.clone(),
        })
    }

    fn state(&self) -> SymbolState {
        let listing = self.kernel.symbols().next();
        listing.map_or(SymbolState::Trading, |listing| listing.state)
    }

    fn check_refusal(&self, before: Option<[u8; 32]>) -> Result<(), String> {
        ensure!(
            before.is_none_or(|before| before == self.state_hash),
            "a refused command changes nothing but the memory of its id"
        );
        Ok(())
    }

    fn check_money(&self) -> Result<(), String> {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for account in self.kernel.accounts() {
            for (asset, has) in self.kernel.balances_of(account) {
                ensure!(
                    has.hold >= 0 && (has.available >= 0 || account == EXTERNAL_ACCOUNT),
                    "no balance is negative: {account} {asset} {has:?}"
                );
                *sums.entry(asset.to_string()).or_default() += has.available + has.hold;
                ensure!(
                    self.told.balance(account, asset) == (has.available, has.hold),
                    "the events tell every balance: {account} {asset} {has:?}"
                );
            }
        }
        ensure!(
            sums.values().all(|sum| *sum == 0),
            "every asset sums to zero: {sums:?}"
        );
        for total in self.kernel.totals() {
            let told = self.told.deposited(total.asset);
            ensure!(
                (total.available + total.hold, total.deposited) == (told, told),
                "what there is came in by deposits: {total:?}"
            );
        }
        Ok(())
    }

    fn check_holds(&self) -> Result<(), String> {
        for account in self.kernel.accounts() {
            let reserved = self.told.reserved(account);
            for (asset, has) in self.kernel.balances_of(account) {
                let needed = reserved.get(asset.as_str()).copied().unwrap_or(0);
                ensure!(
                    has.hold == needed,
                    "open orders of {account} reserve {needed} {asset}, its hold is {}",
                    has.hold
                );
            }
        }
        Ok(())
    }

    fn check_book(&self) -> Result<(), String> {
        for listing in self.kernel.symbols() {
            let depth = self.kernel.depth(listing.definition.symbol, 100).unwrap();
            if let (Some((bid, _)), Some((ask, _))) = (depth.bids.first(), depth.asks.first()) {
                ensure!(
                    bid < ask || listing.state != SymbolState::Trading,
                    "the book is crossed: {depth:?}"
                );
            }
            let bids = depth
                .bids
                .iter()
                .map(|(price, lots)| ((true, *price), *lots));
            let asks = depth
                .asks
                .iter()
                .map(|(price, lots)| ((false, *price), *lots));
            self.told.check_levels(bids.chain(asks).collect())?;
            ensure!(
                depth.last_update_id == self.told.updates(),
                "the last delta is that of the book"
            );
        }
        let accounts = self.kernel.accounts();
        let open = accounts.flat_map(|account| self.kernel.open_orders(account, None).unwrap());
        self.told.check_open(open.collect())
    }

    fn check_resend(&mut self) -> Result<(), String> {
        let number = self.commands.len() as u64;
        let last = self.commands.last().expect("a command came");
        let mut again = self.kernel.clone();
        let mut effects = Effects::new();
        (again.step(stamp(number + 1), &command(number, last), &mut effects)).unwrap();
        ensure!(
            again.state_hash() == self.kernel.state_hash() && effects.events().count() == 0,
            "a resend changes nothing"
        );
        ensure!(
            effects.reply.as_ref() == self.replies.last(),
            "a resend gets its first answer"
        );
        Ok(())
    }

    fn check_replay(&mut self) -> Result<(), String> {
        let mut replayed = Kernel::new("main");
        let mut effects = Effects::new();
        for (number, text) in (1..).zip(&self.commands) {
            (replayed.step(stamp(number), &command(number, text), &mut effects)).unwrap();
        }
        ensure!(
            replayed.state_hash() == self.kernel.state_hash(),
            "a replay comes to the same state"
        );
        Ok(())
    }
}

/// Each command comes a second after the one before.
fn carry_out(kernel: &mut Kernel, text: &str, effects: &mut Effects) -> Done {
    let number = kernel.seq() + 1;
    (kernel.step(stamp(number), &command(number, text), effects)).unwrap();
    let events = effects.events();
    Done {
        reply: effects.reply.clone().expect("every command is answered"),
        events: events
            .map(|(event, moved)| (event.body.clone(), moved.to_vec()))
            .collect(),
        state_hash: kernel.state_hash_but_command_ids(),
        orders: every_order(kernel),
        next_due_us: kernel.next_due_us(),
        halts: (kernel.halts())
            .map(|(name, halt)| (name.clone(), halt.clone()))
            .collect(),
    }
}

/// What the shard tells of every order that there ever was.
fn every_order(kernel: &Kernel) -> Vec<Order> {
    let Some(listing) = kernel.symbols().next() else {
        return Vec::new();
    };
    let accounts: Vec<u64> = kernel.accounts().collect();
    let asked =
        (1..=kernel.seq()).flat_map(|id| accounts.iter().map(move |account| (*account, id)));
    let told = asked.filter_map(|(account, id)| {
        let target = Target::OrderId(id);
        kernel
            .order(account, listing.definition.symbol, target)
            .ok()
    });
    told.copied().collect()
}

fn command(number: u64, text: &str) -> Command {
    Command {
        id: Some(u128::from(number).to_be_bytes()),
        body: parse::command(text),
    }
}

fn stamp(seq: u64) -> Stamp {
    Stamp {
        seq,
        epoch: 1,
        time_us: seq.cast_signed() * 1_000_000,
    }
}
