//! What a symbol accepts, and the halts that decide it.
//!
//! | state | orders | cancels |
//! |---|---|---|
//! | TRADING | yes | yes |
//! | CANCEL_ONLY | no | yes |
//! | HALT | no | no |
//!
//! A halt is known by its name. A symbol's state is the most restrictive of the halts that name it, and TRADING when
//! there is none.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{HaltName, SymbolName};
use crate::refusal::{HaltNotice, Refusal};

/// In order of how much is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SymbolState {
    Trading,
    CancelOnly,
    Halt,
}

/// What a halt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltTerms {
    /// Empty: every symbol, those listed later included. One that is not listed yet is halted from its listing on.
    pub symbols: BTreeSet<SymbolName>,
    pub state: SymbolState,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    pub terms: HaltTerms,
    /// Of the command that imposed it, or last changed its terms.
    pub seq: u64,
    pub epoch: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Halts {
    in_force: BTreeMap<HaltName, Halt>,
}

impl Halts {
    /// By name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&HaltName, &Halt)> {
        self.in_force.iter()
    }

    pub fn get(&self, name: &HaltName) -> Option<&Halt> {
        self.in_force.get(name)
    }

    pub fn impose(&mut self, name: HaltName, halt: Halt) {
        self.in_force.insert(name, halt);
    }

    pub fn lift(&mut self, name: &HaltName) -> Result<(), Refusal> {
        let lifted = self.in_force.remove(name);
        lifted
            .map(|_| ())
            .ok_or_else(|| Refusal::UnknownHalt(name.clone()))
    }

    /// The symbol's state and the halt that decides it: of the most restrictive the first by name.
    pub fn deciding(&self, symbol: SymbolName) -> (SymbolState, Option<HaltNotice>) {
        let mut state = SymbolState::Trading;
        let mut notice = None;
        for (name, Halt { terms, .. }) in &self.in_force {
            let named = terms.symbols.is_empty() || terms.symbols.contains(&symbol);
            if named && terms.state > state {
                state = terms.state;
                notice = Some((name, &terms.reason));
            }
        }
        let notice = notice.map(|(name, reason)| HaltNotice {
            halt: name.clone(),
            reason: reason.clone(),
        });
        (state, notice)
    }
}
