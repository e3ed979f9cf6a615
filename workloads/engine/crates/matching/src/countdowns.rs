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
use crate::stored::{Damage, Input, Stored, write_length};
use crate::symbol_state::SymbolState;

const COUNTDOWN_MS_MOST: i64 = 86_400_000;

type Key = (u64, Option<SymbolName>);

#[derive(Clone, Default)]
pub(crate) struct Countdowns {
    ends_us: BTreeMap<Key, i64>,
    by_end: BTreeSet<(i64, Key)>,
}

impl Countdowns {
    pub fn len(&self) -> usize {
        self.ends_us.len()
    }

    /// By account and symbol name, that of all symbols first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Option<SymbolName>, i64)> {
        let ends = self.ends_us.iter();
        ends.map(|((account, symbol), end_us)| (*account, *symbol, *end_us))
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        for (key, end_us) in &self.ends_us {
            key.write(out);
            end_us.write(out);
        }
    }

    pub fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        for _ in 0..from.length()? {
            let (key, end_us) = <(Key, i64)>::read(from)?;
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

    fn set(&mut self, key: Key, end_us: Option<i64>) {
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
            self.listings.symbol_id(symbol)?;
        }
        let end_us = (set.countdown_ms > 0).then_some(stamp.time_us + set.countdown_ms * 1000);
        self.countdowns
            .set((set.account.account(), set.symbol), end_us);
        Ok(())
    }

    /// When a Tick would do something; a time that has passed where it would at once.
    pub fn next_due_us(&self) -> Option<i64> {
        let at_once = (!self.accounts.dying().is_empty()).then_some(i64::MIN);
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
        for (_, (account, symbol)) in due {
            let listed = symbol.and_then(|symbol| self.listings.symbol_id(symbol).ok());
            let orders = self.orders_of_account(account, listed);
            let remaining = self.cancel_each(stamp, &orders, CancelReason::Countdown, effects);
            if remaining == 0 {
                self.countdowns.set((account, symbol), None);
            }
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
            SymbolState::Auction if self.state != SymbolState::Auction => None,
            SymbolState::Auction if self.uncrossing_at.is_some() => Some(i64::MIN),
            _ => self.phase_ends_us,
        }
    }
}
