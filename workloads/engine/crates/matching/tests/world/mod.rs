//! Worlds so small that every sequence of commands can be tried. After each command the book, the money, the holds, the
//! events and a resend are checked from outside, with what the rules say and nothing of the kernel's own reckoning.

pub mod alphabets;
mod auction;
mod bounds;
mod reserved;
mod told;
pub mod wild;

use std::collections::{BTreeMap, HashSet};

use openbourse_matching::accounts::EXTERNAL_ACCOUNT;
use openbourse_matching::command::Command;
use openbourse_matching::event::Outcome;
use openbourse_matching::symbol_state::SymbolState;
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
    /// Different ones, of each length of sequence. What follows equal states is tried once.
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
    let mut seen = vec![HashSet::new(); length];
    world.explore(alphabet.letters, &mut seen, &mut explored)?;
    Ok(explored)
}

/// A kernel, and beside it what the events alone say that it must hold.
#[derive(Clone)]
struct World {
    kernel: Kernel,
    told: Told,
    commands: Vec<String>,
    /// But command ids.
    state_hash: [u8; 32],
}

/// Of the longest sequences one in so many is played again from the beginning.
const REPLAYED: usize = 16;

/// Equal ones have the same future. Which client order ids closed is not in the hash.
type State = ([u8; 32], Vec<(u64, String)>);

impl World {
    fn new() -> Self {
        let mut kernel = Kernel::new("main");
        Self {
            state_hash: kernel.state_hash_but_command_ids(),
            kernel,
            told: Told::default(),
            commands: Vec::new(),
        }
    }

    fn explore(
        &mut self,
        letters: &[&str],
        seen: &mut [HashSet<State>],
        explored: &mut Explored,
    ) -> Result<(), Broken> {
        let Some((here, deeper)) = seen.split_first_mut() else {
            return if explored.commands.is_multiple_of(REPLAYED) {
                self.check(Self::check_replay)
            } else {
                Ok(())
            };
        };
        for letter in letters {
            let mut next = self.clone();
            next.step(letter)?;
            explored.commands += 1;
            let state = (next.state_hash, next.told.closed_ids());
            if here.insert(state) {
                let depth = explored.states.len() - deeper.len() - 1;
                explored.states[depth] += 1;
                next.explore(letters, deeper, explored)?;
            }
        }
        Ok(())
    }

    /// Each command comes a second after the one before.
    fn step(&mut self, text: &str) -> Result<(), Broken> {
        self.commands.push(text.into());
        let number = self.commands.len() as u64;
        let before = self.state_hash;
        self.told.command_begins(stamp(number).time_us);
        let mut effects = Effects::new();
        (self.kernel)
            .step(stamp(number), &command(number, text), &mut effects)
            .unwrap();
        let heard = (effects.events())
            .try_for_each(|(event, moved)| self.told.hear(&self.kernel, &event.body, moved));
        self.state_hash = self.kernel.state_hash_but_command_ids();
        let refused = match effects.reply.as_ref().map(|reply| &reply.outcome) {
            Some(Outcome::Refused(_)) => Some(before),
            _ => None,
        };
        self.check(|world| {
            heard?;
            world.check_refusal(refused)?;
            world.check_money()?;
            world.check_holds()?;
            world.check_book()?;
            world.told.check_indication(world.state())?;
            world.check_resend()
        })
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
            effects
                .reply
                .is_some_and(|reply| reply.stamp == stamp(number)),
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
