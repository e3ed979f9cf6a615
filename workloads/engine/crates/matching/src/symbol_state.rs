//! What a symbol accepts, what decides it, and which states follow which.
//!
//! A symbol has a phase of its own: TRADING, POST_ONLY or AUCTION. Its state is the most restrictive of its phase, of the
//! halts that name it, and of the shard's safety level. A halt is known by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::listings::Symbol;
use crate::names::{HaltName, SymbolName};
use crate::refusal::{Refusal, Transition};
use crate::safety::SafetyLevel;
use crate::stored::{Damage, Input, Stored, write_length};

/// In order of how much is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SymbolState {
    Trading,
    Auction,
    PostOnly,
    CancelOnly,
    Halt,
}

/// What changes a symbol's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A halt, or a safety level, took hold.
    Restricted,
    /// The last of them that mattered is gone.
    Released,
    /// ChangeSymbolState, or LiftHalt with another way to reopen.
    Asked,
    /// A trade would have left the bands.
    Volatility,
    /// POST_ONLY is over.
    Ended,
    /// An auction found its price, or that there is none.
    Uncrossed,
}

use Cause::{Asked, Ended, Released, Restricted, Uncrossed, Volatility};
use SymbolState::{Auction, CancelOnly, Halt as Halted, PostOnly, Trading};

/// Every change of a state that there is. The diagram in the documentation is made from it.
pub const TRANSITIONS: &[(SymbolState, Cause, SymbolState)] = &[
    (Trading, Asked, Auction),
    (Trading, Asked, PostOnly),
    (Trading, Volatility, Auction),
    (Trading, Restricted, PostOnly),
    (Trading, Restricted, CancelOnly),
    (Trading, Restricted, Halted),
    (Auction, Uncrossed, Trading),
    (Auction, Restricted, PostOnly),
    (Auction, Restricted, CancelOnly),
    (Auction, Restricted, Halted),
    (PostOnly, Asked, Trading),
    (PostOnly, Asked, Auction),
    (PostOnly, Ended, Trading),
    (PostOnly, Restricted, CancelOnly),
    (PostOnly, Restricted, Halted),
    (PostOnly, Released, Trading),
    (PostOnly, Released, Auction),
    (CancelOnly, Restricted, Halted),
    (CancelOnly, Released, Trading),
    (CancelOnly, Released, Auction),
    (CancelOnly, Released, PostOnly),
    (Halted, Released, Trading),
    (Halted, Released, Auction),
    (Halted, Released, PostOnly),
    (Halted, Released, CancelOnly),
];

impl SymbolState {
    pub const ALL: [Self; 5] = [Trading, Auction, PostOnly, CancelOnly, Halted];

    pub(crate) fn may_become(self, to: Self) -> bool {
        TRANSITIONS
            .iter()
            .any(|(before, _, after)| (*before, *after) == (self, to))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Trading => "TRADING",
            Self::Auction => "AUCTION",
            Self::PostOnly => "POST_ONLY",
            Self::CancelOnly => "CANCEL_ONLY",
            Self::Halt => "HALT",
        }
    }
}

impl fmt::Display for SymbolState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
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

impl HaltTerms {
    pub fn names(&self, symbol: SymbolName) -> bool {
        self.symbols.is_empty() || self.symbols.contains(&symbol)
    }
}

/// Why a symbol is in its state. Shown, it is what a refusal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decider {
    Halt {
        halt: HaltName,
        reason: String,
    },
    Safety(SafetyLevel),
    Phase(SymbolState),
    /// An auction that has its price takes nothing more.
    Uncross,
}

impl fmt::Display for Decider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halt { halt, reason } => write!(out, "halt {halt}: {reason}"),
            Self::Safety(level) => write!(out, "the shard's safety level is {level}"),
            Self::Phase(phase) => write!(out, "the symbol's phase is {phase}"),
            Self::Uncross => out.write_str("the auction is being uncrossed"),
        }
    }
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

    pub fn write(&self, out: &mut Vec<u8>) {
        write_length(self.in_force.len(), out);
        for (name, halt) in &self.in_force {
            name.write(out);
            halt.write(out);
        }
    }

    pub fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        for _ in 0..from.length()? {
            let (name, halt) = Stored::read(from)?;
            let last = self.in_force.last_key_value();
            if last.is_some_and(|(last, _)| *last >= name) {
                return Err("halts are not in order");
            }
            self.impose(name, halt);
        }
        Ok(())
    }

    pub fn lift(&mut self, name: &HaltName) -> Result<Halt, Refusal> {
        let lifted = self.in_force.remove(name);
        lifted.ok_or_else(|| Refusal::UnknownHalt(name.clone()))
    }

    /// The state that halts ask for, TRADING without any, and of the most restrictive the first by name.
    fn deciding(&self, symbol: SymbolName) -> (SymbolState, Option<(&HaltName, &Halt)>) {
        let mut state = Trading;
        let mut deciding = None;
        for (name, halt) in &self.in_force {
            if halt.terms.state > state && halt.terms.names(symbol) {
                state = halt.terms.state;
                deciding = Some((name, halt));
            }
        }
        (state, deciding)
    }
}

/// A symbol's state, and what decides it: None in TRADING.
pub(crate) fn decide(
    symbol: &Symbol,
    halts: &Halts,
    safety: SafetyLevel,
) -> (SymbolState, Option<Decider>) {
    let (halted, halt) = halts.deciding(symbol.definition.symbol);
    let state = halted.max(safety.state()).max(symbol.phase);
    let decider = match halt {
        _ if state == Trading => None,
        Some((name, halt)) if halted == state => Some(Decider::Halt {
            halt: name.clone(),
            reason: halt.terms.reason.clone(),
        }),
        _ if safety.state() == state => Some(Decider::Safety(safety)),
        _ => Some(Decider::Phase(state)),
    };
    (state, decider)
}

impl Symbol {
    /// Whether its phase may be changed to that by a command.
    pub fn check_phase(&self, to: SymbolState) -> Result<(), Refusal> {
        let refused = |transition| Err(Refusal::InvalidTransition(transition));
        match (self.phase, to) {
            _ if self.uncrossing_at.is_some() => refused(Transition::Uncrossing),
            (Auction, PostOnly) => refused(Transition::Unknown {
                from: Auction,
                to: PostOnly,
            }),
            (Auction, Trading) if self.state != Auction => {
                refused(Transition::AuctionEndsIn(self.state))
            }
            _ => Ok(()),
        }
    }

    pub fn set_phase(&mut self, phase: SymbolState, ends_us: Option<i64>) {
        self.phase = phase;
        self.phase_ends_us = ends_us.filter(|_| phase != Trading);
        if phase != Auction {
            self.indicated = Default::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_leads_back_to_trading_and_no_change_is_listed_twice() {
        for (place, change) in TRANSITIONS.iter().enumerate() {
            assert!(!TRANSITIONS[..place].contains(change), "{change:?}");
            assert_ne!(change.0, change.2);
        }
        for state in SymbolState::ALL {
            assert!(state == Trading || state.may_become(Trading), "{state}");
        }
    }
}
