//! What happens when its time has come: countdowns that cancel, kill switches that are not through, phases that end.
//!
//! Nothing here looks at a clock: a Tick says what time it is, and whoever keeps the shard sends one when something is
//! due.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{CancelReason, SetCountdown, Stamp};
use crate::event::Effects;
use crate::kernel::Kernel;
use crate::listings::Symbol;
use crate::names::SymbolName;
use crate::refusal::Refusal;
use crate::stored::{Damage, Input, Stored, fields, write_length};
use crate::symbol_state::SymbolState;

const COUNTDOWN_MS_MOST: i64 = 86_400_000;

/// How much later a countdown comes again that met orders of a symbol that was moving.
const AGAIN_US: i64 = 1_000_000;

/// Whose, of which symbol or all, and which of an account's two: its own, or that of the connections that guard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CountdownKey {
    pub account: u64,
    pub symbol: Option<SymbolName>,
    pub guard: bool,
}

type Key = CountdownKey;

fields! {
    CountdownKey { account, symbol, guard }
}

#[derive(Clone, Default)]
pub(crate) struct Countdowns {
    ends_us: BTreeMap<Key, i64>,
    by_end: BTreeSet<(i64, Key)>,
}

impl Countdowns {
    pub fn len(&self) -> usize {
        self.ends_us.len()
    }

    /// By account and symbol name, that of all symbols first, and of two the account's own.
    pub fn iter(&self) -> impl Iterator<Item = (&CountdownKey, i64)> {
        self.ends_us.iter().map(|(key, end_us)| (key, *end_us))
    }

    pub fn end_us(&self, key: &CountdownKey) -> Option<i64> {
        self.ends_us.get(key).copied()
    }

    /// Those that name it.
    pub fn forget_symbol(&mut self, symbol: SymbolName) {
        let of_symbol = self.ends_us.keys().filter(|key| key.symbol == Some(symbol));
        for key in of_symbol.copied().collect::<Vec<_>>() {
            self.set(key, None);
        }
    }

    /// By symbol name, that of all symbols first.
    pub fn of(&self, account: u64) -> impl Iterator<Item = (&CountdownKey, i64)> {
        let first = CountdownKey {
            account,
            symbol: None,
            guard: false,
        };
        let ends = self.ends_us.range(first..);
        ends.take_while(move |(key, _)| key.account == account)
            .map(|(key, end_us)| (key, *end_us))
    }

    pub fn write(&self, encoding: u32, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        for (key, end_us) in &self.ends_us {
            if encoding >= 3 {
                key.write(out);
            } else {
                (key.account, key.symbol).write(out);
            }
            end_us.write(out);
        }
    }

    pub fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        for _ in 0..from.length()? {
            let key = if from.encoding >= 3 {
                Key::read(from)?
            } else {
                let (account, symbol) = <(u64, Option<SymbolName>)>::read(from)?;
                Key {
                    account,
                    symbol,
                    guard: false,
                }
            };
            let end_us = i64::read(from)?;
            let last = self.ends_us.last_key_value();
            if last.is_some_and(|(last, _)| *last >= key) {
                return Err("countdowns are not in order");
            }
            self.set(key, Some(end_us));
        }
        Ok(())
    }

    fn next_us(&self) -> Option<i64> {
        self.by_end.first().map(|(end_us, _)| *end_us)
    }

    pub fn set(&mut self, key: Key, end_us: Option<i64>) {
        if let Some(before) = self.ends_us.remove(&key) {
            self.by_end.remove(&(before, key));
        }
        if let Some(end_us) = end_us {
            self.ends_us.insert(key, end_us);
            self.by_end.insert((end_us, key));
        }
    }
}

impl Kernel {
    pub(crate) fn set_countdown(
        &mut self,
        stamp: Stamp,
        set: &SetCountdown,
    ) -> Result<(), Refusal> {
        if !(0..=COUNTDOWN_MS_MOST).contains(&set.countdown_ms) {
            return Err(Refusal::Invalid("countdown_ms: must be 0 to 86400000"));
        }
        if let Some(symbol) = set.symbol {
            let symbol = self.listings.symbol_id(symbol)?;
            self.listings.symbol(symbol).check_here()?;
        }
        let end_us = (set.countdown_ms > 0).then_some(stamp.time_us + set.countdown_ms * 1000);
        let key = Key {
            account: set.account.account(),
            symbol: set.symbol,
            guard: set.guard,
        };
        self.countdowns.set(key, end_us);
        Ok(())
    }

    /// When a Tick would do something; a time that has passed where it would at once.
    pub fn next_due_us(&self) -> Option<i64> {
        let dying = self.accounts.dying().iter();
        let at_once = { dying }
            .any(|account| !self.orders_of_account(*account, None).is_empty())
            .then_some(i64::MIN);
        let phases = self.listings.symbols().filter_map(Symbol::due_us);
        phases.chain(self.countdowns.next_us()).chain(at_once).min()
    }

    pub(crate) fn tick(&mut self, stamp: Stamp, effects: &mut Effects) {
        self.end_countdowns(stamp, effects);
        for account in self.accounts.dying().clone() {
            self.kill_orders(account, stamp, effects);
        }
        self.end_phases(stamp, effects);
    }

    fn end_countdowns(&mut self, stamp: Stamp, effects: &mut Effects) {
        let due: Vec<(i64, Key)> = (self.countdowns.by_end.iter())
            .take_while(|(end_us, _)| *end_us <= stamp.time_us)
            .copied()
            .collect();
        for (_, key) in due {
            let listed = (key.symbol).and_then(|symbol| self.listings.symbol_id(symbol).ok());
            let orders = self.orders_of_account(key.account, listed);
            let remaining = self.cancel_each(stamp, &orders, CancelReason::Countdown, effects);
            let mut open = self.accounts.open_orders(key.account);
            if remaining > 0 {
                continue;
            }
            // What is left is of a symbol that is moving.
            let left = open.any(|open| listed.is_none_or(|symbol| symbol == open.symbol));
            let again = left.then_some(stamp.time_us + AGAIN_US);
            self.countdowns.set(key, again);
        }
    }

    fn end_phases(&mut self, stamp: Stamp, effects: &mut Effects) {
        let symbols = self.listings.symbols();
        let mut due: Vec<_> = symbols
            .filter(|symbol| {
                symbol
                    .due_us()
                    .is_some_and(|due_us| due_us <= stamp.time_us)
            })
            .map(|symbol| (symbol.phase_ends_us, symbol.definition.symbol, symbol.id))
            .collect();
        due.sort_unstable();
        for (_, _, symbol) in due {
            self.end_phase(symbol, stamp, "the phase is over", effects);
        }
    }
}

impl Symbol {
    /// When its phase ends by itself; the past where an uncross goes on.
    fn due_us(&self) -> Option<i64> {
        match self.phase {
            _ if self.away.is_some() => None,
            SymbolState::Auction if self.state != SymbolState::Auction => None,
            SymbolState::Auction if self.uncrossing_at.is_some() => Some(i64::MIN),
            _ => self.phase_ends_us,
        }
    }
}
